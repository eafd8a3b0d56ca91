package jsonlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/internal/jsonlog"
	"github.com/novasocial/imagetier/internal/jsonlog/jsonlogtest"
)

func open(t *testing.T, cfg jsonlog.Config) (*jsonlog.Log[int], []int) {
	t.Helper()
	var values []int
	l, err := jsonlog.Open(cfg, func(v int) { values = append(values, v) })
	if err != nil {
		t.Fatal(err)
	}
	return l, values
}

func TestLog_Append_SurvivesAPowerCut(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 0))
		fs := jsonlogtest.New()
		l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
		var acked []int
		steps := 1 + rng.IntN(30)
		func() {
			defer func() { _ = recover() }()
			fs.Step = func(string, string) error {
				if steps--; steps == 0 {
					panic("power")
				}
				return nil
			}
			for i := range 20 {
				if l.Append(i) == nil {
					acked = append(acked, i)
				}
			}
		}()
		fs.Step = nil
		fs.Crash(rng, false)
		_, got := open(t, jsonlog.Config{Path: "log", FS: fs})
		if len(got) < len(acked) || !slices.Equal(got[:len(acked)], acked) {
			t.Fatalf("seed %d: %v are there, %v were acknowledged", seed, got, acked)
		}
	}
}

func TestLog_Append_UndoesUnsyncedEntry(t *testing.T) {
	fs := jsonlogtest.New()
	l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
	if err := l.Append(1); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	fs.Step = func(op, _ string) error {
		if op == "sync" {
			return full
		}
		return nil
	}
	if err := l.Append(2); !errors.Is(err, full) {
		t.Fatal(err)
	}
	fs.Step = nil
	if err := l.Append(3); err != nil {
		t.Fatal(err)
	}
	if _, got := open(t, jsonlog.Config{Path: "log", FS: fs}); !slices.Equal(got, []int{1, 3}) {
		t.Error(got)
	}
}

// A refused line that could not be truncated must neither come back nor follow a shorter line.
func TestLog_Append_CutsOffRefusedLinesLater(t *testing.T) {
	for _, refuses := range []string{"write", "sync"} {
		fs := jsonlogtest.New()
		l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
		if err := l.Append(1); err != nil {
			t.Fatal(err)
		}
		fs.Step = func(op, _ string) error {
			if op == refuses || op == "truncate" {
				return errors.New("disk failed")
			}
			return nil
		}
		if err := l.Append(222222); err == nil || l.Fault() == nil {
			t.Errorf("%s refused: %v, fault %v", refuses, err, l.Fault())
		}
		fs.Step = nil
		if err := l.Append(3); err != nil {
			t.Errorf("%s refused: %v once the disk works", refuses, err)
		}
		if _, got := open(t, jsonlog.Config{Path: "log", FS: fs}); !slices.Equal(got, []int{1, 3}) {
			t.Errorf("%s refused: %v", refuses, got)
		}
	}
}

// While one call syncs, the write of another one fails and cannot be taken back: the lines that are being synced are
// cut off too.
func TestLog_Append_LineCutOffDuringSync(t *testing.T) {
	failed := errors.New("disk failed")
	for _, c := range []struct {
		name      string
		truncates int // that fail
		sync      error
	}{
		{"cut off", 1, nil},
		{"not synced either", 1, failed},
		{"file closed", 2, nil},
		{"file closed, and not synced either", 2, failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := jsonlogtest.New()
			l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
			if err := l.Append(1); err != nil {
				t.Fatal(err)
			}
			syncs, truncates := 0, c.truncates
			fs.Step = func(op, _ string) error {
				switch {
				case op == "sync":
					if syncs++; syncs > 1 {
						return nil
					}
					if err := l.Append(3); !errors.Is(err, failed) {
						t.Error(err)
					}
					return c.sync
				case op == "write" && syncs > 0:
					return failed
				case op == "truncate" && truncates > 0:
					truncates--
					return failed
				}
				return nil
			}
			if err := l.Append(2); err == nil {
				t.Error("acknowledged, and cut off")
			}
			fs.Step = nil
			if err := l.Append(4); err != nil {
				t.Error(err)
			}
			if _, got := open(t, jsonlog.Config{Path: "log", FS: fs}); !slices.Equal(got, []int{1, 4}) {
				t.Error(got)
			}
		})
	}
}

// A Rewrite that fails may have replaced the file: later lines must be appended to the file that
// now has the name.
func TestLog_Rewrite_FailsBeforeOrAfterReplacing(t *testing.T) {
	for _, fails := range []string{"replace", "replaced"} {
		fs := jsonlogtest.New()
		l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
		if err := l.Append(1, 2); err != nil {
			t.Fatal(err)
		}
		fs.Step = func(op, _ string) error {
			if op == fails {
				return errors.New("disk failed")
			}
			return nil
		}
		if err := l.Rewrite(slices.Values([]int{2})); err == nil {
			t.Errorf("%s: no error", fails)
		}
		fs.Step = nil
		if err := l.Append(3); err != nil {
			t.Errorf("%s: %v once the disk works", fails, err)
		}
		want := map[string][]int{"replace": {1, 2, 3}, "replaced": {2, 3}}[fails]
		if _, got := open(t, jsonlog.Config{Path: "log", FS: fs}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", fails, got, want)
		}
	}
}

// A disk that is mounted after the start has another file under the name, which must be neither
// truncated nor overwritten.
func TestLog_Append_RefusesReplacedFile(t *testing.T) {
	for _, text := range []string{"1\n2\n3\n", "1\n2\n3\n4"} {
		fs := jsonlogtest.New()
		fs.Step = func(string, string) error { return errors.New("read-only") }
		l, _ := open(t, jsonlog.Config{Path: "log", FS: fs})
		fs.Step = nil
		fs.Set("log", []byte(text))
		if err := l.Append(9); err == nil || !strings.Contains(err.Error(), "gained lines") || l.Fault() == nil {
			t.Errorf("%v, fault %v", err, l.Fault())
		}
		if got := string(fs.Text("log")); got != text {
			t.Errorf("the file is %q", got)
		}
	}
}

func TestOpen_CutsOffHalfALineAndRefusesADamagedOne(t *testing.T) {
	fs := jsonlogtest.New()
	fs.Set("log", []byte("1\n2\n3"))
	l, got := open(t, jsonlog.Config{Path: "log", FS: fs})
	if err := l.Append(4); err != nil || !slices.Equal(got, []int{1, 2}) || string(fs.Text("log")) != "1\n2\n4\n" {
		t.Errorf("%v %v %q", err, got, fs.Text("log"))
	}
	fs.Set("log", []byte("1\nx\n3\n"))
	_, err := jsonlog.Open(jsonlog.Config{Path: "log", FS: fs}, func(int) {})
	if err == nil || !strings.Contains(err.Error(), "log:2") {
		t.Error(err)
	}
	skipped := 0
	_, got = open(t, jsonlog.Config{Path: "log", FS: fs, Skip: func(int, error) { skipped++ }})
	if skipped != 1 || !slices.Equal(got, []int{1, 3}) {
		t.Errorf("%d skipped, %v", skipped, got)
	}
}

func TestLog_Append_IsSafeForManyAtOnce(t *testing.T) {
	cfg := jsonlog.Config{Path: t.TempDir() + "/log"}
	l, _ := open(t, cfg)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			if err := l.Append(i); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := l.Rewrite(slices.Values([]int{7})); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Append(8), l.Close()); err != nil {
		t.Fatal(err)
	}
	if _, got := open(t, cfg); fmt.Sprint(got) != "[7 8]" {
		t.Error(got)
	}
}
