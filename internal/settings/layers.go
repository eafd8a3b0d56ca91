package settings

import (
	"fmt"
	"slices"
	"strings"
)

// Layer is a kind of source of settings. A higher one overrides a lower one.
type Layer uint8

const (
	FromDefault Layer = iota
	FromFile
	FromEnvironment
	FromFlag
)

// String returns default, file, environment or flag.
func (l Layer) String() string { return [...]string{"default", "file", "environment", "flag"}[l] }

// Place is where the value of a setting came from.
type Place struct {
	Layer Layer
	At    string // --flag, VARIABLE or file:line:column; for FromDefault the reason for the value, or ""
}

// String returns "default", "default, with --dev", "flag --x", "environment X" or
// "file x.yaml:1:2".
func (p Place) String() string {
	switch {
	case p.At == "":
		return p.Layer.String()
	case p.Layer == FromDefault:
		return p.Layer.String() + ", " + p.At
	}
	return p.Layer.String() + " " + p.At
}

// layer holds the values of one source by name, and the place of each.
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

func (s *Schema) fromFlags(flags map[string][]string) (l layer, faults Faults) {
	l = newLayer(FromFlag)
	for _, name := range s.names() {
		values := flags[name]
		if values == nil {
			continue
		}
		l.values[name], l.at[name] = values, "--"+name
		if len(values) > 1 && !s.isList(name) {
			faults = append(faults, Fault{"--" + name, fmt.Errorf("given %d times, but takes one value", len(values))})
		}
	}
	return l, faults
}

func (s *Schema) fromEnviron(environ []string) (l layer, faults Faults) {
	l = newLayer(FromEnvironment)
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
			faults = append(faults, Fault{key, unknown(key, known)})
		}
	}
	return l, faults
}
