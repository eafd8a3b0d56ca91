package disktier

import (
	"context"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/imagecache"
)

var errDetached = errors.New("the directory is not in use")

// Purge removes one image or all of an original, from the queue, the index and, by a
// tombstone, from what a restart will find; with the tombstone synced it returns. An
// error says that the tombstone could not be written: what the target names is not found
// any more, but may be after a restart, and the purge has to be repeated.
//
// All of an original costs a scan of a 256th of the index, and a small read for each
// image that it removes.
func (t *Tier) Purge(_ context.Context, what imagecache.Target) (imagecache.Removed, error) {
	var removed imagecache.Removed
	stone := tombstone{hash: hashOf(what.Original), original: true}
	single := what.Key != imagecache.Key{}
	if single {
		stone = tombstone{hash: nameOf(what.Key).key}
	}

	// Position and index under one lock: what is given a place later was either Put after
	// this purge began, or is not found in the index any more and is not moved.
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return removed, fmt.Errorf("purge: %w", ErrClosed)
	}
	stone.position = t.positionLocked()
	queued := t.killLocked(what, single, &removed)
	slots := t.forgetLocked(what, single)
	if t.gone != nil {
		t.gone.add(stone)
	}
	t.mu.Unlock()

	var err error
	if t.attached() {
		err = t.purge.append(stone)
	} else {
		err = errDetached
	}
	for _, sl := range slots {
		if body, ok := t.sizeOf(what, single, sl.at); ok && !queued[sl.tag] {
			removed.Images++
			removed.Bytes += body
		}
	}
	if err != nil {
		t.writeFault(opPurge, err)
		return removed, fmt.Errorf("purge: %w", err)
	}
	return removed, nil
}

// forgetLocked takes the target out of the index, and returns what was there.
func (t *Tier) forgetLocked(what imagecache.Target, single bool) []slot {
	if !single {
		return t.index.removeOriginal(hashOf(what.Original))
	}
	n := nameOf(what.Key)
	if at, ok := t.index.removeKey(n); ok {
		return []slot{{n.tag(), at}}
	}
	return nil
}

// killLocked makes dead what is queued of the target, and returns its tags.
func (t *Tier) killLocked(what imagecache.Target, single bool, removed *imagecache.Removed) map[uint64]bool {
	tags := make(map[uint64]bool)
	kill := func(key imagecache.Key, it *item) {
		it.dead = true
		delete(t.pending, key)
		tags[it.frame.tag()] = true
		removed.Images++
		removed.Bytes += it.body
	}
	if single {
		if it := t.pending[what.Key]; it != nil {
			kill(what.Key, it)
		}
		return tags
	}
	for key, it := range t.pending {
		if key.Original() == what.Original {
			kill(key, it)
		}
	}
	return tags
}

// sizeOf reads from a record that is already forgotten how large its image is. It is not
// ok if the record does not read, or is of another key with the same hashes.
func (t *Tier) sizeOf(what imagecache.Target, single bool, at place) (body int64, ok bool) {
	s := t.table[at.segment()].Load()
	if s == nil {
		return 0, false
	}
	h, err := t.files.acquire(s)
	if err != nil {
		return 0, false
	}
	defer h.release()
	b := make([]byte, min(at.bytes(), 4096)) // more than any header has
	if _, err := h.file.ReadAt(b, at.offset()); err != nil {
		return 0, false
	}
	if _, ok := parseFrame(b, s.marker); !ok {
		return 0, false
	}
	key, _, size, err := imagecache.ParseRecordHeader(b[frameBytes:])
	if err != nil || single && key != what.Key || !single && key.Original() != what.Original {
		return 0, false
	}
	return size.Body, true
}
