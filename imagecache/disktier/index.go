package disktier

import (
	"sync"
	"sync/atomic"
)

// index has the location of each key's record. It is a hash table with 16 bytes per slot, open
// addressing and linear probing, between 57 and 80 % full: 20 to 28 bytes per key.
//
// The hash of the original selects one of 256 shards, the hash of the key a slot in it. All
// variants of an original are therefore in one shard, and removing them scans only that one,
// comparing 32 further bits of the original's hash.
type index struct {
	shards  [256]shard
	entries atomic.Int64
}

type shard struct {
	mu    sync.RWMutex
	used  int
	slots []slot
}

// slot is empty if at is zero. Readers set the hit bit of at with only the read lock held, so
// they access it atomically.
type slot struct {
	tag uint64 // 32 bits of the key's hash, 32 of its original's
	at  location
}

// location is where a record is: 16 bits of a segment's id (never 0), 24 of the offset and
// 23 of the length, both in units, and whether it was read since it was written there.
type location uint64

const hitBit location = 1

func locationOf(id uint16, offset, bytes int64) location {
	return location(uint64(id)<<48 | uint64(offset/unit)<<24 | uint64(bytes/unit)<<1)
}

func (l location) segment() uint16          { return uint16(l >> 48) }
func (l location) offset() int64            { return int64(l>>24&(1<<24-1)) * unit }
func (l location) bytes() int64             { return int64(l>>1&(1<<23-1)) * unit }
func (l location) same(other location) bool { return l|hitBit == other|hitBit }

func (n name) tag() uint64 { return n.key>>32<<32 | n.original&0xffffffff }

func (x *index) shard(original uint64) *shard { return &x.shards[original>>56] }

// home returns where the search for a tag begins (Lemire, Fast random integer generation in
// an interval, 2019: a multiplication in place of a modulus).
func (s *shard) home(tag uint64) int { return int(tag >> 32 * uint64(len(s.slots)) >> 32) }

// find returns the tag's slot, or -1.
func (s *shard) find(tag uint64) int {
	if s.used == 0 {
		return -1
	}
	for i := s.home(tag); ; {
		at := location(atomic.LoadUint64((*uint64)(&s.slots[i].at)))
		if at == 0 {
			return -1
		}
		if s.slots[i].tag == tag {
			return i
		}
		if i++; i == len(s.slots) {
			i = 0
		}
	}
}

// hit returns the location of n and sets its hit bit.
func (x *index) hit(n name) (location, bool) {
	s := x.shard(n.original)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(n.tag())
	if i < 0 {
		return 0, false
	}
	at := location(atomic.LoadUint64((*uint64)(&s.slots[i].at)))
	if at&hitBit == 0 {
		atomic.OrUint64((*uint64)(&s.slots[i].at), uint64(hitBit))
	}
	return at, true
}

// at returns the location of n.
func (x *index) at(n name) (location, bool) {
	s := x.shard(n.original)
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := s.find(n.tag())
	if i < 0 {
		return 0, false
	}
	return location(atomic.LoadUint64((*uint64)(&s.slots[i].at))), true
}

// put sets the location of n.
func (x *index) put(n name, at location) {
	s := x.shard(n.original)
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(n.tag()); i >= 0 {
		s.slots[i].at = at
		return
	}
	s.insertLocked(slot{n.tag(), at})
	x.entries.Add(1)
}

// add sets the location of n if n is not in the index, and reports whether it did.
func (x *index) add(n name, at location) bool {
	s := x.shard(n.original)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(n.tag()) >= 0 {
		return false
	}
	s.insertLocked(slot{n.tag(), at})
	x.entries.Add(1)
	return true
}

// move changes the location of n if it still is from, and reports whether it was.
func (x *index) move(n name, from, to location) bool {
	s := x.shard(n.original)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(n.tag())
	if i < 0 || !s.slots[i].at.same(from) {
		return false
	}
	s.slots[i].at = to
	return true
}

// remove forgets n if it still is at that location, and reports whether it was.
func (x *index) remove(n name, at location) bool {
	s := x.shard(n.original)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(n.tag())
	if i < 0 || !s.slots[i].at.same(at) {
		return false
	}
	s.deleteLocked(i)
	x.entries.Add(-1)
	return true
}

// removeKey removes n and returns its location.
func (x *index) removeKey(n name) (location, bool) {
	s := x.shard(n.original)
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(n.tag())
	if i < 0 {
		return 0, false
	}
	at := s.slots[i].at
	s.deleteLocked(i)
	x.entries.Add(-1)
	return at, true
}

// removeOriginal removes all variants of an original, and returns their slots.
func (x *index) removeOriginal(original uint64) []slot {
	s := x.shard(original)
	s.mu.Lock()
	defer s.mu.Unlock()
	return x.removeLocked(s, func(sl slot) bool { return uint32(sl.tag) == uint32(original) })
}

// ofOriginal returns the slots of all variants of an original.
func (x *index) ofOriginal(original uint64) (found []slot) {
	s := x.shard(original)
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.slots {
		at := location(atomic.LoadUint64((*uint64)(&s.slots[i].at)))
		if at != 0 && uint32(s.slots[i].tag) == uint32(original) {
			found = append(found, slot{s.slots[i].tag, at})
		}
	}
	return found
}

// removeSegment forgets all records of a segment, and returns their number. It looks at
// every slot, for segments without a readable footer.
func (x *index) removeSegment(id uint16) int {
	removed := 0
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		removed += len(x.removeLocked(s, func(sl slot) bool { return sl.at.segment() == id }))
		s.mu.Unlock()
	}
	return removed
}

func (x *index) removeLocked(s *shard, gone func(slot) bool) []slot {
	var removed []slot
	for _, sl := range s.slots {
		if sl.at != 0 && gone(sl) {
			removed = append(removed, sl)
		}
	}
	for _, sl := range removed {
		s.deleteLocked(s.find(sl.tag))
	}
	x.entries.Add(-int64(len(removed)))
	return removed
}

// clear forgets everything.
func (x *index) clear() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		x.entries.Add(-int64(s.used))
		s.used, s.slots = 0, nil
		s.mu.Unlock()
	}
}

// bytes returns the memory of the slots.
func (x *index) bytes() int64 {
	var n int64
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.RLock()
		n += int64(cap(s.slots)) * 16
		s.mu.RUnlock()
	}
	return n
}

func (s *shard) insertLocked(sl slot) {
	if s.used*10 >= len(s.slots)*8 {
		old := s.slots
		s.slots = make([]slot, len(old)*7/5+8)
		for _, o := range old {
			if o.at != 0 {
				s.placeLocked(o)
			}
		}
	}
	s.placeLocked(sl)
	s.used++
}

func (s *shard) placeLocked(sl slot) {
	i := s.home(sl.tag)
	for s.slots[i].at != 0 {
		if i++; i == len(s.slots) {
			i = 0
		}
	}
	s.slots[i] = sl
}

// deleteLocked empties slot i and moves back later slots that a search would no longer reach
// (Knuth, TAOCP 6.4, algorithm R).
func (s *shard) deleteLocked(i int) {
	s.used--
	for j := i; ; {
		if j++; j == len(s.slots) {
			j = 0
		}
		if s.slots[j].at == 0 {
			break
		}
		// The slot at j may stay if its home lies cyclically in (i, j].
		home := s.home(s.slots[j].tag)
		if i < j && i < home && home <= j || i > j && (i < home || home <= j) {
			continue
		}
		s.slots[i] = s.slots[j]
		i = j
	}
	s.slots[i] = slot{}
}
