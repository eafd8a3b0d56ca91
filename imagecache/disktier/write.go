package disktier

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Only the writer goroutine runs the code of this file.

var errNoRoom = errors.New("nothing left to evict")

// writeQueued writes the queued records, drops lost segments and keeps the budget.
func (t *Tier) writeQueued() {
	if t.health.leave.Swap(false) && t.attached() {
		t.detach() // checkDisk begins again
		t.log.Error("disk tier off, its files were removed")
	}
	t.dropLost()
	if t.attached() {
		_ = t.makeRoom(0) // the limit may have become smaller
	}
	for it := t.takeNext(); it != nil; it = t.takeNext() {
		t.store(it)
	}
	if t.purge.grown() && t.attached() {
		if err := t.purge.compact(t.oldestPosition()); err != nil {
			t.writeFault(opPurge, err)
		}
	}
}

// oldestPosition returns a position before that of every record that the next start may find, also
// in segments that could not be removed.
func (t *Tier) oldestPosition() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	oldest := t.positionLocked()
	if len(t.segments) > 0 {
		oldest = position(t.segments[0].seq, 0)
	}
	for _, f := range t.aside {
		if seq, ok := segmentNumber(filepath.Base(f.path)); ok {
			oldest = min(oldest, position(seq, 0))
		}
	}
	return oldest
}

// store writes one item, or skips it.
func (t *Tier) store(it *item) {
	const tries = 3 // if evicting two segments does not help, others are filling the disk
	for range tries {
		err := t.append(it)
		if err == nil {
			return
		}
		t.retire()
		if errors.Is(err, errNoRoom) {
			break
		}
		if !isFull(err) {
			t.writeFault(opWrite, err)
			break
		}
		if !t.giveWay(err) {
			break
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if it.from == 0 {
		t.skipItemLocked(it, SkipFault)
	}
}

func (t *Tier) skipItemLocked(it *item, why Skip) {
	if !it.dead {
		t.skipLocked(it.key, why)
	}
	t.settleLocked(it)
}

// append writes one item to the active segment and settles it.
//
// A purge may come between the steps:
//
//  1. append reserves an offset for the item.
//  2. Purge notes a position behind that offset, so that a restart does not find the item,
//     and marks the item as dead, or removes its slot.
//  3. append writes the item, sees that it is dead, and leaves it out of the index.
func (t *Tier) append(it *item) error {
	if !t.attached() || t.health.writesOff.Load() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if it.from == 0 {
			t.skipItemLocked(it, SkipOff)
		}
		return nil
	}
	length := int64(len(it.bytes))
	if err := t.prepare(length); err != nil {
		return err
	}
	s := t.active
	t.mu.Lock()
	if t.isDeadLocked(it) {
		t.settleLocked(it)
		t.mu.Unlock()
		return nil
	}
	offset := s.end
	s.end += length
	t.rechargeLocked(s, chargeOf(s.end+footerBytes(len(s.slots)+1)))
	t.mu.Unlock()

	it.frame.put(it.bytes, s.marker)
	if _, err := t.out.WriteAt(it.bytes, offset); err != nil {
		return fmt.Errorf("append to segment %d: %w", s.seq, err)
	}
	s.slots = append(s.slots, footSlot{it.frame.name, offset, length})

	t.mu.Lock()
	defer t.mu.Unlock()
	at := locationOf(s.id, offset, length)
	switch {
	case it.from != 0:
		t.index.move(it.frame.name, it.from, at)
	case !it.dead:
		t.index.put(it.frame.name, at)
	}
	t.markDirtyLocked(s)
	t.settleLocked(it)
	t.health.writeFaults.Store(0)
	return nil
}

// isDeadLocked reports whether the item was purged or replaced.
func (t *Tier) isDeadLocked(it *item) bool {
	if it.from == 0 {
		return it.dead
	}
	at, ok := t.index.at(it.frame.name)
	return !ok || !at.same(it.from)
}

// prepare provides an active segment with room for length more bytes.
func (t *Tier) prepare(length int64) error {
	if s := t.active; s != nil && len(s.slots) > 0 && s.end+length > t.cfg.SegmentBytes {
		t.seal()
	}
	if err := t.makeRoom(length); err != nil {
		return err
	}
	if t.active != nil {
		return nil
	}
	return t.begin()
}

// begin creates a new active segment.
func (t *Tier) begin() error {
	s := &segment{end: headerBytes, loaded: true, slots: []footSlot{}}
	rand.Read(s.marker[:])
	t.mu.Lock()
	s.seq = t.nextSeq
	s.id = t.freeIDLocked()
	t.mu.Unlock()
	if s.id == 0 {
		if !t.evict(EvictedForBudget) {
			return errNoRoom
		}
		return t.begin()
	}
	s.path = t.segmentPath(s.seq)
	f, err := t.create(s)
	// nextSeq is increased only now: a purge before this takes the beginning of the new
	// segment as its position, so that it does not cover records of the new segment.
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextSeq++
	t.dirDirty = true
	if err != nil {
		return fmt.Errorf("begin segment %d: %w", s.seq, err)
	}
	t.out = f
	t.active = s
	t.segments = append(t.segments, s)
	t.table[s.id].Store(s)
	t.rechargeLocked(s, chargeOf(headerBytes))
	return nil
}

func (t *Tier) create(s *segment) (file, error) {
	f, err := t.fs.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, filePerm)
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteAt(appendHeader(nil, s.marker, s.seq), 0); err != nil {
		f.Close()
		t.remove(s.path)
		return nil, err
	}
	return f, nil
}

func (t *Tier) rechargeLocked(s *segment, charge int64) {
	t.total += charge - s.charge
	s.charge = charge
}

// seal writes the footer of the active segment, and ends it.
func (t *Tier) seal() {
	s := t.active
	if s == nil {
		return
	}
	if len(s.slots) == 0 {
		t.retire()
		return
	}
	footer := appendFooter(nil, s.marker, s.slots, s.end)
	_, err := t.out.WriteAt(footer, s.end)
	if err != nil {
		t.count.errors[opWrite].Add(1) // the next start scans it; slots stay in memory
	}
	charge := chargeOf(s.end + int64(len(footer)))
	st, statErr := t.out.Stat()
	t.out.Close()
	t.out = nil
	t.mu.Lock()
	t.active = nil
	s.records, t.countsStale = len(s.slots), true
	if err == nil {
		s.slots = nil
	}
	if statErr == nil {
		charge = max(charge, st.allocated)
	}
	t.rechargeLocked(s, charge)
	t.markDirtyLocked(s)
	if statErr == nil && st.unlinked {
		t.lost = append(t.lost, s)
	}
	t.mu.Unlock()
	notify(t.syncNow)
}

// retire ends the active segment after a failed write, so that no position is used twice. The
// file is truncated behind its last complete record; an empty one is removed.
func (t *Tier) retire() {
	s := t.active
	if s == nil {
		return
	}
	end := int64(headerBytes)
	if n := len(s.slots); n > 0 {
		end = s.slots[n-1].offset + s.slots[n-1].bytes
	}
	err := t.out.Truncate(end)
	t.mu.Lock()
	s.end = end
	if err == nil {
		t.rechargeLocked(s, chargeOf(end+footerBytes(len(s.slots))))
	}
	t.mu.Unlock()
	if len(s.slots) > 0 {
		t.seal()
		return
	}
	t.out.Close()
	t.out = nil
	t.mu.Lock()
	t.active = nil
	t.mu.Unlock()
	t.drop(s, EvictedLost)
}

// giveWay evicts a segment because the disk is full, and reports whether it could.
func (t *Tier) giveWay(err error) bool {
	t.count.errors[opWrite].Add(1)
	t.health.setFault(err)
	t.health.lastFull = time.Now()
	if !t.health.full.Swap(true) {
		t.log.Warn("disk tier full, evicting the oldest segments", "bytes", t.used(), "err", err)
	}
	t.mu.Lock()
	t.limit = min(t.limit, t.total)
	t.mu.Unlock()
	return t.evict(EvictedForSpace)
}

// used returns how many bytes of the budget are used.
func (t *Tier) used() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.usedLocked()
}

func (t *Tier) usedLocked() int64 { return t.total + t.purge.charge() + t.counts.charge() }
