package sharedstore

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/circuit"
)

// drainTime bounds how long Run continues to write after its context is done.
const drainTime = 3 * time.Second

// Run writes queued images until ctx is done, and then the rest of the queue for at most
// drainTime; writes that have not ended by then are canceled. A node that needs an image that
// was not written makes it again. Run returns nil.
func (t *Tier) Run(ctx context.Context) error {
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var writers sync.WaitGroup
	for range t.cfg.Writers {
		writers.Go(func() { t.writeQueued(ctx, writing) })
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			defer time.AfterFunc(drainTime, cancel).Stop()
			writers.Wait()
			if left := t.Stats().QueuedObjects; left > 0 {
				t.cfg.Log.Warn("shared store not fully written at shutdown", "objects", left)
			}
			return nil
		case <-tick.C:
			t.repay(ctx)
		}
	}
}

// writeQueued writes until ctx is done and the queue is empty, or until writing is done.
func (t *Tier) writeQueued(ctx, writing context.Context) {
	for writing.Err() == nil {
		it := t.take()
		switch {
		case it != nil:
			t.write(writing, it)
		case ctx.Err() != nil:
			return
		default:
			select {
			case <-t.wake:
			case <-ctx.Done():
			}
		}
	}
}

// take returns the next item to write, or nil, and wakes another writer if there are more.
func (t *Tier) take() *item {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.queue) > 0 {
		it := t.queue[0]
		t.queue[0] = nil
		if t.queue = t.queue[1:]; len(t.queue) == 0 {
			t.queue = nil
		}
		if it.dead {
			continue
		}
		it.taken = true
		if len(t.queue) > 0 {
			t.wakeLocked()
		}
		return it
	}
	return nil
}

func (t *Tier) write(ctx context.Context, it *item) {
	if it.after != nil { // the newest must be written last
		<-it.after.ended
		it.after = nil
	}
	t.mu.Lock()
	dead := it.dead
	t.mu.Unlock()
	var err error
	if dead {
		// Purged while it waited.
	} else if t.cfg.Fleet != nil && !t.cfg.Fleet.Current() {
		t.count.dropped.Add(1)
	} else if done, errOpen := t.breaker.Allow(); errOpen == nil {
		limited, cancel := context.WithTimeout(ctx, t.cfg.WriteTimeout)
		err = t.cfg.Store.Put(limited, keyOf(it.key), it.object)
		cancel()
		if err != nil {
			done(circuit.Failure)
			t.count.dropped.Add(1)
			t.cfg.Log.Warn("shared store write failed", "key", it.key.String(), "err", err)
		} else {
			done(circuit.Success)
			t.count.written.Add(1)
		}
	} else {
		t.count.dropped.Add(1)
	}
	t.mu.Lock()
	t.leaveLocked(it)
	t.forgetLocked(it)
	if err != nil && len(t.unsure) < maxOwed {
		t.unsure[it.key.Original()] = t.cfg.Now().Add(t.cfg.WriteTimeout)
	}
	t.mu.Unlock()
	close(it.ended)
}

// Purge removes the target's images from the queue, waits for running writes of them, and
// deletes them from the store. In a fleet (Config.Fleet) it deletes nothing and does not wait:
// Trust says which objects are too old, and only queued images are counted.
//
// After an error the original's objects are not read until they have been deleted, which is
// retried. A restart forgets that, so the purge has to be repeated.
func (t *Tier) Purge(ctx context.Context, target imagecache.Target) (imagecache.Removed, error) {
	var removed imagecache.Removed
	single := target.Key != imagecache.Key{}
	if single {
		target.Original = target.Key.Original()
	}
	t.mu.Lock()
	var running []*item
	for it := range t.groups[target.Original] {
		if single && it.key != target.Key {
			continue
		}
		if !it.dead && !it.taken {
			removed.Add(it.key, int64(len(it.object)-headBytes))
			t.count.purged.Add(1)
		}
		it.dead = true
		t.leaveLocked(it)
		if it.taken {
			running = append(running, it)
		}
	}
	t.mu.Unlock()
	if t.cfg.Fleet != nil {
		return removed, nil
	}
	for _, it := range running {
		select {
		case <-it.ended: // within WriteTimeout
		case <-ctx.Done():
			t.owe(target.Original)
			return removed, ctx.Err()
		}
	}
	prefix := prefixOf(target.Original)
	if single {
		prefix = keyOf(target.Key)
	}
	n, err := t.deleteAll(ctx, prefix)
	removed.Merge(n)
	t.mu.Lock()
	unsure := t.unsure[target.Original].After(t.cfg.Now())
	t.mu.Unlock()
	if err != nil || unsure { // the store may still be processing a failed write: delete again later
		t.owe(target.Original)
	}
	return removed, err
}

// Count returns which images are queued or in the store, in a fleet too. One listing of the
// original's objects is requested.
func (t *Tier) Count(ctx context.Context, target imagecache.Target) (held imagecache.Removed, err error) {
	prefix := prefixOf(target.Original)
	single := target.Key != imagecache.Key{}
	if single {
		target.Original, prefix = target.Key.Original(), keyOf(target.Key)
	}
	t.mu.Lock()
	for it := range t.groups[target.Original] {
		if !it.dead && (!single || it.key == target.Key) {
			held.Add(it.key, int64(len(it.object)-headBytes))
		}
	}
	t.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, t.cfg.WriteTimeout)
	defer cancel()
	objects, err := t.cfg.Store.List(limited, prefix)
	held.Merge(removedOf(objects))
	return held, err
}

// Delete removes all objects of an original. One node of a fleet calls it for all of them.
func (t *Tier) Delete(ctx context.Context, of imagecache.Original) error {
	_, err := t.deleteAll(ctx, prefixOf(of))
	return err
}

func (t *Tier) deleteAll(ctx context.Context, prefix string) (imagecache.Removed, error) {
	limited, cancel := context.WithTimeout(ctx, t.cfg.WriteTimeout)
	defer cancel()
	objects, err := t.cfg.Store.DeleteAll(limited, prefix)
	return removedOf(objects), err
}

func removedOf(objects []Object) (removed imagecache.Removed) {
	for _, o := range objects {
		removed.AddDigest(digestOf(o.Key), max(0, o.Size-headBytes))
	}
	return removed
}

// owe schedules the deletion of an original's objects. Until then they are not read.
func (t *Tier) owe(of imagecache.Original) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.owed) < maxOwed {
		t.owed[of] = t.cfg.Now().Add(t.cfg.WriteTimeout)
	}
}

// repay retries the deletions that are due.
func (t *Tier) repay(ctx context.Context) {
	now := t.cfg.Now()
	due := make(map[imagecache.Original]time.Time)
	t.mu.Lock()
	maps.DeleteFunc(t.unsure, func(_ imagecache.Original, until time.Time) bool { return !until.After(now) })
	for of, when := range t.owed {
		if _, unsure := t.unsure[of]; !unsure && !when.After(now) && len(due) < 100 {
			due[of] = when
		}
	}
	t.mu.Unlock()
	for of, when := range due {
		if _, err := t.deleteAll(ctx, prefixOf(of)); err != nil {
			t.owe(of)
			if ctx.Err() == nil {
				t.cfg.Log.Warn(
					"shared store delete failed, will be retried",
					"source", of.Source,
					"name", of.Name,
					"err", err,
				)
			}
			return
		}
		t.mu.Lock()
		if t.owed[of].Equal(when) { // else it was purged again during the deletion
			delete(t.owed, of)
		}
		t.mu.Unlock()
	}
}
