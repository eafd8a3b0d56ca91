package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Input is where settings come from.
type Input struct {
	Flags   map[string][]string // values of flags by name without --, in order
	Environ []string            // KEY=VALUE, as os.Environ gives it
	// Faults that were found before, like unknown flags. They are reported together with the others.
	Faults []Fault
	// Only names the settings to read; of the others only the keys are checked. Nil reads all.
	Only []string
}

// Resolved holds the settings that were read.
type Resolved struct {
	schema *Schema
	Values []ResolvedValue // in the schema's order
	faults Faults
	faulty map[string]int // number of faults by setting
}

// ResolvedValue is a setting whose value has been set.
type ResolvedValue struct {
	Setting
	Place      Place
	SecretFile string // the file that the secret was read from; "" if it was given directly
}

// Resolve sets the value of every setting from the highest layer that has one, else from its default. An empty
// environment variable counts as unset. Values are set even if there are faults, so that the caller can check them,
// add its own faults ([Resolved.FaultOf]) and report all of them at once ([Resolved.Err]).
func (s *Schema) Resolve(in Input) *Resolved {
	flags, flagFaults := s.fromFlags(in.Flags)
	environ, environFaults := s.fromEnviron(in.Environ)
	r := &Resolved{schema: s, faults: slices.Concat(in.Faults, flagFaults, environFaults), faulty: map[string]int{}}
	layers := []layer{flags, environ}
	if path, place := first(ConfigName, layers); path != nil {
		file, faults, err := s.fromFile(path[len(path)-1])
		if err != nil {
			r.Fault(ConfigName, place, err)
		}
		layers, r.faults = append(layers, file), append(r.faults, faults...)
	}
	for _, x := range s.Settings {
		if in.Only == nil || x.Name == ConfigName || slices.Contains(in.Only, x.Name) {
			r.set(x, layers)
		}
	}
	return r
}

// set gives x the value of the highest layer that has x or the file of x.
func (r *Resolved) set(x Setting, layers []layer) {
	value := ResolvedValue{Setting: x}
	text, there := x.Default, x.Default != ""
	for _, l := range layers {
		values, direct := l.values[x.Name]
		files, file := []string(nil), false
		if x.Secret {
			files, file = l.values[x.Name+fileSuffix]
		}
		switch {
		case direct && file:
			r.Fault(x.Name, l.place(x.Name), fmt.Errorf("%s is set too; set only one of them", l.at[x.Name+fileSuffix]))
			return
		case direct:
			text, there, value.Place = strings.Join(values, ","), true, l.place(x.Name)
		case file:
			value.Place, value.SecretFile = l.place(x.Name+fileSuffix), files[len(files)-1]
			secret, err := readSecret(value.SecretFile)
			if err != nil {
				r.Fault(x.Name, value.Place, err)
				return
			}
			text, there = secret, true
		default:
			continue
		}
		break
	}
	if there {
		if err := x.Value.Set(text); err != nil {
			r.Fault(x.Name, value.Place, err)
		}
	}
	r.Values = append(r.Values, value)
}

// readSecret reads a file that holds a secret, without the white space around it.
func readSecret(path string) (string, error) {
	b, err := readFile("secret", path, 64<<10)
	text := strings.TrimSpace(string(b))
	if err == nil && text == "" {
		err = fmt.Errorf("%s is empty", path)
	}
	return text, err
}

// Text returns the value of a setting as a user would write it; "" if it was not read.
func (r *Resolved) Text(name string) string {
	if i := r.index(name); i >= 0 {
		return r.Values[i].Value.String()
	}
	return ""
}

// Place returns where the value of a setting came from.
func (r *Resolved) Place(name string) Place {
	if i := r.index(name); i >= 0 {
		return r.Values[i].Place
	}
	return Place{}
}

// Read reports whether the setting was read (see Input.Only).
func (r *Resolved) Read(name string) bool { return r.index(name) >= 0 }

func (r *Resolved) index(name string) int {
	return slices.IndexFunc(r.Values, func(v ResolvedValue) bool { return v.Name == name })
}

// SetDefault gives a setting that has its default another one. why is the reason, for [Place].
func (r *Resolved) SetDefault(name, text, why string) {
	i := r.index(name)
	if i < 0 || r.Values[i].Place.Layer != FromDefault {
		return
	}
	if err := r.Values[i].Value.Set(text); err != nil {
		r.Fault(name, r.Values[i].Place, err)
	}
	r.Values[i].Place.At = why
}

// SecretFlags returns the names of the secrets that were given as flags. Every user of the machine can read those, in
// the list of processes.
func (r *Resolved) SecretFlags() (names []string) {
	for _, v := range r.Values {
		if v.Secret && v.Place.Layer == FromFlag && v.SecretFile == "" &&
			slices.ContainsFunc(Secrets(v.Value), notEmpty) {
			names = append(names, v.Name)
		}
	}
	return names
}

func notEmpty(text string) bool { return text != "" }

// Fault adds a fault of a setting whose value came from place. Errors that were joined become one fault each.
func (r *Resolved) Fault(name string, place Place, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		for _, each := range joined.Unwrap() {
			r.Fault(name, place, each)
		}
		return
	}
	where := place.At
	if place.Layer == FromDefault {
		where = "--" + name
	}
	r.faulty[name]++
	r.faults = append(r.faults, Fault{where, err})
}

// FaultOf adds a fault of a setting at the place of its value.
func (r *Resolved) FaultOf(name string, err error) { r.Fault(name, r.Place(name), err) }

// Err returns all faults as [Faults], or nil without faults.
func (r *Resolved) Err() error {
	if len(r.faults) == 0 {
		return nil
	}
	return r.faults
}

// Faulty reports whether the setting has a fault.
func (r *Resolved) Faulty(name string) bool { return r.faulty[name] > 0 }
