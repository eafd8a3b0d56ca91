package memtier

import (
	"sync"
	"sync/atomic"
)

// queueID is the queue that an image is in.
type queueID uint8

const (
	inSmall queueID = iota
	inMain
)

func (q queueID) other() queueID { return inMain - q }

// maxReads is the maximum of the counter of reads: two bits, as in the paper.
const maxReads = 3

// entry is the index entry of an image.
type entry struct {
	size  uint32
	at    queueID
	reads uint8 // reads since it entered that queue, up to maxReads
}

// index knows where each image is and how often it was read. An original's images are
// all in one shard.
type index struct {
	shards   [1024]shard
	hotBytes *atomic.Int64
}

type shard struct {
	mu      sync.Mutex
	byID    map[uint64]entry
	hot     map[uint64]*hotImage // some of byID
	bytes   int64
	changes uint32 // counts images that came and went
}

// look is the result of looking an image up in the index.
type look struct {
	at      queueID
	hot     *hotImage // nil: it is not hot
	often   bool      // it was read maxReads times before
	changes uint32    // of its shard
}

// shard returns that of the id's group.
func (x *index) shard(id uint64) *shard { return &x.shards[id>>40%uint64(len(x.shards))] }

// read looks id up, and counts a read.
func (x *index) read(id uint64) (look, bool) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byID[id]
	if !ok {
		return look{}, false
	}
	found := look{at: e.at, changes: s.changes, often: e.reads == maxReads}
	if found.often {
		if found.hot = s.hot[id]; found.hot != nil {
			found.hot.read = true
		}
		return found, true
	}
	e.reads++
	s.byID[id] = e
	return found, true
}

// at returns where id is.
func (x *index) at(id uint64) (queueID, bool) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byID[id]
	return e.at, ok
}

// add notes an image, unread.
func (x *index) add(id uint64, at queueID, size int) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID == nil {
		s.byID = make(map[uint64]entry)
	}
	s.bytes += int64(size) - int64(s.byID[id].size)
	s.changes++
	s.cool(id, x.hotBytes)
	s.byID[id] = entry{size: uint32(size), at: at}
}

// setReads sets the count of an image in the index.
func (x *index) setReads(id uint64, reads uint8) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.byID[id]; ok {
		e.reads = reads
		s.byID[id] = e
	}
}

// remove forgets an image that is in that queue, and returns how often it was read.
func (x *index) remove(id uint64, at queueID) (reads uint8, ok bool) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byID[id]
	if !ok || e.at != at {
		return 0, false
	}
	delete(s.byID, id)
	s.bytes -= int64(e.size)
	s.changes++
	s.cool(id, x.hotBytes)
	return e.reads, true
}

// group returns the ids whose first 24 bits are those.
func (x *index) group(group uint64) (ids []uint64) {
	s := x.shard(group << 40)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.byID {
		if id>>40 == group {
			ids = append(ids, id)
		}
	}
	return ids
}

// totals returns the number of images and their bytes.
func (x *index) totals() (entries, bytes int64) {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		entries += int64(len(s.byID))
		bytes += s.bytes
		s.mu.Unlock()
	}
	return entries, bytes
}
