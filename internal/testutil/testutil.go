// Package testutil finds what tests need from outside the repository: programs and sample
// photos. The tests of all three modules use it. Start with [Require].
package testutil

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Require skips the test if err is not nil. With CI=true it fails the test instead, so that
// continuous integration notices a missing prerequisite. The remedy says how to install it:
// "apt-get install chromium".
func Require(t testing.TB, err error, remedy string) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("missing prerequisite: %v (%s)", err, remedy)
	default:
		t.Skipf("missing prerequisite: %v (%s)", err, remedy)
	}
}

// Command returns the path of the first of these programs that is installed: a name is looked
// up in PATH, a path is taken as it is. Without any it calls [Require].
func Command(t testing.TB, remedy string, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	Require(t, fmt.Errorf("none of %q is installed", names), remedy)
	return ""
}

// Photos returns the directory of the real sample photos. They are too large for the repository. If
// they are missing, the test is skipped; with CI=true it fails. IMAGETIER_PHOTOS names the directory;
// the default is ../shared/photos beside the checkout.
func Photos(t testing.TB) string {
	t.Helper()
	dir, err := findPhotos()
	Require(t, err, "set IMAGETIER_PHOTOS to the directory of the sample photos")
	return dir
}

// Photo returns one of the sample photos, see [Photos].
func Photo(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Photos(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func findPhotos() (string, error) {
	if dir := os.Getenv("IMAGETIER_PHOTOS"); dir != "" {
		_, err := os.Stat(dir)
		return dir, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		photos := filepath.Join(dir, "shared", "photos")
		if _, err := os.Stat(photos); err == nil {
			return photos, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no ../shared/photos beside the checkout, and IMAGETIER_PHOTOS is not set")
		}
		dir = parent
	}
}
