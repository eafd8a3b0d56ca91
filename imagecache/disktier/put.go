package disktier

import (
	"context"

	"github.com/novasocial/imagetier/imagecache"
)

// item is an image that is queued or being moved, encoded as a frame.
type item struct {
	key   imagecache.Key // not set if an eviction moves it
	frame frame
	bytes []byte // the whole frame; the writer fills in its header
	body  int64  // bytes of the image alone

	// from is the location that an eviction moves it from; 0 if it was Put.
	from location

	dead bool // guarded by Tier.mu: purged or replaced
}

// Put queues img to be written, and returns at once. It skips an image that is larger than a
// quarter of the budget, or that does not fit into the queue (Config.QueueBytes), or while
// the disk cannot be written; an older image under key is then removed. The error is always
// nil.
func (t *Tier) Put(_ context.Context, key imagecache.Key, img imagecache.Image) error {
	t.mu.Lock()
	if why, ok := t.admitLocked(int64(len(img.Body))); !ok {
		t.skipLocked(key, why)
		t.mu.Unlock()
		return nil
	}
	t.mu.Unlock()

	it := newItem(key, img)
	t.mu.Lock()
	defer t.mu.Unlock()
	if why, ok := t.admitLocked(int64(len(it.bytes))); !ok {
		t.skipLocked(key, why)
		return nil
	}
	if old := t.pending[key]; old != nil {
		old.dead = true
	}
	t.pending[key] = it
	t.queue = append(t.queue, it)
	t.queued += int64(len(it.bytes))
	t.enqueued++
	notify(t.wake)
	return nil
}

func newItem(key imagecache.Key, img imagecache.Image) *item {
	// The header of a record is shorter than this, or append makes room.
	guess := frameBytes + 160 + len(key.String()) + len(img.ETag) + len(img.Origin.ETag) + len(img.Body) + unit
	b := make([]byte, frameBytes, guess)
	b = imagecache.AppendRecord(b, key, img)
	f := frame{name: nameOf(key), size: int64(len(b) - frameBytes), sum: checksum(b[frameBytes:])}
	for int64(len(b)) < f.bytes() {
		b = append(b, 0)
	}
	return &item{key: key, frame: f, bytes: b, body: int64(len(img.Body))}
}

// maxFrame returns the maximum length of a frame.
func (t *Tier) maxFrame() int64 { return min(t.cfg.MaxBytes/4, maxRecordBytes) }

func (t *Tier) admitLocked(bytes int64) (Skip, bool) {
	switch {
	case t.closing || t.health.off() || t.health.writesOff.Load():
		return SkipOff, false
	case bytes > t.maxFrame():
		return SkipTooLarge, false
	case t.queued > 0 && t.queued+bytes > t.cfg.QueueBytes:
		return SkipQueueFull, false
	}
	return 0, true
}

// skipLocked counts an image that is not stored, and removes an older one under its key.
func (t *Tier) skipLocked(key imagecache.Key, why Skip) {
	t.count.skipped[why].Add(1)
	if it := t.pending[key]; it != nil {
		it.dead = true
		delete(t.pending, key)
	}
	n := nameOf(key)
	t.index.removeKey(n)
	if t.gone != nil {
		t.gone.add(tombstone{hash: n.key, position: t.positionLocked()})
	}
}

// positionLocked returns the position of the next record.
func (t *Tier) positionLocked() uint64 {
	if t.active != nil {
		return position(t.active.seq, t.active.end)
	}
	return position(t.nextSeq, 0)
}

// settleLocked ends the accounting of a queued item that is written, skipped or dead.
func (t *Tier) settleLocked(it *item) {
	if it.from != 0 {
		return // never queued
	}
	if t.pending[it.key] == it {
		delete(t.pending, it.key)
	}
	t.queued -= int64(len(it.bytes))
	t.settled++
	close(t.progress)
	t.progress = make(chan struct{})
}

// takeNext returns the first queued item that is not dead, or nil.
func (t *Tier) takeNext() *item {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 {
		it := t.queue[0]
		t.queue[0] = nil
		t.queue = t.queue[1:]
		if !it.dead {
			return it
		}
		t.settleLocked(it)
	}
	return nil
}
