// Package jsonlog is an append-only file of JSON values, one a line, that survives a kill and
// a power cut: what Append has returned for is there after either.
//
// A line that a crash left half written is cut off, since it was never acknowledged. A line
// that cannot be read for any other reason is an error, or is skipped where the caller says
// so (Config.Skip). A disk that cannot be written is no error of Open: what was read holds,
// Fault says what is wrong, and Append fails until the disk lets it write.
//
// Start reading at Append.
package jsonlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"sync"
)

// Config of a Log.
type Config struct {
	// Path of the file; it and its directory are made if missing.
	Path string
	// FS is the file system; nil is OS.
	FS FS
	// Skip is called for each line that is not a value, which is then left out. If it is nil,
	// such a line is an error of Open.
	Skip func(line int, err error)
}

// Log is an open file. It is safe for concurrent use.
type Log[T any] struct {
	cfg Config

	syncing sync.Mutex // held while the file is synced or replaced; taken before mu

	mu     sync.Mutex // guards all below
	file   File       // nil while it cannot be opened: then fault says why
	fault  error
	closed bool
	size   int64 // of the lines that were written
	synced int64 // of those that are durable
	lines  int
	failed int // syncs that failed; each takes back what was not durable

	// By these open tells what a fault has left from another file.
	leftover int64  // where refused lines end that could not be cut off
	rewrite  []byte // of a Rewrite that failed, maybe after it replaced the file
}

// Open reads the file and calls each with every value, oldest first.
func Open[T any](cfg Config, each func(T)) (*Log[T], error) {
	if cfg.FS == nil {
		cfg.FS = OS{}
	}
	l := &Log[T]{cfg: cfg}
	text, err := cfg.FS.ReadFile(cfg.Path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	text = text[:bytes.LastIndexByte(text, '\n')+1]
	for line := range bytes.Lines(text) {
		l.lines++
		var value T
		if err := json.Unmarshal(line, &value); err != nil {
			if cfg.Skip == nil {
				return nil, fmt.Errorf("%s:%d: %w", cfg.Path, l.lines, err)
			}
			cfg.Skip(l.lines, err)
			continue
		}
		each(value)
	}
	l.size, l.synced = int64(len(text)), int64(len(text))
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

// Fault returns why the file cannot be written, as far as that is known; nil if it can.
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

// Append writes values and returns when they are durable: all of them, or on an error none.
// Calls that run at the same time share a sync.
//
//  1. A writes its line; B writes its line behind it.
//  2. A takes syncing and syncs the file: both lines are durable.
//  3. B takes syncing, sees that synced is past its line, and returns.
//
// If the sync of 2 fails, everything past synced is cut off and failed grows: B sees that, too,
// and returns the error instead of syncing a line that is not there any more.
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
		err = errors.Join(errors.New("the file could not be synced"), l.fault)
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
	if err != nil {
		return errors.Join(err, l.takeBackLocked(l.size))
	}
	l.synced = upTo
	return nil
}

// takeBackLocked cuts off what is not durable, up to end. What the disk does not let it cut off
// now is cut off when the file is opened again, before anything is written.
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

// adoptLocked notes that text is what the file has.
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
	// Synced before anything is written again: a power cut must not leave new lines over old.
	err := l.file.Truncate(0)
	if err == nil {
		l.size, l.synced, l.lines = 0, 0, 0
		err = l.file.Sync()
	}
	if err != nil {
		l.fault = err
		_ = l.closeFileLocked() // opened again it is checked against size
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
// brought another. Its lines must be neither cut off nor overwritten; what a crash left half
// written is shorter than a line.
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
