package jsonlogtest

import (
	"bytes"
	"io"
	"maps"
	"slices"

	"github.com/novasocial/imagetier/internal/jsonlog"
)

// OpenFile is jsonlog.FS's.
func (f *FS) OpenFile(path string) (jsonlog.File, error) {
	if f.files[path] == nil {
		if err := f.step("create", path); err != nil {
			return nil, err
		}
		f.files[path] = &file{}
	}
	return &handle{f, f.files[path], path}, nil
}

// handle is an open file. As in an operating system, it stays the old file after a replacement.
type handle struct {
	fs   *FS
	file *file
	path string
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, h.file.current[min(off, int64(len(h.file.current))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.fs.step("write", h.path); err != nil {
		return 0, err
	}
	text := append(slices.Clone(h.file.current[:off]), p...)
	if end := int(off) + len(p); end < len(h.file.current) {
		text = append(text, h.file.current[end:]...)
	}
	h.file.current = text
	return len(p), nil
}

func (h *handle) Truncate(size int64) error {
	if err := h.fs.step("truncate", h.path); err != nil {
		return err
	}
	h.file.current = bytes.Clone(h.file.current[:size])
	return nil
}

func (h *handle) Sync() error {
	if err := h.fs.step("sync", h.path); err != nil {
		return err
	}
	h.file.durable = bytes.Clone(h.file.current)
	return nil
}

func (h *handle) Size() (int64, error) { return int64(len(h.file.current)), nil }

func (h *handle) Close() error { return nil }

func sortedKeys(files map[string]*file) []string { return slices.Sorted(maps.Keys(files)) }
