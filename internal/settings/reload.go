package settings

import "slices"

// Reload compares settings that were read again with those that a process runs with.
type Reload struct {
	// Faults are all faults.
	Faults Faults
	// Invalid means that no setting is to be replaced: a fault is of another setting than a replaceable one, or of
	// the file of settings as a whole.
	Invalid bool
	// Restart are the settings whose new value needs a restart, in the schema's order.
	Restart []string
}

// ReloadOf compares now, read again, with old. replaceable are the settings that the process can replace; one of them
// that [Resolved.Faulty] reports keeps its old value. files are settings of files that are read again, whose names
// need a restart.
func ReloadOf(old, now *Resolved, replaceable []string, files ...string) Reload {
	r := Reload{Faults: now.faults}
	faults := len(now.faults)
	for _, name := range slices.Concat(replaceable, files) {
		faults -= now.faulty[name]
	}
	if r.Invalid = faults > 0; r.Invalid {
		return r
	}
	for _, v := range now.Values {
		if !slices.Contains(replaceable, v.Name) && v.Value.String() != old.Text(v.Name) {
			r.Restart = append(r.Restart, v.Name)
		}
	}
	return r
}
