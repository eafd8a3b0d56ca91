package settings

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Input is where settings come from.
type Input struct {
	Flags   map[string][]string // values of flags by name without --, in order
	Environ []string            // KEY=VALUE, as os.Environ gives it
	// Faults that were found before, like flags that there are none of: they are
	// reported together with the others.
	Faults []Fault
	// Only are the settings that are read; of the others only the keys are checked.
	// Nil: all.
	Only []string
}

// Layer is where a value came from; a higher one goes first.
type Layer uint8

const (
	Default Layer = iota
	File
	Environment
	Flag
)

// String returns default, file, environment or flag.
func (l Layer) String() string { return [...]string{"default", "file", "environment", "flag"}[l] }

// Place is where a setting's value came from.
type Place struct {
	Layer Layer
	At    string // --flag, VARIABLE, file:line:column; "" for Default, or why it is that one
}

// String returns "default", "default, with --dev", "flag --x", "environment X" or
// "file x.yaml:1:2".
func (p Place) String() string {
	switch {
	case p.At == "":
		return p.Layer.String()
	case p.Layer == Default:
		return p.Layer.String() + ", " + p.At
	}
	return p.Layer.String() + " " + p.At
}

// Resolved are the settings that were read.
type Resolved struct {
	schema *Schema
	Values []ResolvedValue // in the schema's order
	faults Faults
	faulty map[string]bool // settings by name
}

// ResolvedValue is a setting with its value set, and where that came from.
type ResolvedValue struct {
	Setting
	Place Place
	// SecretFile is the file that held a secret; "" if it was given itself.
	SecretFile string
}

// Resolve sets the value of every setting from the first place that has one, and from
// its default otherwise. An empty environment variable is as good as none. The error is of type Faults,
// if there is one; what could be read is returned all the same, so that the caller can add
// what it finds (Fault) and report all at once (Err).
func (s *Schema) Resolve(in Input) *Resolved {
	r := &Resolved{schema: s, faults: slices.Clone(in.Faults), faulty: map[string]bool{}}
	layers := []layer{s.fromFlags(r, in.Flags), s.fromEnviron(r, in.Environ)}
	if path, place := first(ConfigName, layers); path != nil {
		layers = append(layers, s.fromFile(r, path[len(path)-1], place))
	}
	for _, x := range s.Settings {
		if in.Only == nil || x.Name == ConfigName || slices.Contains(in.Only, x.Name) {
			r.set(x, layers)
		}
	}
	return r
}

// layer is what one place says: values by name, and where each stands.
type layer struct {
	kind   Layer
	values map[string][]string
	at     map[string]string
}

func newLayer(kind Layer) layer {
	return layer{kind, map[string][]string{}, map[string]string{}}
}

func (l layer) place(name string) Place { return Place{l.kind, l.at[name]} }

// first returns the values of the highest layer that has any.
func first(name string, layers []layer) ([]string, Place) {
	for _, l := range layers {
		if values, ok := l.values[name]; ok {
			return values, l.place(name)
		}
	}
	return nil, Place{}
}

func (s *Schema) fromFlags(r *Resolved, flags map[string][]string) layer {
	l := newLayer(Flag)
	for _, name := range s.names() {
		values := flags[name]
		if values == nil {
			continue
		}
		l.values[name], l.at[name] = values, "--"+name
		if len(values) > 1 && !s.isList(name) {
			r.faults = append(r.faults, Fault{"--" + name, fmt.Errorf("given %d times, it has one value", len(values))})
		}
	}
	return l
}

func (s *Schema) isList(name string) bool {
	return slices.ContainsFunc(s.Settings, func(x Setting) bool {
		_, ok := x.Value.(list)
		return ok && x.Name == name
	})
}

func (s *Schema) fromEnviron(r *Resolved, environ []string) layer {
	l := newLayer(Environment)
	names := map[string]string{}
	var known []string
	for _, name := range s.names() {
		names[s.Env(name)] = name
		known = append(known, s.Env(name))
	}
	for _, pair := range slices.Sorted(slices.Values(environ)) {
		key, value, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(key, s.Prefix)
		name, ok := names[key]
		switch {
		case ok && value == "":
		case ok:
			l.values[name], l.at[name] = []string{value}, key
		case !ours || kubernetes.MatchString(rest) || s.Foreign != nil && s.Foreign(key):
		default:
			r.faults = append(r.faults, Fault{key, unknown(key, known)})
		}
	}
	return l
}

// set gives x the value of the highest layer that has x itself or its file.
func (r *Resolved) set(x Setting, layers []layer) {
	value := ResolvedValue{Setting: x}
	text, there := x.Default, x.Default != ""
	for _, l := range layers {
		values, itself := l.values[x.Name]
		files, file := []string(nil), false
		if x.Secret {
			files, file = l.values[x.Name+fileSuffix]
		}
		switch {
		case itself && file:
			r.Fault(x.Name, l.place(x.Name), fmt.Errorf("%s is there too; give one of them", l.at[x.Name+fileSuffix]))
			return
		case itself:
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

// maxSecret is how long a file of secrets may be, in bytes.
const maxSecret = 64 << 10

// readSecret reads a file that holds a secret, without the white space around it.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the file of the secret: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return "", fmt.Errorf("read the file of the secret: %w", err)
	}
	text := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxSecret:
		return "", fmt.Errorf("%s has more than %s", path, FormatSize(maxSecret))
	case text == "":
		return "", fmt.Errorf("%s is empty", path)
	}
	return text, nil
}

// Text returns the value of a setting as a user would spell it, "" if it was not read.
func (r *Resolved) Text(name string) string {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Value.String()
		}
	}
	return ""
}

// Place returns where the value of a setting came from.
func (r *Resolved) Place(name string) Place {
	for _, v := range r.Values {
		if v.Name == name {
			return v.Place
		}
	}
	return Place{}
}

// Read reports whether the setting was read at all (Input.Only).
func (r *Resolved) Read(name string) bool {
	return slices.ContainsFunc(r.Values, func(v ResolvedValue) bool { return v.Name == name })
}

// SetDefault gives a setting that nobody gave a value another default, and notes why.
func (r *Resolved) SetDefault(name, text, why string) {
	for i, v := range r.Values {
		if v.Name == name && v.Place.Layer == Default {
			if err := v.Value.Set(text); err != nil {
				r.Fault(name, v.Place, err)
			}
			r.Values[i].Place.At = why
		}
	}
}

// Fault adds a fault of a setting whose value came from place. One of several errors that are
// joined becomes one fault each.
func (r *Resolved) Fault(name string, place Place, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		for _, each := range joined.Unwrap() {
			r.Fault(name, place, each)
		}
		return
	}
	where := place.At
	if place.Layer == Default {
		where = "--" + name
	}
	r.faulty[name] = true
	r.faults = append(r.faults, Fault{where, err})
}

// FaultOf adds a fault of a setting.
func (r *Resolved) FaultOf(name string, err error) { r.Fault(name, r.Place(name), err) }

// Err returns all faults as Faults, nil if there is none.
func (r *Resolved) Err() error {
	if len(r.faults) == 0 {
		return nil
	}
	return r.faults
}

// Faulty reports whether a fault of that setting's value was found.
func (r *Resolved) Faulty(name string) bool { return r.faulty[name] }
