package testutil

import (
	"os"
	"strings"
	"testing"
)

// Section checks a generated part of a page: the text between the lines "<!-- name: … -->" and
// "<!-- end -->" must be want. With UPDATE=1 in the environment it writes it.
func Section(t testing.TB, path, name, want string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "<!-- "+name+": ")
	comment, rest, ok2 := strings.Cut(rest, "-->\n")
	have, after, ok3 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s has no section %s", path, name)
	}
	want = "\n" + strings.TrimSpace(want) + "\n\n"
	if have != want {
		outdated(t, path+", section "+name, want,
			before+"<!-- "+name+": "+comment+"-->\n"+want+"<!-- end -->"+after)
	}
}

// File checks a generated file. With UPDATE=1 in the environment it writes it.
func File(t testing.TB, path, want string) {
	t.Helper()
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		outdated(t, path, want, want)
	}
}

// outdated fails the test, or with UPDATE=1 writes text to the file whose path begins what.
func outdated(t testing.TB, what, want, text string) {
	t.Helper()
	if os.Getenv("UPDATE") == "" {
		t.Errorf("%s is not current, UPDATE=1 writes it; want\n%s", what, want)
		return
	}
	path, _, _ := strings.Cut(what, ", section ")
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
