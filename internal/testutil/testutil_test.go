package testutil_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
)

// fakeTest records how a test ended.
type fakeTest struct {
	testing.TB
	outcome string
}

func (f *fakeTest) Helper() {}

func (f *fakeTest) Fatalf(format string, args ...any) {
	f.outcome = "fatal: " + fmt.Sprintf(format, args...)
}

func (f *fakeTest) Skipf(format string, args ...any) {
	f.outcome = "skip: " + fmt.Sprintf(format, args...)
}

func TestRequire(t *testing.T) {
	missing := errors.New("no chromium")
	for _, c := range []struct {
		name, ci string
		err      error
		want     string
	}{
		{"present on a laptop", "", nil, ""},
		{"present in CI", "true", nil, ""},
		{"missing on a laptop", "", missing, "skip: missing prerequisite: no chromium (install it)"},
		{"missing in CI", "true", missing, "fatal: missing prerequisite: no chromium (install it)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("CI", c.ci)
			f := &fakeTest{}
			if testutil.Require(f, c.err, "install it"); f.outcome != c.want {
				t.Errorf("got %q, want %q", f.outcome, c.want)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	t.Setenv("CI", "")
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	f := &fakeTest{}
	if got := testutil.Command(f, "install it", "missing", "program"); got != program || f.outcome != "" {
		t.Errorf("got %q and %q, want %q", got, f.outcome, program)
	}
	if testutil.Command(f, "install it", "missing"); f.outcome == "" {
		t.Error("a missing program does not skip the test")
	}
}
