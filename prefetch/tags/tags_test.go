package tags

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

func of(name string) imagecache.Original { return imagecache.Original{Source: "posts", Name: name} }

func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	s, skipped, err := Open(cfg)
	if err != nil || skipped != 0 {
		t.Fatalf("%d lines skipped, %v", skipped, err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func learn(t *testing.T, s *Store, pairs ...Pair) {
	t.Helper()
	if err := s.Learn(pairs...); err != nil {
		t.Fatal(err)
	}
}

func TestWhatWasLearntIsKnownAfterAnyCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache", "tags")
	s := open(t, Config{Path: path})
	odd := of("a\xff\nb")
	learn(
		t,
		s,
		Pair{Tag: "post:p1", Of: of("a")},
		Pair{Tag: "post:p1", Of: odd, Live: true},
		Pair{Tag: "user:u1", Of: of("b"), Live: true},
	)
	learn(t, s, Pair{Tag: "user:u1", Of: of("b")}) // what was live once stays so
	if err := s.End("post:p2"); err != nil {
		t.Fatal(err)
	}
	if err := s.Forget("user:u2"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path) // as a kill leaves it
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	for _, left := range []string{string(text), string(text) + `{"t":"post:p9","s":"po`} {
		path := filepath.Join(t.TempDir(), "tags")
		if err := os.WriteFile(path, []byte(left), 0o640); err != nil {
			t.Fatal(err)
		}
		again := open(t, Config{Path: path})
		if got := again.Of("post:p1"); !slices.Equal(got, []imagecache.Original{of("a"), odd}) {
			t.Errorf("post:p1 is %q", got)
		}
		if got := again.LiveOf("post:p1"); !slices.Equal(got, []imagecache.Original{odd}) {
			t.Errorf("live of post:p1 is %q", got)
		}
		if got := again.LiveOf("user:u1"); len(got) != 1 {
			t.Errorf("live of user:u1 is %q", got)
		}
		if !again.Ended("post:p2", time.Now().Add(-time.Minute)) ||
			again.Ended("post:p2", time.Now().Add(time.Minute)) ||
			again.Ended("post:p1", time.Time{}) {
			t.Error("it does not know what was ended")
		}
		learn(t, again, Pair{Tag: "post:p3", Of: of("c")})
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if third := open(t, Config{Path: path}); len(third.Of("post:p3")) != 1 || third.Len() != 4 {
			t.Errorf("%d pairs behind what a crash left", third.Len())
		}
	}
	// A line in the middle that is damaged takes no other with it.
	lines[1] = "damaged\n"
	damaged := filepath.Join(t.TempDir(), "tags")
	if err := os.WriteFile(damaged, []byte(strings.Join(lines, "")), 0o640); err != nil {
		t.Fatal(err)
	}
	d, skipped, err := Open(Config{Path: damaged})
	if err != nil || skipped != 1 || len(d.Of("post:p1")) != 1 || len(d.Of("user:u1")) != 1 {
		t.Errorf("%d skipped, %v, %q", skipped, err, d.Of("post:p1"))
	}
}

func TestATagThatIsLearntAgainIsNotEndedAnyMore(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := open(t, Config{Path: filepath.Join(t.TempDir(), "tags"), Now: func() time.Time { return now }})
	learn(t, s, Pair{Tag: "post:p1", Of: of("a")})
	if err := s.End("post:p1"); err != nil {
		t.Fatal(err)
	}
	if !s.Ended("post:p1", now.Add(-time.Second)) || len(s.Of("post:p1")) != 1 {
		t.Error("it is not ended, or forgotten with that")
	}
	if err := s.Forget("post:p1"); err != nil {
		t.Fatal(err)
	}
	if !s.Ended("post:p1", now.Add(-time.Second)) || len(s.Of("post:p1")) != 0 || s.Len() != 0 {
		t.Error("it is not forgotten, or not ended any more")
	}
	learn(t, s, Pair{Tag: "post:p1", Of: of("a")})
	if s.Ended("post:p1", now.Add(-time.Second)) || len(s.Of("post:p1")) != 1 {
		t.Error("it is ended still")
	}
}

func TestTheOldestAreForgottenWhenThereAreTooManyAndTheFileStaysShort(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tags")
	s := open(t, Config{Path: path, Most: 100})
	for i := range 60 {
		var pairs []Pair
		for j := range 500 {
			pairs = append(pairs, Pair{Tag: fmt.Sprintf("post:%d", i*500+j), Of: of(fmt.Sprint(i*500 + j))})
		}
		learn(t, s, pairs...)
	}
	if s.Len() != 100 || len(s.Of("post:29999")) != 1 || len(s.Of("post:29899")) != 0 {
		t.Errorf("%d pairs, the last is %q", s.Len(), s.Of("post:29999"))
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > 1<<20 {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	if again := open(t, Config{Path: path, Most: 100}); again.Len() != 100 || len(again.Of("post:29999")) != 1 {
		t.Errorf("%d pairs after a restart", again.Len())
	}
}

func TestEndsAreForgottenInTheirTime(t *testing.T) {
	now := time.Unix(1e9, 0)
	cfg := Config{Path: filepath.Join(t.TempDir(), "tags"), Now: func() time.Time { return now }}
	s := open(t, cfg)
	for i := range 10 {
		if err := s.End(fmt.Sprint("post:", i)); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	now = now.Add(25 * time.Hour)
	again := open(t, cfg)
	if len(again.known) != 0 {
		t.Errorf("%d tags are known that nothing bears", len(again.known))
	}
}

func TestADiskThatCannotBeWrittenFailsTheChangeAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file", "tags")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil { // where the directory should be
		t.Fatal(err)
	}
	s, _, err := Open(Config{Path: path})
	if err == nil {
		if err := s.Learn(Pair{Tag: "a", Of: of("a")}); err == nil || s.Len() != 0 {
			t.Errorf("%v, %d pairs", err, s.Len())
		}
	} else if !errors.Is(err, os.ErrNotExist) && !strings.Contains(err.Error(), "not a directory") {
		t.Error(err)
	}
}

func BenchmarkLearn(b *testing.B) {
	s, _, err := Open(Config{Path: filepath.Join(b.TempDir(), "tags")})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for i := range b.N {
		if err := s.Learn(Pair{Tag: fmt.Sprint("post:", i), Of: of(fmt.Sprint("2026/11/", i, ".jpg"))}); err != nil {
			b.Fatal(err)
		}
	}
}
