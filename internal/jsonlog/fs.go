package jsonlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/novasocial/imagetier/internal/durable"
)

// FS has the operations of a file system that durable state needs. OS is the real one; tests use
// jsonlogtest.FS, which simulates power failures.
type FS interface {
	// Open opens a file for reading. The error wraps fs.ErrNotExist only if the file is missing.
	Open(path string) (io.ReadCloser, error)
	// OpenFile opens a file for reading and writing. It creates the file and its directory if they
	// are missing; the name of the file is durable when it returns.
	OpenFile(path string) (File, error)
	// WriteFile replaces a file atomically, and returns when that is durable.
	WriteFile(path string, data []byte) error
}

// File is an open file.
type File interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Size() (int64, error)
	Close() error
}

// OS is the file system of this machine.
type OS struct{}

// Open opens a file for reading.
func (OS) Open(path string) (io.ReadCloser, error) { return durable.OpenFile(path, os.O_RDONLY) }

// WriteFile replaces a file durably.
func (OS) WriteFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return durable.WriteFile(path, data)
}

// OpenFile opens a file, and creates it if it is missing.
func (OS) OpenFile(path string) (File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, err
	}
	file, err := durable.OpenFile(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return osFile{file}, nil
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
