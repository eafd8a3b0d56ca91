package service

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A file of statistics that is larger than any is renamed, not read.
func TestState_Restore_HugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "warming.json")
	if err := errors.Join(os.WriteFile(path, []byte("{"), 0o600), os.Truncate(path, 1<<30)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s := &state{path: path, log: slog.New(slog.NewTextHandler(&log, nil))}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s.restore()
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 32<<20 {
		t.Errorf("%d MiB were allocated", allocated>>20)
	}
	if !strings.Contains(log.String(), path+".damaged") || !strings.Contains(log.String(), "more than 4194304 bytes") {
		t.Errorf("the log is %s", &log)
	}
	if info, err := os.Stat(path + ".damaged"); err != nil || info.Size() != 1<<30 {
		t.Errorf("it was not renamed: %v", err)
	}
}
