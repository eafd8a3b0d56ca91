package program

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/novasocial/imagetier/internal/settings"
)

var unknownFlag = regexp.MustCompile(`^unknown flag (--?[^\s,=]*)`)

// parse reads the arguments. It removes unknown flags and remembers them, so that they
// are reported together with all other faults of the settings.
func (proc *Process) parse(parser *kong.Kong, schema *settings.Schema) (*kong.Context, error) {
	args := conventional(proc.Args)
	for {
		kctx, err := parser.Parse(args)
		if err == nil {
			if len(proc.unknown) > 0 && !selectsSettings(kctx) {
				return nil, settings.Faults(proc.unknown)
			}
			return kctx, nil
		}
		rest := args
		match := unknownFlag.FindStringSubmatch(err.Error())
		if match != nil {
			rest = without(args, match[1])
		}
		if len(rest) == len(args) {
			if len(proc.unknown) > 0 {
				err = append(settings.Faults(proc.unknown), settings.Fault{Err: err})
			}
			return nil, err
		}
		args = rest
		proc.unknown = append(proc.unknown, schema.UnknownFlag(match[1], flagsOf(err)))
	}
}

// selectsSettings reports whether the selected command reads settings, and so reports unknown flags itself.
func selectsSettings(kctx *kong.Context) bool {
	selected := kctx.Selected()
	if selected == nil || !selected.Target.CanAddr() {
		return false
	}
	_, ok := selected.Target.Addr().Interface().(interface{ readsSettings() })
	return ok
}

// flagsOf returns the flags of the command that a parse error is about.
func flagsOf(err error) (flags []string) {
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		for _, flag := range parsing.Context.Flags() {
			flags = append(flags, "--"+flag.Name)
		}
	}
	return flags
}

// without returns args without an unknown flag, and without its value where one seems to
// follow.
func without(args []string, flag string) []string {
	command := false
	for i, arg := range args {
		switch {
		case arg == "--":
			return args
		case arg == flag && command && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-"):
			return slices.Concat(args[:i], args[i+2:])
		case arg == flag, strings.HasPrefix(arg, flag+"="),
			len(flag) == 2 && strings.HasPrefix(arg, flag) && arg[1] != '-':
			return slices.Concat(args[:i], args[i+1:])
		}
		command = command || !strings.HasPrefix(arg, "-")
	}
	return args
}

// printUsage prints what is wrong with the arguments, and where to find help.
func (proc *Process) printUsage(parser *kong.Kong, err error) {
	name := parser.Model.Name
	var parsing *kong.ParseError
	if errors.As(err, &parsing) {
		if selected := parsing.Context.Selected(); selected != nil {
			name = selected.FullPath()
		}
	}
	fmt.Fprintf(proc.Stderr, "%s: %v\nRun \"%s --help\" for more.\n", proc.name, err, name)
}

// conventional rewrites the spellings of other programs: "help COMMAND" is
// "COMMAND --help", "--version" is "version".
func conventional(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case len(args) == 1 && args[0] == "--version":
		return []string{"version"}
	}
	return slices.Clone(args)
}
