package main

import (
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct{ path, text, want string }{
		{"a.go", "// fine\n// Nobody waits for it.\n", "a.go:2: Nobody: // Nobody waits for it."},
		{"a.go", "// A dear job.\n", "a.go:1: dear: // A dear job."},
		{"a.go", "// the mezzanine of before\n", "a.go:1: of before: // the mezzanine of before"},
		{"README.md", "the tier is told what\n", "README.md:1: is told: the tier is told what"},
		{"a_test.go", "// SEED G20: likes\n", "a_test.go:1: SEED: // SEED G20: likes"},
		{"a.txt", "as G7 says", "a.txt:1: G7: as G7 says"},
		{"a.go", "// recommend the amended endear contract, seeds, PNG8\n", ""},
		{"a.svg", "nobody", ""},
		{"a.jpg", "nobody\x00", ""},
		{"LICENSE", "IN AN ACTION OF CONTRACT", ""},
	} {
		if got := strings.Join(check(c.path, []byte(c.text)), "\n"); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.path, c.text, got, c.want)
		}
	}
}
