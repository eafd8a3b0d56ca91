package jsonlog

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A FIFO instead of the file is an error; opening it would block.
func TestOpen_FIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{Path: path}, func(int) {})
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%v", err)
	}
	if _, err := (OS{}).OpenFile(path); err == nil {
		t.Error("a FIFO was opened for writing")
	}
}
