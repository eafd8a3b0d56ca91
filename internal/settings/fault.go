package settings

import (
	"errors"
	"fmt"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Where string // the flag, the environment variable, or the file with line and column
	Err   error
}

func (f Fault) Error() string {
	if f.Where == "" {
		return f.Err.Error()
	}
	return f.Where + ": " + f.Err.Error()
}

func (f Fault) Unwrap() error { return f.Err }

// Faults is the error of invalid settings: everything that is wrong, one fault per line.
type Faults []Fault

func (f Faults) Error() string {
	if len(f) == 1 {
		return f[0].Error()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults in the settings", len(f))
	for _, fault := range f {
		b.WriteString("\n  " + strings.ReplaceAll(fault.Error(), "\n", "\n    "))
	}
	return b.String()
}

func (f Faults) Unwrap() []error {
	all := make([]error, len(f))
	for i := range f {
		all[i] = f[i]
	}
	return all
}

// unknown returns the error of a key that is not one of known.
func unknown(key string, known []string) error {
	if len(known) == 0 {
		return errors.New("unknown")
	}
	return fmt.Errorf("unknown; the nearest is %s", Nearest(key, known))
}

// Nearest returns the word with the smallest edit distance to key, the first of several; "" if there are no words.
// Dashes, dots and underscores are equal, and so are upper and lower case.
func Nearest(key string, words []string) string {
	nearest, least := "", -1
	for _, word := range words {
		if d := levenshtein.ComputeDistance(plain(key), plain(word)); least < 0 || d < least {
			nearest, least = word, d
		}
	}
	return nearest
}

func plain(key string) string {
	return strings.ToLower(strings.NewReplacer(".", "-", "_", "-").Replace(key))
}
