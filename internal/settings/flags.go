package settings

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// Flags are the flags of settings on a command line. They are read as they are: Resolve
// says what is wrong with their values, together with everything else.
type Flags struct {
	names []string
	into  reflect.Value // pointer to a struct that kong fills, a field a name
}

// Flags returns flags for the named settings, or for all; config is always among them.
// kong.Plugins{f.Plugin()} embedded in a command gives it these flags.
func (s *Schema) Flags(only ...string) *Flags {
	f := &Flags{}
	var fields []reflect.StructField
	add := func(name, help string, x Setting, typ reflect.Type) {
		f.names = append(f.names, name)
		tag := fmt.Sprintf("name:%q help:%s placeholder:%s group:%s", name,
			strconv.Quote(escape(help)), strconv.Quote(x.Placeholder), strconv.Quote(x.Group))
		fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(len(fields)), Type: typ, Tag: reflect.StructTag(tag)})
	}
	for _, x := range s.Settings {
		if len(only) > 0 && x.Name != ConfigName && !slices.Contains(only, x.Name) {
			continue
		}
		typ := reflect.TypeFor[given]()
		if _, ok := x.Value.(boolean); ok {
			typ = reflect.TypeFor[givenBool]()
		}
		add(x.Name, helpOf(x), x, typ)
		if x.Secret {
			file := x
			file.Placeholder = "FILE"
			add(x.Name+fileSuffix, "A file that holds --"+x.Name+".", file, reflect.TypeFor[given]())
		}
	}
	f.into = reflect.New(reflect.StructOf(fields))
	return f
}

// Plugin returns what kong.Plugins takes.
func (f *Flags) Plugin() any { return f.into.Interface() }

// values returns what was given for a flag, in order; nil if it was not there.
func (f *Flags) values(name string) []string {
	if f == nil {
		return nil
	}
	at := slices.Index(f.names, name)
	if at < 0 {
		return nil
	}
	switch v := f.into.Elem().Field(at).Interface().(type) {
	case given:
		return v.Values
	case givenBool:
		return v.Values
	}
	return nil
}

// helpOf adds the default to a setting's help.
func helpOf(x Setting) string {
	switch {
	case x.DefaultHelp != "":
		return strings.TrimSuffix(x.Help, ".") + " (" + x.DefaultHelp + ")."
	case x.Default != "" && x.Default != "false":
		return strings.TrimSuffix(x.Help, ".") + " (" + x.Default + ")."
	}
	return x.Help
}

// escape keeps kong from reading ${…} in a help.
func escape(help string) string { return strings.ReplaceAll(help, "$", "$$") }

// given collects a flag's values unread.
type given struct{ Values []string }

// Decode is called by kong for every time that the flag is there.
func (g *given) Decode(ctx *kong.DecodeContext) error {
	var text string
	if err := ctx.Scan.PopValueInto("value", &text); err != nil {
		return err
	}
	g.Values = append(slices.Clip(g.Values), text)
	return nil
}

// givenBool is a flag that needs no value.
type givenBool struct{ Values []string }

// Decode is called by kong for every time that the flag is there.
func (g *givenBool) Decode(ctx *kong.DecodeContext) error {
	text := "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		text = ctx.Scan.Pop().String()
	}
	g.Values = append(slices.Clip(g.Values), text)
	return nil
}

// IsBool tells kong that the next argument is not the flag's value.
func (*givenBool) IsBool() bool { return true }
