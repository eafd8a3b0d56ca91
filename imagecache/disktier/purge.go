package disktier

import (
	"context"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/imagecache"
)

var errDetached = errors.New("disk tier is off")

// Purge removes one image or all variants of an original from the queue and the index, and
// writes a tombstone so that a restart does not find them. It returns once the tombstone is
// synced.
//
// An error means that the tombstone could not be written because the disk fails or is
// missing. The images are not served, also not once the disk is back, but they may be after a
// restart of the process: the purge has to be repeated.
//
// Removing all variants of an original scans a 256th of the index, and does a small read for
// each removed image.
func (t *Tier) Purge(_ context.Context, target imagecache.Target) (imagecache.Removed, error) {
	var removed imagecache.Removed
	stone := tombstone{hash: hashOf(target.Original), original: true}
	single := target.Key != imagecache.Key{}
	if single {
		stone = tombstone{hash: nameOf(target.Key).key}
	}

	// Position and index under one lock: a record that is given an offset later was either
	// Put after this purge began, or has left the index and is not moved.
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return removed, fmt.Errorf("purge: %w", ErrClosed)
	}
	stone.position = t.positionLocked()
	t.killLocked(target, single, &removed)
	slots := t.forgetLocked(target, single)
	if t.gone != nil {
		t.gone.add(stone)
	}
	t.unwritten.add(stone)
	t.mu.Unlock()

	var err error
	if t.attached() {
		err = t.purge.append(stone)
	} else {
		err = errDetached
	}
	for _, sl := range slots {
		t.countRemoved(target, single, sl.at, &removed)
	}
	if err != nil {
		t.writeFault(opPurge, err)
		return removed, fmt.Errorf("purge: %w", err)
	}
	t.mu.Lock()
	t.unwritten.written(stone)
	t.mu.Unlock()
	return removed, nil
}

// Count returns which images Purge would remove. It does a small read for each one on disk.
func (t *Tier) Count(_ context.Context, target imagecache.Target) (imagecache.Removed, error) {
	var held imagecache.Removed
	single := target.Key != imagecache.Key{}
	t.mu.Lock()
	if t.closing {
		t.mu.Unlock()
		return held, fmt.Errorf("count: %w", ErrClosed)
	}
	t.pendingLocked(target, single, func(key imagecache.Key, it *item) { held.Add(key, it.body) })
	var slots []slot
	if !single {
		slots = t.index.ofOriginal(hashOf(target.Original))
	} else if at, ok := t.index.at(nameOf(target.Key)); ok {
		slots = []slot{{at: at}}
	}
	t.mu.Unlock()
	for _, sl := range slots {
		t.countRemoved(target, single, sl.at, &held)
	}
	return held, nil
}

// forgetLocked removes the target from the index, and returns its slots.
func (t *Tier) forgetLocked(target imagecache.Target, single bool) []slot {
	if !single {
		return t.index.removeOriginal(hashOf(target.Original))
	}
	n := nameOf(target.Key)
	if at, ok := t.index.removeKey(n); ok {
		return []slot{{n.tag(), at}}
	}
	return nil
}

// killLocked marks queued items of the target as dead, and counts them as removed.
func (t *Tier) killLocked(target imagecache.Target, single bool, removed *imagecache.Removed) {
	t.pendingLocked(target, single, func(key imagecache.Key, it *item) {
		it.dead = true
		delete(t.pending, key)
		removed.Add(key, it.body)
	})
}

// pendingLocked calls do for each queued item of the target, which do may delete.
func (t *Tier) pendingLocked(target imagecache.Target, single bool, do func(key imagecache.Key, it *item)) {
	if single {
		if it := t.pending[target.Key]; it != nil {
			do(target.Key, it)
		}
		return
	}
	for key, it := range t.pending {
		if key.Original() == target.Original {
			do(key, it)
		}
	}
}

// countRemoved reads the key and the size of an image from a record, which the index may have
// forgotten already. A record that cannot be read, or is of another key with the same
// hashes, is not counted.
func (t *Tier) countRemoved(target imagecache.Target, single bool, at location, removed *imagecache.Removed) {
	s := t.table[at.segment()].Load()
	if s == nil {
		return
	}
	h, err := t.files.acquire(s)
	if err != nil {
		return
	}
	defer h.release()
	b := make([]byte, min(at.bytes(), 4096)) // more than any header has
	if _, err := h.file.ReadAt(b, at.offset()); err != nil {
		return
	}
	if _, ok := parseFrame(b, s.marker); !ok {
		return
	}
	key, _, size, err := imagecache.ParseRecordHeader(b[frameBytes:])
	if err != nil || single && key != target.Key || !single && key.Original() != target.Original {
		return
	}
	removed.Add(key, size.Body)
}
