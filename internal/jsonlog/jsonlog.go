// Package jsonlog is an append-only file of JSON values, one per line, that survives crashes and
// power failures: values are durable when Append returns.
//
// A line that a crash left incomplete is cut off, since it was never acknowledged. Any other
// unreadable line is an error, or is skipped if the caller says so (Config.Skip), and so is one of
// more than 8 MiB. The file is read line by line. If the disk
// cannot be written, Open succeeds with the lines that were read, Fault returns the error, and
// Append fails until the disk is writable.
//
// Start reading at Append.
package jsonlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
)

// Config configures a Log.
type Config struct {
	// Path is the path of the file; it and its directory are created if missing.
	Path string
	// FS is the file system; nil is OS.
	FS FS
	// MaxBytes is the largest file that Open reads, in bytes; 0 is no limit.
	MaxBytes int64
	// Skip is called for each line that is not a value; the line is skipped. If Skip is nil, such a
	// line is an error of Open.
	Skip func(line int, err error)
}

// Log is an open file. It is safe for concurrent use.
type Log[T any] struct {
	cfg Config

	syncing sync.Mutex // held while the file is synced or replaced; taken before mu

	mu     sync.Mutex // guards all below
	file   File       // nil if it cannot be opened, because of fault
	fault  error
	closed bool
	size   int64 // bytes written
	synced int64 // durable bytes
	lines  int
	failed int // failed syncs; after each, the lines that are not durable are cut off

	// These let open distinguish the remains of a fault from another file.
	leftover int64  // end of refused lines that could not be cut off
	rewrite  []byte // text of a failed Rewrite, which may have replaced the file
}

// Open reads the file and calls each with every value, oldest first.
func Open[T any](cfg Config, each func(T)) (*Log[T], error) {
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	l := &Log[T]{cfg: cfg}
	if err := l.read(each); err != nil {
		return nil, err
	}
	l.synced = l.size
	l.openLocked()
	return l, nil
}

// Close closes the file.
func (l *Log[T]) Close() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return l.closeFileLocked()
}

// Fault returns the last error of writing the file; nil if it is writable.
func (l *Log[T]) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Lines returns how many lines the file has.
func (l *Log[T]) Lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines
}

// Size returns the length of the file in bytes.
func (l *Log[T]) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Append writes values and returns when all of them are durable. After an error none is. Calls that
// run at the same time share a sync.
//
//  1. A writes its line; B writes its line behind it.
//  2. A takes syncing and syncs the file: both lines are durable.
//  3. B takes syncing, sees that synced is past its line, and returns.
//
// If the sync of 2 fails, everything past synced is cut off and failed is incremented: B notices
// that and returns the error, instead of syncing a line that no longer exists. A third call whose
// write fails during the sync of 2 may cut it off too: A and B notice that.
func (l *Log[T]) Append(values ...T) error {
	text, err := encode(func(yield func(T) bool) {
		for _, value := range values {
			if !yield(value) {
				return
			}
		}
	})
	if err != nil || len(values) == 0 {
		return err
	}
	l.mu.Lock()
	failed := l.failed
	err = l.writeLocked(text, len(values))
	end := l.size
	l.mu.Unlock()
	if err != nil {
		return err
	}

	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	file, upTo := l.file, l.size
	switch {
	case l.failed != failed || file == nil:
		err = errors.Join(errCut, l.fault)
	case l.synced >= end:
		file = nil
	}
	l.mu.Unlock()
	if err != nil || file == nil {
		return err
	}
	err = file.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil && l.file != nil:
		return errors.Join(err, l.takeBackLocked(l.size))
	case err != nil || l.failed != failed:
		return errors.Join(errCut, err, l.fault)
	}
	l.synced = upTo
	return nil
}

// errCut means that the lines were cut off again.
var errCut = errors.New("the file could not be synced")

// takeBackLocked truncates the file to its durable length, end. If that fails, the file is
// truncated when it is opened again, before anything is written.
func (l *Log[T]) takeBackLocked(end int64) error {
	l.failed++
	l.size = l.synced
	err := l.file.Truncate(l.size)
	if err != nil {
		l.leftover, l.fault = max(l.leftover, end), err
		_ = l.closeFileLocked()
	}
	return err
}

func (l *Log[T]) writeLocked(text []byte, lines int) error {
	if l.openLocked(); l.file == nil {
		return l.fault
	}
	if _, err := l.file.WriteAt(text, l.size); err != nil {
		if l.file.Truncate(l.size) != nil {
			err = errors.Join(err, l.takeBackLocked(l.size+int64(len(text))))
		}
		return err
	}
	l.size += int64(len(text))
	l.lines += lines
	return nil
}

// Rewrite replaces the whole file with values, durably. After an error the file has the old lines
// or the new ones, which should mean the same.
func (l *Log[T]) Rewrite(values iter.Seq[T]) error {
	text, err := encode(values)
	if err != nil {
		return err
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.openLocked(); l.file == nil {
		return l.fault
	}
	err = l.cfg.FS.WriteFile(l.cfg.Path, text)
	_ = l.closeFileLocked() // it may be the old file, which has no name any more
	if err != nil {
		l.rewrite = text
		return err
	}
	l.adoptLocked(text)
	l.openLocked()
	return nil
}

// adoptLocked records that text is the content of the file.
func (l *Log[T]) adoptLocked(text []byte) {
	l.size, l.synced, l.lines = int64(len(text)), int64(len(text)), bytes.Count(text, []byte("\n"))
	l.leftover, l.rewrite = 0, nil
}

// Clear empties the file, durably.
func (l *Log[T]) Clear() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.openLocked(); l.file == nil {
		return l.fault
	}
	// Synced before anything else is written: a power failure must not leave new lines over old
	// ones.
	err := l.file.Truncate(0)
	if err == nil {
		l.size, l.synced, l.lines = 0, 0, 0
		err = l.file.Sync()
	}
	if err != nil {
		l.fault = err
		_ = l.closeFileLocked() // when opened again it is compared with size
	}
	return err
}

// openLocked opens the file for writing if it is not open.
func (l *Log[T]) openLocked() {
	switch {
	case l.closed:
		l.fault = os.ErrClosed
	case l.file == nil:
		l.file, l.fault = l.open()
	}
}

// open checks that the file is the one that was read: a disk that was mounted since may have
// another one. Its lines must be neither cut off nor overwritten; the incomplete line that a crash
// leaves is shorter than a line.
func (l *Log[T]) open() (File, error) {
	file, err := l.cfg.FS.OpenFile(l.cfg.Path)
	if err != nil {
		return nil, err
	}
	size, err := file.Size()
	if err == nil && l.rewrite != nil && size == int64(len(l.rewrite)) {
		found := make([]byte, size)
		if _, err = file.ReadAt(found, 0); err == nil && bytes.Equal(found, l.rewrite) {
			l.adoptLocked(l.rewrite)
		}
	}
	switch {
	case err != nil:
	case size <= l.leftover && size > l.size:
		err = errors.Join(file.Truncate(l.size), file.Sync())
	case size < l.size:
		err = fmt.Errorf("%s has lost lines since it was read", l.cfg.Path)
	case size-l.size > maxLine:
		err = fmt.Errorf("%s has grown since it was read", l.cfg.Path)
	case size > l.size:
		rest := make([]byte, size-l.size)
		if _, err = file.ReadAt(rest, l.size); err != nil {
			break
		}
		if bytes.IndexByte(rest, '\n') >= 0 {
			err = fmt.Errorf("%s has gained lines since it was read", l.cfg.Path)
			break
		}
		err = errors.Join(file.Truncate(l.size), file.Sync())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	l.leftover, l.rewrite = 0, nil
	return file, nil
}

func (l *Log[T]) closeFileLocked() error {
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

func encode[T any](values iter.Seq[T]) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for value := range values {
		if err := enc.Encode(value); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}
