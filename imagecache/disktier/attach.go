package disktier

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	lockName      = "lock"
	probeName     = "probe"
	segmentSuffix = ".seg"
	tmpSuffix     = ".tmp"
	unknownInfix  = ".unknown-"
)

// listing is the content of a directory.
type listing struct {
	segments []uint64 // numbers, ascending
	aside    []string // names of files that were set aside
	tmp      []string // names of files that a crash left unfinished
	// counts are the records of sealed segments by number, also of those that are missing.
	counts map[uint64]int
}

func parseListing(names []string) listing {
	var l listing
	for _, n := range names {
		seq, isSegment := segmentNumber(n)
		switch {
		case isSegment:
			l.segments = append(l.segments, seq)
		case strings.Contains(n, unknownInfix):
			l.aside = append(l.aside, n)
		case strings.HasSuffix(n, tmpSuffix) || n == probeName:
			l.tmp = append(l.tmp, n)
		}
	}
	slices.Sort(l.segments)
	return l
}

// segmentNumber returns the number of the segment of this file name.
func segmentNumber(name string) (seq uint64, ok bool) {
	number, isSegment := strings.CutSuffix(name, segmentSuffix)
	seq, err := strconv.ParseUint(number, 16, 40)
	return seq, isSegment && len(number) == 16 && err == nil
}

// attach locks the directory, loads the purge log and lists the segments, which are recovered
// later. After an error the directory is not locked.
func (t *Tier) attach() (err error) {
	if err := t.fs.MkdirAll(t.cfg.Dir, dirPerm); err != nil {
		return err
	}
	if err := t.lockDir(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.lock.Close()
			t.purge.close()
		}
	}()
	names, err := t.fs.ReadDir(t.cfg.Dir)
	if err != nil {
		return err
	}
	found := parseListing(names)
	found.counts = t.loadCounts()
	for _, n := range found.tmp {
		t.remove(filepath.Join(t.cfg.Dir, n))
	}
	discard := t.overflowed()
	if discard {
		t.log.Error("disk tier missed too many purges, removing all segments",
			"limit", maxUnwritten, "segments", len(found.segments))
		if err := t.discard(&found); err != nil {
			return err
		}
	}
	if err := t.claim(&found); err != nil {
		return err
	}
	gone, err := t.attachPurges(&found)
	if err != nil {
		return err
	}

	if err := t.list(found, gone, discard); err != nil {
		return err
	}
	t.health.detached.Store(false)
	t.countMissing(found.counts)
	return nil
}

// list attaches the segments that were found.
func (t *Tier) list(found listing, gone *tombstones, discarded bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.unwritten.overflow && !discarded {
		return errors.New("too many purges wait for the disk")
	}
	t.unwritten.overflow = false
	for _, n := range found.aside {
		t.addAsideLocked(filepath.Join(t.cfg.Dir, n))
	}
	for _, seq := range found.segments {
		t.nextSeq = max(t.nextSeq, seq+1)
		s := &segment{seq: seq, path: t.segmentPath(seq), records: found.counts[seq]}
		delete(found.counts, seq)
		if s.id = t.freeIDLocked(); s.id == 0 {
			t.addAsideLocked(s.path) // far more files than this budget allows
			continue
		}
		s.end, s.charge = t.measure(s.path)
		t.total += s.charge
		t.segments = append(t.segments, s)
		t.table[s.id].Store(s)
	}
	t.unwritten.hand(gone, position(t.nextSeq, 0))
	t.gone, t.dirDirty = gone, true
	return nil
}

// lockDir locks the directory. An existing lock file can also be locked on a read-only file
// system, so that its images can be served.
func (t *Tier) lockDir() error {
	path := filepath.Join(t.cfg.Dir, lockName)
	f, err := t.fs.OpenFile(path, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		readable, other := t.fs.OpenFile(path, os.O_RDONLY, 0)
		if other != nil {
			return err
		}
		f = readable
	}
	if err := f.Lock(); err != nil {
		f.Close()
		return err
	}
	t.lock = f
	return nil
}

// attachPurges loads the purge log. Without a log all segments are removed; with one of an unknown
// format they are moved aside.
func (t *Tier) attachPurges(found *listing) (*tombstones, error) {
	entries, exists, intact, err := t.purge.load()
	switch {
	case errors.Is(err, errUnknownFormat):
		t.log.Warn("disk tier moved all segments aside", "err", err)
		for _, n := range purgeFiles {
			t.setAsideFile(filepath.Join(t.cfg.Dir, n))
		}
		for _, seq := range found.segments {
			found.aside = append(found.aside, filepath.Base(t.setAsideFile(t.segmentPath(seq))))
		}
		t.remove(t.countsPath())
		found.segments, found.counts, entries = nil, nil, nil
	case err != nil:
		return nil, err
	case !exists && len(found.segments) > 0:
		t.log.Error("disk tier has no purge log, removing all segments", "segments", len(found.segments))
		if err := t.discard(found); err != nil {
			return nil, err
		}
	case exists && !intact:
		t.log.Warn("disk tier uses one copy of the purge log, the other one is damaged")
	}
	gone := &tombstones{make(map[uint64]uint64), make(map[uint64]uint64)}
	kept := entries[:0:0]
	for _, e := range entries {
		// Positions are of numbers below nextSeq when they were written.
		t.beginAfter(e.position >> 24)
		if len(found.segments) > 0 && e.position > position(found.segments[0], 0) {
			kept = append(kept, e)
			gone.add(e)
		}
	}
	if !exists || !intact || len(kept) < len(entries) {
		// If this fails, an existing log is still valid; it is repaired before the next purge.
		if err := t.purge.rewrite(kept); err != nil && !exists {
			return nil, err
		}
	}
	return gone, nil
}

// discard removes all segments, because their purges are not known.
func (t *Tier) discard(found *listing) error {
	t.remove(t.countsPath()) // first: these are not lost
	for _, seq := range found.segments {
		if err := t.fs.Remove(t.segmentPath(seq)); err != nil {
			return fmt.Errorf("remove an untrusted segment: %w", err)
		}
		t.beginAfter(seq)
	}
	found.segments, found.counts = nil, nil
	return nil
}

// beginAfter gives later segments numbers above seq.
func (t *Tier) beginAfter(seq uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextSeq = max(t.nextSeq, seq+1)
}

// measure returns the size of a file and what it takes of the budget.
func (t *Tier) measure(path string) (size, charge int64) {
	f, err := t.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return 0, blockBytes // recovery reads it
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, blockBytes
	}
	return st.size, max(st.allocated, chargeOf(st.size))
}

// chargeOf estimates how much of the budget a file of that size takes: its blocks, and one
// for metadata.
func chargeOf(size int64) int64 { return roundUp(size, blockBytes) + blockBytes }

func (t *Tier) addAsideLocked(path string) {
	_, charge := t.measure(path)
	t.aside = append(t.aside, asideFile{path, charge})
	t.total += charge
}

// freeIDLocked returns an unused id, or 0.
func (t *Tier) freeIDLocked() uint16 {
	for range len(t.table) {
		t.nextID++
		if int(t.nextID) >= len(t.table) {
			t.nextID = 1
		}
		if t.nextID != 0 && t.table[t.nextID].Load() == nil {
			return t.nextID
		}
	}
	return 0
}

// setAsideFile renames a file of an unknown format, and returns its new path. If it
// cannot be renamed it stays where it is.
func (t *Tier) setAsideFile(path string) string {
	names, err := t.fs.ReadDir(t.cfg.Dir)
	for n := 1; err == nil; n++ {
		to := path + unknownInfix + strconv.Itoa(n)
		if slices.Contains(names, filepath.Base(to)) {
			continue
		}
		if err = t.fs.Rename(path, to); err == nil {
			return to
		}
	}
	t.count.errors[opRename].Add(1)
	t.log.Error("disk tier cannot move a file aside", "file", path, "err", err)
	return path
}

// remove removes a file and reports whether it is gone.
func (t *Tier) remove(path string) bool {
	err := t.fs.Remove(path)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	t.writeFault(opRemove, fmt.Errorf("remove %s: %w", filepath.Base(path), err))
	return false
}

// detach stops using the directory and forgets what it holds.
func (t *Tier) detach() {
	if t.health.detached.Swap(true) {
		return
	}
	t.mu.Lock()
	for _, s := range t.segments {
		s.dropped.Store(true)
	}
	t.active, t.segments, t.aside, t.dirty, t.lost, t.gone = nil, nil, nil, nil, nil, nil
	t.total, t.dirDirty, t.countsStale = 0, false, false
	t.mu.Unlock()
	t.index.clear()
	for i := range t.table {
		t.table[i].Store(nil)
	}
	if t.out != nil {
		t.out.Close() // everything that could be written was
		t.out = nil
	}
	t.files.closeAll()
	t.purge.close()
	t.lock.Close()
}
