package memtier

import (
	"sync"
	"sync/atomic"

	"github.com/novasocial/imagetier/imagecache"
)

// hot has copies of the most read images, decoded and ready to be returned: reading one neither
// copies nor allocates. A copy is dropped when its image in the queues is removed, replaced or
// moved, so purges need no extra step. Copies are evicted by the clock algorithm.
type hot struct {
	max   int64        // bytes of bodies
	bytes atomic.Int64 // of the current copies
	reads atomic.Uint32

	mu    sync.Mutex
	turns []turn // guarded by mu; may include images that are no longer hot
	last  uint64 // guarded by mu: the newest turn's number
}

// turn is an entry in the clock's order.
type turn struct{ id, number uint64 }

// hotImage is guarded by the lock of its shard, but for key and img, which never change.
type hotImage struct {
	key    imagecache.Key
	img    imagecache.Image
	number uint64 // of its turn
	read   bool   // since the clock last passed
}

// The copies may take 1/hotShare of the budget in addition to it, at most maxHotBytes bytes.
const (
	hotShare    = 32
	maxHotBytes = 64 << 20
)

// due reports whether an image that was read often should become hot now. Only one read in four
// makes an image hot, so that a working set larger than the hot set does not replace it with every
// read.
func (h *hot) due() bool { return h.reads.Add(1)%4 == 0 }

// heat makes the image hot, unless its shard has changed since it was looked up: the image
// may have been replaced.
func (t *Tier) heat(id uint64, changes uint32, key imagecache.Key, img imagecache.Image) {
	h := &t.hot
	if int64(len(img.Body)) > h.max/8 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	if !t.index.heat(id, changes, &hotImage{key: key, img: img, number: h.last}, &h.bytes) {
		return
	}
	h.turns = append(h.turns, turn{id, h.last})
	// Two steps per new image, so that turns of images that are no longer hot do not accumulate.
	for step := 0; len(h.turns) > 0 && (step < 2 || h.bytes.Load() > h.max); step++ {
		next := h.turns[0]
		h.turns = h.turns[1:]
		if t.index.stays(next, h.bytes.Load() > h.max, &h.bytes) {
			h.turns = append(h.turns, next)
		}
	}
}

// heat adds an image to the hot ones of its shard.
func (x *index) heat(id uint64, changes uint32, image *hotImage, bytes *atomic.Int64) bool {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; !ok || s.changes != changes || s.hot[id] != nil {
		return false
	}
	if s.hot == nil {
		s.hot = make(map[uint64]*hotImage)
	}
	s.hot[id] = image
	bytes.Add(int64(len(image.img.Body)))
	return true
}

// stays reports whether the image of that turn stays hot. If there is no room, it stays only if it
// was read since the clock last passed.
func (x *index) stays(t turn, full bool, bytes *atomic.Int64) bool {
	s := x.shard(t.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	image := s.hot[t.id]
	switch {
	case image == nil || image.number != t.number:
		return false
	case !full:
		return true
	case image.read:
		image.read = false
		return true
	}
	s.cool(t.id, bytes)
	return false
}

// cool drops the hot copy of an image. The shard is locked.
func (s *shard) cool(id uint64, bytes *atomic.Int64) {
	if image := s.hot[id]; image != nil {
		delete(s.hot, id)
		bytes.Add(-int64(len(image.img.Body)))
	}
}
