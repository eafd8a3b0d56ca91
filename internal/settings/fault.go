package settings

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong with the settings.
type Fault struct {
	Where string // the flag, the variable, or the file with line and column
	Err   error
}

func (f Fault) Error() string {
	if f.Where == "" {
		return f.Err.Error()
	}
	return f.Where + ": " + f.Err.Error()
}

func (f Fault) Unwrap() error { return f.Err }

// Faults is the error of settings that cannot be used: everything that is wrong, one line
// a fault.
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
	for i, fault := range f {
		all[i] = fault
	}
	return all
}

// UnknownFlag returns the fault of a flag ("--cache-disk-szie") that a command does not
// have; known are the flags that it has, spelled alike.
func (s *Schema) UnknownFlag(flag string, known []string) Fault {
	for _, name := range s.names() {
		if flag == "--"+name {
			return Fault{flag, fmt.Errorf("this command does not have this flag")}
		}
	}
	return Fault{flag, unknown(flag, known)}
}

// unknown returns the error of a key that is not one of known.
func unknown(key string, known []string) error {
	if len(known) == 0 {
		return fmt.Errorf("unknown")
	}
	return fmt.Errorf("unknown; the nearest is %s", Nearest(key, known))
}

// Nearest returns the word that takes the fewest changed, added, lost and swapped letters
// to become key, the first of several; "" if there are none. Dashes, dots and underscores
// are as good as each other, and so are the cases.
func Nearest(key string, words []string) string {
	nearest, least := "", -1
	for _, word := range words {
		if d := distance(plain(key), plain(word)); least < 0 || d < least {
			nearest, least = word, d
		}
	}
	return nearest
}

func plain(key string) string {
	return strings.ToLower(strings.NewReplacer(".", "-", "_", "-").Replace(key))
}

// distance is the optimal string alignment distance (Damerau and Levenshtein, each pair of
// letters swapped at most once).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
