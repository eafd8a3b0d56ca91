package program

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// units explains the placeholders of flags whose values have a unit.
var units = []struct{ placeholder, help string }{
	{"SIZE", "bytes: 4096, 512MiB or 50GiB (powers of 1024), 50GB (powers of 1000)"},
	{"TIME", "200ms, 5s, 1h30m or 24h"},
}

// helpWithUnits prints kong's help, then the units of the values in it.
func helpWithUnits(options kong.HelpOptions, kctx *kong.Context) error {
	if err := kong.DefaultHelpPrinter(options, kctx); err != nil {
		return err
	}
	var b strings.Builder
	for _, unit := range units {
		if slices.ContainsFunc(kctx.Flags(), func(f *kong.Flag) bool { return f.PlaceHolder == unit.placeholder }) {
			fmt.Fprintf(&b, "  %s    %s\n", unit.placeholder, unit.help)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	_, err := fmt.Fprintf(kctx.Stdout, "\nUnits:\n%s", &b)
	return err
}

// markRequired is the help of a flag, marked if the flag is required.
func markRequired(v *kong.Value) string {
	help := kong.DefaultHelpValueFormatter(v)
	if v.Flag == nil || !v.Required {
		return help
	}
	return strings.TrimSuffix(help, ".") + " (required)."
}
