package jsonlog_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/jsonlog"
)

// Files of 256 MiB are read without taking as much memory. What is after the last line cannot be what a crash left of
// an entry, so it is an error too.
func TestOpen_HugeFile(t *testing.T) {
	const huge = 256 << 20
	write := func(t *testing.T, text string) string {
		path := filepath.Join(t.TempDir(), "log")
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Truncate(path, huge)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bounded := func(t *testing.T, do func()) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		if bytes := after.TotalAlloc - before.TotalAlloc; bytes > huge/4 {
			t.Errorf("%d MiB were allocated", bytes>>20)
		}
	}
	refused := func(t *testing.T, cfg jsonlog.Config, says string) {
		bounded(t, func() {
			_, err := jsonlog.Open(cfg, func(int) {})
			if err == nil || !strings.Contains(err.Error(), cfg.Path+says) {
				t.Errorf("%v, want %s", err, says)
			}
		})
		if info, err := os.Stat(cfg.Path); err != nil || info.Size() != huge {
			t.Errorf("the file is changed: %v", err)
		}
	}
	t.Run("long line", func(t *testing.T) {
		refused(t, jsonlog.Config{Path: write(t, "1\n2\n")}, ":3: the line has more than 8388608 bytes")
	})
	t.Run("long file", func(t *testing.T) {
		cfg := jsonlog.Config{Path: write(t, "1\n2\n"), MaxBytes: 10 << 20}
		refused(t, cfg, " has more than 10485760 bytes: move it away")
	})
	t.Run("long line, skipped", func(t *testing.T) {
		skipped := 0
		cfg := jsonlog.Config{Path: write(t, "1\n2\n"), Skip: func(int, error) { skipped++ }}
		bounded(t, func() {
			l, got := open(t, cfg)
			err := errors.Join(l.Append(3), l.Close())
			if err != nil || skipped != 1 || !slices.Equal(got, []int{1, 2}) {
				t.Errorf("%v, %v, %d skipped", got, err, skipped)
			}
		})
		if text, err := os.ReadFile(cfg.Path); err != nil || string(text) != "1\n2\n3\n" {
			t.Errorf("the file is %.100q, %v", text, err)
		}
	})
	t.Run("long line in between, skipped", func(t *testing.T) {
		skipped := 0
		path := write(t, "1\n")
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("\n2\n"); err != nil {
			t.Fatal(err)
		}
		f.Close()
		bounded(t, func() {
			l, got := open(t, jsonlog.Config{Path: path, Skip: func(int, error) { skipped++ }})
			if l.Fault() != nil || l.Close() != nil || skipped != 1 || !slices.Equal(got, []int{1, 2}) {
				t.Errorf("%v, %d skipped, %v", got, skipped, l.Fault())
			}
		})
	})
}
