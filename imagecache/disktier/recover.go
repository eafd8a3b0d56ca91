package disktier

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"
)

// Recovery: the segments that attach has listed are read, and their records enter the index, while
// the tier already serves.

// recovery returns a function that recovers the segments that are attached now, newest first, so
// that no record replaces a newer one in the index.
func (t *Tier) recovery(ctx context.Context) func() {
	t.mu.Lock()
	gone, segments := t.gone, slices.Clone(t.segments)
	t.mu.Unlock()
	return func() {
		if gone == nil {
			return // there is no directory yet
		}
		slices.Reverse(segments)
		for _, s := range segments {
			if ctx.Err() != nil {
				return
			}
			if !s.loaded && !s.dropped.Load() {
				t.recoverSegment(ctx, s, gone)
			}
		}
		t.mu.Lock()
		if t.gone == gone {
			t.gone = nil
		}
		t.mu.Unlock()
		t.log.Info("disk tier recovered", "entries", t.index.entries.Load(), "segments", len(segments))
	}
}

// giveUpAfter is how long the reads of a segment may fail before it is removed. Older segments wait
// for it: their records may have been replaced in it.
const giveUpAfter = 5 * time.Minute

// recoverSegment adds a segment to the index. It retries failed reads until giveUpAfter, so that a
// disk that comes back has lost nothing, and waits for free file descriptors.
func (t *Tier) recoverSegment(ctx context.Context, s *segment, gone *tombstones) {
	began := time.Now()
	for first := true; ; first = false {
		c, err := t.contentsOf(s)
		switch {
		case err == nil:
			t.publish(s, c, gone)
			return
		case s.dropped.Load():
			return
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, errDamaged) && s.end <= headerBytes:
			t.reportLost(s) // it was removed, or emptied, or a crash came before its first record
			return
		case errors.Is(err, errUnknownFormat), errors.Is(err, errDamaged):
			t.log.Warn("disk tier moved a segment aside", "segment", s.path, "err", err)
			t.setAside(s, errors.Is(err, errDamaged))
			return
		}
		t.count.errors[opRead].Add(1)
		t.health.setFault(fmt.Errorf("recover segment %d: %w", s.seq, err))
		if first {
			t.log.Warn("disk tier cannot read a segment, will be retried", "segment", s.path, "err", err)
		}
		noFiles := errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
		if !noFiles && time.Since(began) >= giveUpAfter {
			t.log.Error("disk tier removes a segment that cannot be read", "segment", s.path, "err", err)
			t.reportLost(s)
			return
		}
		wait := time.NewTimer(checkEvery)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return
		}
	}
}

func (t *Tier) contentsOf(s *segment) (contents, error) {
	h, err := t.files.acquire(s)
	if err != nil {
		return contents{}, err
	}
	defer h.release()
	st, err := h.file.Stat()
	if err != nil {
		return contents{}, err
	}
	return readContents(h.file, s.seq, st.size)
}

// setAside stops using a segment and keeps its file while there is room. The records of a
// damaged one are lost.
func (t *Tier) setAside(s *segment, damaged bool) {
	t.mu.Lock()
	if s.dropped.Swap(true) {
		t.mu.Unlock()
		return
	}
	t.segments = slices.DeleteFunc(t.segments, func(other *segment) bool { return other == s })
	records := s.records
	t.countsStale = true
	t.mu.Unlock()
	if damaged {
		t.countLost(s, records)
	}
	t.files.forget(s)
	path := t.setAsideFile(s.path)
	t.mu.Lock()
	t.table[s.id].Store(nil)
	t.aside = append(t.aside, asideFile{path, s.charge})
	t.dirDirty = true
	t.mu.Unlock()
}

// publish adds the records of a segment to the index, and writes its footer if it had none.
func (t *Tier) publish(s *segment, c contents, gone *tombstones) {
	t.mu.Lock()
	before := s.records
	s.records = len(c.slots)
	t.countsStale = t.countsStale || s.records != before
	t.mu.Unlock()
	if !c.sealed {
		t.countLost(s, c.damaged(before))
	}
	known := t.shadow(s, c.torn, gone)
	switch {
	case c.sealed || !known: // the next start finds the torn records again
	case len(c.slots) == 0:
		t.reportLost(s)
		return
	default:
		t.reseal(s, c)
	}
	// In pieces, because readers of the queue wait for mu.
	const piece = 1024
	for rest := c.slots; len(rest) > 0; {
		from := max(0, len(rest)-piece)
		t.mu.Lock()
		if s.dropped.Load() || t.gone != gone {
			t.mu.Unlock()
			return
		}
		if !s.loaded { // a Get of an earlier piece may be reading the marker
			s.marker, s.end, s.loaded = c.marker, c.end, true
		}
		for _, slot := range slices.Backward(rest[from:]) {
			if !gone.covers(slot.name, position(s.seq, slot.offset)) {
				t.index.add(slot.name, locationOf(s.id, slot.offset, slot.bytes))
			}
		}
		t.mu.Unlock()
		rest = rest[:from]
	}
}

// shadow hides records that are older than a torn record of the same key, and reports whether it
// has written that down: without the torn records later starts could not know it.
func (t *Tier) shadow(s *segment, torn []footSlot, gone *tombstones) bool {
	var stones []tombstone
	for _, slot := range torn {
		stones = append(stones, tombstone{hash: slot.key, position: position(s.seq, slot.offset)})
	}
	t.mu.Lock()
	for _, stone := range stones {
		gone.add(stone)
	}
	t.mu.Unlock()
	if len(stones) == 0 {
		return true
	}
	if err := t.purge.append(stones...); err != nil {
		t.writeFault(opPurge, err)
		return false
	}
	return true
}

// reseal truncates a damaged end of a segment and writes the footer that is missing after a
// crash. If that fails, the next start scans the segment again.
func (t *Tier) reseal(s *segment, c contents) {
	f, err := t.fs.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	footer := appendFooter(nil, c.marker, c.slots, c.end)
	_, err = f.WriteAt(appendHeader(nil, c.marker, s.seq), 0)
	if err == nil {
		err = f.Truncate(c.end)
	}
	if err == nil {
		_, err = f.WriteAt(footer, c.end)
	}
	if err != nil {
		t.count.errors[opWrite].Add(1)
		return
	}
	charge := chargeOf(c.end + int64(len(footer)))
	if st, err := f.Stat(); err == nil {
		charge = max(charge, st.allocated)
	}
	t.mu.Lock()
	if !s.dropped.Load() {
		t.total += charge - s.charge
		s.charge = charge
		t.markDirtyLocked(s)
	}
	t.mu.Unlock()
	notify(t.wake) // it may be over the budget now
}
