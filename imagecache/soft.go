package imagecache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// maxSoft bounds what is remembered of soft purges; beyond it a purge is a plain one,
// which is right too, and slower for whoever asks next.
const maxSoft = 10_000

// softs are the targets of soft purges: what the fastest tier holds of them is stale, but
// for what was made since. The zero value is ready.
type softs struct {
	any   atomic.Bool // there are some: a hit asks no more
	mu    sync.Mutex
	ofAll map[Original]*soft
	ofOne map[Key]time.Time
}

type soft struct {
	since   time.Time
	renewed map[Key]struct{}
}

// add makes what the target names stale from now on, and reports whether there was room.
func (s *softs) add(what Target, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ofAll)+len(s.ofOne) >= maxSoft {
		return false
	}
	if s.ofAll == nil {
		s.ofAll, s.ofOne = make(map[Original]*soft), make(map[Key]time.Time)
	}
	if what.Key != (Key{}) {
		s.ofOne[what.Key] = now
	} else {
		s.ofAll[what.Original] = &soft{since: now, renewed: make(map[Key]struct{})}
	}
	s.any.Store(true)
	return true
}

// stale returns since when what is held under key is stale.
func (s *softs) stale(key Key) (since time.Time, ok bool) {
	if !s.any.Load() {
		return time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, ok := s.ofOne[key]; ok {
		return since, true
	}
	all := s.ofAll[key.original]
	if all == nil {
		return time.Time{}, false
	}
	if _, renewed := all.renewed[key]; renewed {
		return time.Time{}, false
	}
	return all.since, true
}

// renew notes that what is held under key was made after the soft purge.
func (s *softs) renew(key Key) {
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ofOne, key)
	if all := s.ofAll[key.original]; all != nil {
		all.renewed[key] = struct{}{}
	}
}

// end forgets a soft purge, because a plain one has taken away all that it was about.
func (s *softs) end(what Target) {
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if what.Key != (Key{}) {
		delete(s.ofOne, what.Key)
		return
	}
	delete(s.ofAll, what.Original)
}

// SoftPurge makes stale what the target names: the kept original and what slower tiers
// hold are removed, and what the fastest tier holds is served as stale to whoever asks
// next, once more or until it has been made anew in the background. An origin that is
// down does not take it away. What must be revalidated (RFC 9111, 5.2.2.2) is not served.
//
// The receipt counts what was removed. A restart, or eviction, ends the staleness with
// what was stale.
func (c *Cache) SoftPurge(ctx context.Context, what Target) (Receipt, error) {
	if what.Key != (Key{}) {
		what.Key, what.Original = c.marked(what.Key), what.Key.original
	}
	if len(c.layers) == 0 || !c.softs.add(what, c.now()) {
		return c.Purge(ctx, what)
	}
	return c.purge(ctx, what, c.layers[1:])
}

// purge removes from the filler and from these layers, slowest first: what a faster tier
// could still copy from a slower one is gone by then.
func (c *Cache) purge(ctx context.Context, what Target, layers []Layer) (Receipt, error) {
	var variants, originals Removed
	var faults []error
	add := func(sum *Removed, removed Removed, err error) {
		sum.Merge(removed)
		faults = append(faults, err)
	}
	if what.Key == (Key{}) {
		c.epochs.Move(what.Original)
		removed, err := c.filler.Purge(ctx, what.Original)
		add(&originals, removed, err)
		// An original that a flight of before was about to store is stored by now, or never.
		c.epochs.Move(what.Original)
		for _, layer := range c.originals {
			removed, err := layer.Tier.Purge(ctx, what)
			add(&originals, removed, err)
		}
	}
	for i := len(layers) - 1; i >= 0; i-- {
		c.epochs.Move(what.Original)
		removed, err := layers[i].Tier.Purge(ctx, what)
		add(&variants, removed, err)
	}
	c.epochs.Move(what.Original)
	return Receipt{
		Variants: variants.Images, VariantSizes: variants.Sizes,
		Originals: originals.Images, OriginalSizes: originals.Sizes,
		Bytes: variants.Bytes + originals.Bytes,
	}, errors.Join(faults...)
}
