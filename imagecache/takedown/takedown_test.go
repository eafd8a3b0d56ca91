package takedown_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/takedown"
)

func open(t *testing.T, path string) *takedown.List {
	t.Helper()
	l, err := takedown.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func original(name string) imagecache.Original {
	return imagecache.Original{Source: "posts", Name: name}
}

func add(t *testing.T, l *takedown.List, name string) {
	t.Helper()
	if added, err := l.Add(original(name)); err != nil || !added {
		t.Fatalf("add %q: %t, %v", name, added, err)
	}
}

func TestATakedownOutlivesTheProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "takedowns")
	l := open(t, path)
	names := []string{"a.jpg", "b/c.jpg", "\xff\x00 any bytes\n"}
	for _, name := range names {
		add(t, l, name)
	}
	if lifted, err := l.Lift(original("b/c.jpg")); err != nil || !lifted {
		t.Fatal(lifted, err)
	}
	again := open(t, path) // without Close: a crash closes nothing
	for i, name := range names {
		if again.Has(original(name)) != (i != 1) {
			t.Errorf("%q is down: %t", name, again.Has(original(name)))
		}
	}
	if again.Has(imagecache.Original{Source: "avatars", Name: "a.jpg"}) || again.Len() != 2 {
		t.Error("another source's original is down")
	}
}

func TestAddingTwiceAndLiftingWhatIsNotDownChangeNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takedowns")
	l := open(t, path)
	add(t, l, "a.jpg")
	before, _ := os.ReadFile(path)
	if added, err := l.Add(original("a.jpg")); added || err != nil {
		t.Error(added, err)
	}
	if lifted, err := l.Lift(original("b.jpg")); lifted || err != nil {
		t.Error(lifted, err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file has grown")
	}
}

// A crash in the middle of a line: it was not acknowledged, and the rest holds.
func TestALineCutAtAnyByteIsAsIfItHadNotBeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takedowns")
	l := open(t, path)
	add(t, l, "a.jpg")
	first, _ := os.ReadFile(path)
	add(t, l, "b.jpg")
	both, _ := os.ReadFile(path)
	for cut := len(first); cut < len(both); cut++ {
		path := filepath.Join(t.TempDir(), "takedowns")
		if err := os.WriteFile(path, both[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		l := open(t, path)
		if !l.Has(original("a.jpg")) || l.Has(original("b.jpg")) {
			t.Fatalf("cut at %d: a is down: %t, b is down: %t", cut, l.Has(original("a.jpg")), l.Has(original("b.jpg")))
		}
		add(t, l, "c.jpg")
		if again := open(t, path); !again.Has(original("c.jpg")) {
			t.Fatalf("cut at %d: what was added afterwards is lost", cut)
		}
	}
}

// To serve on without the list could serve what must not be served.
func TestADamagedListIsAnErrorThatNamesTheLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takedowns")
	if err := os.WriteFile(path, []byte("{\"source\":\"posts\",\"name\":\"YQ==\"}\n\x00\x00\x00\x00\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := takedown.Open(path); err == nil || !strings.Contains(err.Error(), "takedowns:2") {
		t.Errorf("%v, want the line that is wrong", err)
	}
}

func TestALongHistoryIsShortened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "takedowns")
	l := open(t, path)
	add(t, l, "stays.jpg")
	for i := range 100 {
		name := fmt.Sprintf("%d.jpg", i)
		add(t, l, name)
		if _, err := l.Lift(original(name)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Stat(path)
	again := open(t, path)
	after, _ := os.Stat(path)
	if after.Size() >= before.Size()/10 || !again.Has(original("stays.jpg")) || again.Len() != 1 {
		t.Errorf("%d bytes, then %d; %d are down", before.Size(), after.Size(), again.Len())
	}
	add(t, again, "new.jpg")
	if third := open(t, path); third.Len() != 2 {
		t.Errorf("%d are down, want 2", third.Len())
	}
}

func TestWhatCannotBeWrittenIsNotDown(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "takedowns"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if added, err := l.Add(original("a.jpg")); err == nil || added || l.Has(original("a.jpg")) {
		t.Errorf("%t, %v: a takedown that a restart forgets was acknowledged", added, err)
	}
}

// A name that leads nowhere stands in for a disk on which nothing can be made.
func TestAListThatCannotBeWrittenIsWrittenOnceItCan(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Symlink(disk, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "cache", "takedowns")
	l := open(t, path)
	if l.Fault() == nil || l.Len() != 0 {
		t.Errorf("fault %v, %d are down", l.Fault(), l.Len())
	}
	if _, err := l.Add(original("a.jpg")); err == nil || l.Has(original("a.jpg")) {
		t.Errorf("added: %v, and it is down: %t", err, l.Has(original("a.jpg")))
	}
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	add(t, l, "a.jpg")
	if l.Fault() != nil || !open(t, path).Has(original("a.jpg")) {
		t.Errorf("fault %v, or what was added does not last", l.Fault())
	}
}

// What comes to light only when the disk is back was not obeyed so far: that is no state
// to acknowledge anything in.
func TestAListThatWasNotTheOneThatWasReadIsNotWritten(t *testing.T) {
	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	if err := os.Symlink(disk, filepath.Join(dir, "cache")); err != nil {
		t.Fatal(err)
	}
	l := open(t, filepath.Join(dir, "cache", "takedowns"))
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(disk, "takedowns")
	add(t, open(t, path), "b.jpg")
	if _, err := l.Add(original("a.jpg")); err == nil || !strings.Contains(err.Error(), "since it was read") {
		t.Errorf("added: %v", err)
	}
	if again := open(t, path); again.Len() != 1 || !again.Has(original("b.jpg")) {
		t.Error("what was there is gone")
	}
}
