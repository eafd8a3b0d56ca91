package program

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/novasocial/imagetier/internal/settings"
)

// Settings gives a command the flags of some settings. A command embeds it; [Reads]
// makes it.
type Settings struct {
	Flags  kong.Plugins `embed:""`
	only   []string
	names  []string
	values reflect.Value // pointer to a struct that kong fills, a field for each of names
}

// Reads returns the flags of the named settings, or of all of them. config is always
// among them.
func Reads(schema *settings.Schema, only ...string) Settings {
	s := Settings{only: only}
	var fields []reflect.StructField
	add := func(name, help, placeholder, group string, typ reflect.Type) {
		s.names = append(s.names, name)
		help = strings.ReplaceAll(help, "$", "$$") // kong expands ${…}
		tag := fmt.Sprintf("name:%q help:%s placeholder:%s group:%s", name,
			strconv.Quote(help), strconv.Quote(placeholder), strconv.Quote(group))
		field := reflect.StructField{Name: "F" + strconv.Itoa(len(fields)), Type: typ, Tag: reflect.StructTag(tag)}
		fields = append(fields, field)
	}
	for _, x := range schema.Settings {
		if len(only) > 0 && x.Name != settings.ConfigName && !slices.Contains(only, x.Name) {
			continue
		}
		typ := reflect.TypeFor[texts]()
		if settings.IsBool(x.Value) {
			typ = reflect.TypeFor[bools]()
		}
		add(x.Name, flagHelp(x), x.Placeholder, x.Group, typ)
		if x.Secret {
			add(settings.FileOf(x.Name), "File that holds --"+x.Name+".", "FILE", x.Group, reflect.TypeFor[texts]())
		}
	}
	s.values = reflect.New(reflect.StructOf(fields))
	s.Flags = kong.Plugins{s.values.Interface()}
	return s
}

// flagHelp adds to a setting's help whether it is required, and its default.
func flagHelp(x settings.Setting) string {
	var notes []string
	if x.Required != "" {
		notes = append(notes, x.Required)
	}
	switch {
	case x.DefaultHelp != "":
		notes = append(notes, "default: "+x.DefaultHelp)
	case x.Default != "" && x.Default != "false":
		notes = append(notes, "default: "+x.Default)
	}
	if notes == nil {
		return x.Help
	}
	return strings.TrimSuffix(x.Help, ".") + " (" + strings.Join(notes, "; ") + ")."
}

// Input returns what the settings of a command are resolved from.
func (s *Settings) Input(proc *Process) settings.Input {
	given := map[string][]string{}
	for i, name := range s.names {
		if values := s.values.Elem().Field(i).Field(0).Interface().([]string); values != nil {
			given[name] = values
		}
	}
	return settings.Input{Flags: given, Environ: proc.Environ, Only: s.only, Faults: proc.unknown}
}

func (s *Settings) readsSettings() {}

// texts are the values of a flag, in order and as written. Package settings reports their faults,
// together with all others.
type texts struct{ Values []string }

// Decode is called by kong for every occurrence of the flag.
func (v *texts) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("value", &text); err != nil {
		return err
	}
	v.Values = append(slices.Clip(v.Values), text)
	return nil
}

// bools are the values of a flag that needs no value.
type bools struct{ Values []string }

// Decode is called by kong for every occurrence of the flag.
func (v *bools) Decode(ctx *kong.DecodeContext) error {
	text := "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		text = ctx.Scan.Pop().String()
	}
	v.Values = append(slices.Clip(v.Values), text)
	return nil
}

// IsBool tells kong that the next argument is not the flag's value.
func (*bools) IsBool() bool { return true }
