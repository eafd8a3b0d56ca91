package disktier

import (
	"slices"
)

// Only the writer goroutine runs the code of this file.

// reserve returns the part of the budget that is free for records that an eviction moves.
func (t *Tier) reserve() int64 { return t.cfg.SegmentBytes/4 + slackBytes }

// makeRoom evicts until length more bytes fit into the active segment, or into a new one if
// there is no active segment.
func (t *Tier) makeRoom(length int64) error {
	if t.evicting {
		return nil // uses the reserve
	}
	for {
		t.mu.Lock()
		need := t.usedLocked() + t.reserve()
		switch s := t.active; {
		case length == 0:
		case s != nil:
			need += chargeOf(s.end+length+footerBytes(len(s.slots)+1)) - s.charge
		default:
			need += chargeOf(headerBytes + length + footerBytes(1))
		}
		fits := need <= t.limit
		t.mu.Unlock()
		if fits {
			return nil
		}
		if t.evict(EvictedForBudget) {
			continue
		}
		if t.active == nil || len(t.active.slots) == 0 {
			return errNoRoom
		}
		t.seal() // the last one there is: it goes next
	}
}

// evict drops the oldest segment and reports whether there was one. If the reason is the
// budget, it first appends again the images that were read since they were written, up to a
// quarter of a segment.
func (t *Tier) evict(why Eviction) bool {
	if t.evictAside() {
		return true
	}
	t.mu.Lock()
	var s *segment
	if len(t.segments) > 0 && t.segments[0] != t.active {
		s = t.segments[0]
	}
	t.mu.Unlock()
	if s == nil {
		return false
	}
	if why == EvictedForBudget && !t.evicting {
		t.evicting = true
		t.keepHit(s)
		t.evicting = false
	}
	return t.drop(s, why)
}

// evictAside removes a file of an unknown format: these go before any segment.
func (t *Tier) evictAside() bool {
	t.mu.Lock()
	if len(t.aside) == 0 {
		t.mu.Unlock()
		return false
	}
	f := t.aside[0]
	t.mu.Unlock()
	if !t.remove(f.path) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.aside = t.aside[1:]
	t.total -= f.bytes
	return true
}

// keepHit appends again the records of s that were read since they were written.
func (t *Tier) keepHit(s *segment) {
	slots, ok := t.slotsOf(s)
	if !ok {
		return
	}
	h, err := t.files.acquire(s)
	if err != nil {
		return
	}
	defer h.release()
	room := t.cfg.SegmentBytes / 4
	for _, slot := range slots {
		at, ok := t.index.at(slot.name)
		if !ok || !at.same(locationOf(s.id, slot.offset, slot.bytes)) || at&hitBit == 0 || slot.bytes > room {
			continue
		}
		b := make([]byte, slot.bytes)
		if _, err := h.file.ReadAt(b, slot.offset); err != nil {
			continue // dropped with the segment
		}
		f, err := verify(b, s.marker)
		if err != nil {
			t.damaged(s, slot.name, at)
			continue
		}
		room -= slot.bytes
		t.count.kept.Add(1)
		t.store(&item{frame: f, bytes: b, from: at})
		if s.dropped.Load() {
			return // the disk was full, so s has been dropped
		}
	}
}

// slotsOf returns the slots of s.
func (t *Tier) slotsOf(s *segment) ([]footSlot, bool) {
	if s.slots != nil {
		return s.slots, true
	}
	h, err := t.files.acquire(s)
	if err != nil {
		return nil, false
	}
	defer h.release()
	st, err := h.file.Stat()
	if err != nil {
		return nil, false
	}
	slots, _, err := readFooter(h.file, st.size)
	return slots, err == nil
}

// drop removes a segment and its records, and reports whether it freed space. The file is
// removed last, because readers may still open it.
func (t *Tier) drop(s *segment, why Eviction) bool {
	slots, known := t.slotsOf(s)
	t.mu.Lock()
	if s.dropped.Swap(true) {
		t.mu.Unlock()
		return true
	}
	t.segments = slices.DeleteFunc(t.segments, func(other *segment) bool { return other == s })
	loaded, records := s.loaded, s.records
	t.mu.Unlock()

	gone := 0
	switch {
	case !loaded:
	case known:
		for _, slot := range slots {
			if t.index.remove(slot.name, locationOf(s.id, slot.offset, slot.bytes)) {
				gone++
			}
		}
	default:
		gone = t.index.removeSegment(s.id)
	}
	t.table[s.id].Store(nil)
	t.files.forget(s)
	t.count.evicted[why].Add(uint64(gone))
	if why == EvictedLost && !loaded {
		t.countLost(s, records)
	} else if why == EvictedLost {
		t.count.damaged.Add(uint64(gone))
	}
	if records > 0 {
		t.writeCounts() // first, or after a crash a removed file would count as lost
	}
	removed := t.remove(s.path)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dirDirty = true
	if !removed {
		t.aside = append(t.aside, asideFile{s.path, s.charge}) // its file still takes up space
		return false
	}
	t.total -= s.charge
	return true
}

// reportLost has the writer drop a segment whose file is gone or empty.
func (t *Tier) reportLost(s *segment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.dropped.Load() && !slices.Contains(t.lost, s) {
		t.lost = append(t.lost, s)
		notify(t.wake)
	}
}

func (t *Tier) dropLost() {
	t.mu.Lock()
	lost := t.lost
	t.lost = nil
	t.mu.Unlock()
	for _, s := range lost {
		if s == t.active {
			t.out.Close()
			t.out = nil
			t.mu.Lock()
			t.active = nil
			t.mu.Unlock()
		}
		t.drop(s, EvictedLost)
	}
}
