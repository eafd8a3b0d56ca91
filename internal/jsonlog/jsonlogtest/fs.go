// Package jsonlogtest has an in-memory file system for tests that simulates crashes and power
// failures between any two changes.
package jsonlogtest

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
)

// FS is an in-memory file system. It is not safe for concurrent use.
type FS struct {
	// Step is called before every change. A test panics in it to simulate a crash, or returns an
	// error to make the change fail. It may be nil.
	Step func(op, path string) error
	// ReadErr, if not nil, is the error of reading files.
	ReadErr map[string]error

	files map[string]*file
}

type file struct{ current, durable []byte }

// New returns an empty file system.
func New() *FS { return &FS{files: make(map[string]*file), ReadErr: make(map[string]error)} }

// Crash simulates the end of the process. With power, everything that was written remains. Without
// power, each file is as it was last synced, possibly followed by a part of what was written later.
func (f *FS) Crash(rng *rand.Rand, power bool) {
	for _, path := range sortedKeys(f.files) {
		x := f.files[path]
		switch rest, ok := bytes.CutPrefix(x.current, x.durable); {
		case power:
		case ok:
			x.current = x.current[:len(x.durable)+rng.IntN(len(rest)+1)]
		case rng.IntN(2) == 0:
			x.current = bytes.Clone(x.durable)
		}
		x.durable = bytes.Clone(x.current)
	}
}

// Text returns the content of a file; nil if it is missing.
func (f *FS) Text(path string) []byte {
	if x := f.files[path]; x != nil {
		return x.current
	}
	return nil
}

// Set writes a file durably without calling Step.
func (f *FS) Set(path string, text []byte) {
	f.files[path] = &file{bytes.Clone(text), bytes.Clone(text)}
}

// Remove removes a file without calling Step.
func (f *FS) Remove(path string) { delete(f.files, path) }

func (f *FS) step(op, path string) error {
	if f.Step == nil {
		return nil
	}
	return f.Step(op, path)
}

// Open is jsonlog.FS's.
func (f *FS) Open(path string) (io.ReadCloser, error) {
	if err := f.ReadErr[path]; err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	x := f.files[path]
	if x == nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return io.NopCloser(bytes.NewReader(bytes.Clone(x.current))), nil
}

// WriteFile is jsonlog.FS's: atomic and durable.
func (f *FS) WriteFile(path string, data []byte) error {
	if err := f.step("replace", path); err != nil {
		return err
	}
	f.Set(path, data)
	return f.step("replaced", path)
}
