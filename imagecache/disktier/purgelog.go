package disktier

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

// The purge log has the tombstones. It is separate from the segments, so that a purge syncs
// only one block instead of everything written in the last second, does not wait for the
// writer, and is complete before the first segment is read.
//
// There are two files with the same content, since a lost tombstone would bring back a purged
// image. Either is enough. Without both, the segments cannot be trusted and are removed.
//
//	header  24 bytes: magic, version, CRC of the two, zeros
//	entries of 24 bytes: hash, position, kind, CRC
const (
	purgeHeaderBytes = 24
	purgeEntryBytes  = 24
)

var (
	purgeMagic = []byte("imgtprg\n")
	purgeFiles = [2]string{"purges-1", "purges-2"}
)

// tombstone deletes all records with this hash before position.
type tombstone struct {
	hash     uint64
	position uint64
	original bool // the hash is of an original, else of a key
}

func appendTombstone(b []byte, t tombstone) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, t.hash)
	b = binary.LittleEndian.AppendUint64(b, t.position)
	kind := uint32(1)
	if t.original {
		kind = 2
	}
	b = binary.LittleEndian.AppendUint32(b, kind)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

func parseTombstone(b []byte) (tombstone, bool) {
	kind := binary.LittleEndian.Uint32(b[16:])
	if binary.LittleEndian.Uint32(b[20:]) != checksum(b[:20]) || kind != 1 && kind != 2 {
		return tombstone{}, false
	}
	return tombstone{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), kind == 2}, true
}

func purgeHeader() []byte {
	b := binary.LittleEndian.AppendUint32(bytes.Clone(purgeMagic), formatVersion)
	b = binary.LittleEndian.AppendUint32(b, checksum(b))
	return append(b, make([]byte, purgeHeaderBytes-len(b))...)
}

// parsePurges reads one of the two files. The error is errUnknownFormat, errDamaged if the
// header is damaged, or a fault of the disk. whole reports whether all entries are valid. Memory is
// needed only for valid entries, however long the file is.
func parsePurges(r io.Reader) (entries []tombstone, whole bool, err error) {
	in := bufio.NewReaderSize(r, windowBytes)
	b := make([]byte, purgeHeaderBytes)
	_, err = io.ReadFull(in, b)
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, false, err
	case err != nil, !bytes.Equal(b[:8], purgeMagic), binary.LittleEndian.Uint32(b[12:]) != checksum(b[:12]):
		return nil, false, errDamaged
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return nil, false, fmt.Errorf("%w (version %d)", errUnknownFormat, v)
	}
	whole = true
	b = make([]byte, purgeEntryBytes)
	for {
		switch _, err := io.ReadFull(in, b); err {
		case nil:
		case io.EOF:
			return entries, whole, nil
		case io.ErrUnexpectedEOF:
			return entries, false, nil
		default:
			return nil, false, err
		}
		if t, ok := parseTombstone(b); ok {
			entries = append(entries, t)
		} else {
			whole = false
		}
	}
}

// purgeLog is safe for concurrent use.
type purgeLog struct {
	fs  fileSystem
	dir string

	mu      sync.Mutex
	pending *purgeBatch // the batch of the next write

	writing sync.Mutex // held while the files are written; never acquired with mu held
	files   [2]file    // nil until something is appended
	broken  bool       // the two may differ: they are rewritten before the next entry

	// Both are written with writing held.
	size  atomic.Int64 // bytes of each file: where the next entry goes
	floor atomic.Int64 // bytes after the last rewrite
}

// purgeBatch are tombstones that become durable together. err and done are guarded by
// purgeLog.writing.
type purgeBatch struct {
	bytes []byte
	done  bool
	err   error
}

// append makes tombstones durable. Concurrent callers share one sync.
func (p *purgeLog) append(ts ...tombstone) error {
	p.mu.Lock()
	if p.pending == nil {
		p.pending = new(purgeBatch)
	}
	batch := p.pending
	for _, t := range ts {
		batch.bytes = appendTombstone(batch.bytes, t)
	}
	p.mu.Unlock()

	p.writing.Lock()
	defer p.writing.Unlock()
	if !batch.done {
		p.mu.Lock()
		p.pending = nil // no caller can add to it any more
		p.mu.Unlock()
		batch.done, batch.err = true, p.write(batch.bytes)
	}
	return batch.err
}

func (p *purgeLog) write(b []byte) error {
	if p.broken {
		entries, found, _, err := p.load()
		if err == nil && !found {
			err = os.ErrNotExist
		}
		if err == nil {
			err = p.rewriteLocked(entries)
		}
		if err != nil {
			return fmt.Errorf("repair the purge log: %w", err)
		}
	}
	for i := range p.files {
		if p.files[i] == nil {
			f, err := p.fs.OpenFile(p.path(i), os.O_RDWR, 0)
			if err != nil {
				return fmt.Errorf("open the purge log: %w", err)
			}
			p.files[i] = f
		}
		if _, err := p.files[i].WriteAt(b, p.size.Load()); err != nil {
			return fmt.Errorf("write the purge log: %w", err)
		}
		if err := p.files[i].Datasync(); err != nil {
			return fmt.Errorf("sync the purge log: %w", err)
		}
		st, err := p.files[i].Stat()
		if err != nil || st.unlinked {
			return fmt.Errorf("the purge log was removed: %w", errors.Join(err, os.ErrNotExist))
		}
	}
	p.size.Add(int64(len(b)))
	return nil
}

func (p *purgeLog) path(i int) string { return filepath.Join(p.dir, purgeFiles[i]) }

// load reads both files. found is false if neither can be read; the error is
// errUnknownFormat or a fault of the disk.
func (p *purgeLog) load() (entries []tombstone, found, intact bool, err error) {
	intact = true
	var have [2][]tombstone
	for i := range purgeFiles {
		e, whole, err := p.read(i)
		switch {
		case errors.Is(err, os.ErrNotExist), errors.Is(err, errDamaged):
			intact = false
			continue
		case err != nil:
			return nil, false, false, fmt.Errorf("purge log: %w", err)
		}
		have[i] = e
		found = true
		intact = intact && whole
	}
	entries = have[0]
	if !slices.Equal(have[0], have[1]) {
		intact = false
		seen := make(map[tombstone]bool, len(entries))
		for _, e := range entries {
			seen[e] = true
		}
		for _, e := range have[1] {
			if !seen[e] {
				entries = append(entries, e)
			}
		}
	}
	if found {
		p.size.Store(purgeHeaderBytes + int64(len(entries))*purgeEntryBytes)
		p.floor.Store(p.size.Load())
	}
	return entries, found, intact, nil
}

// read reads one of the files, as parsePurges.
func (p *purgeLog) read(i int) (entries []tombstone, whole bool, err error) {
	f, err := p.fs.OpenFile(p.path(i), os.O_RDONLY, 0)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	return parsePurges(io.NewSectionReader(f, 0, math.MaxInt64))
}

// rewrite replaces the files by new ones with these entries, one after the other, so that one
// of them is always complete.
func (p *purgeLog) rewrite(entries []tombstone) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.rewriteLocked(entries)
}

func (p *purgeLog) rewriteLocked(entries []tombstone) error {
	b := purgeHeader()
	for _, t := range entries {
		b = appendTombstone(b, t)
	}
	for i := range purgeFiles {
		if err := p.replaceLocked(i, b); err != nil {
			p.broken = true
			return fmt.Errorf("rewrite the purge log: %w", err)
		}
	}
	p.broken = false
	p.size.Store(int64(len(b)))
	p.floor.Store(int64(len(b)))
	return nil
}

func (p *purgeLog) replaceLocked(i int, b []byte) error {
	err := replaceFile(p.fs, p.path(i), b)
	p.closeFileLocked(i) // the old one
	return err
}

// compact removes tombstones up to position oldest: all records before it are gone.
func (p *purgeLog) compact(oldest uint64) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	entries, found, _, err := p.load()
	switch {
	case errors.Is(err, errUnknownFormat), err == nil && !found:
		return nil // the next start decides what becomes of the segments
	case err != nil:
		return err
	}
	kept := entries[:0]
	for _, t := range entries {
		if t.position > oldest {
			kept = append(kept, t)
		}
	}
	return p.rewriteLocked(kept)
}

// charge returns how many bytes of the budget the log takes: two files, and a third one
// during a rewrite.
func (p *purgeLog) charge() int64 { return 3 * roundUp(p.size.Load(), blockBytes) }

// grown reports whether the log should be compacted.
func (p *purgeLog) grown() bool { return p.size.Load() > 2*p.floor.Load()+1024*purgeEntryBytes }

func (p *purgeLog) close() {
	p.writing.Lock()
	defer p.writing.Unlock()
	for i := range p.files {
		p.closeFileLocked(i)
	}
}

func (p *purgeLog) closeFileLocked(i int) {
	if p.files[i] != nil {
		p.files[i].Close() // everything in it was synced
		p.files[i] = nil
	}
}
