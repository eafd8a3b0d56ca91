package imagecache

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// softFor bounds a soft purge: images that are still stale then are removed.
	softFor = 24 * time.Hour
	// maxSofts and maxRenewed bound the memory of soft purges, of some 200 bytes for each
	// target and each renewed key. Beyond them the oldest soft purge is ended early.
	maxSofts   = 10_000
	maxRenewed = 100_000
	// softRetry is the pause before a failed removal is retried.
	softRetry = time.Minute
)

// softs are the soft purges that have not ended: images of their targets in the fastest tier
// are stale unless they were renewed. The zero value is ready.
type softs struct {
	any      atomic.Bool // false: no soft purge is active, and a hit takes no lock
	mu       sync.RWMutex
	byTarget map[Target]*soft
	renewed  int       // keys in renewed of all of byTarget
	warned   time.Time // when the bound was last logged
}

// soft is one soft purge. Its fields are guarded by softs.mu.
type soft struct {
	target  Target
	since   time.Time
	first   uint64 // the first epoch whose fills count as renewals; notYet while the purge runs
	renewed map[Key]struct{}
	expiry  *time.Timer // nil while the purge runs
}

const notYet = math.MaxUint64

// begin marks the target's images as stale from now on.
func (s *softs) begin(target Target, now time.Time) *soft {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byTarget == nil {
		s.byTarget = make(map[Target]*soft)
	}
	s.forgetLocked(s.byTarget[target])
	p := &soft{target: target, since: now, first: notYet, renewed: make(map[Key]struct{})}
	s.byTarget[target] = p
	s.any.Store(true)
	return p
}

// complete lets fills that noted epoch first, or a later one, renew what p made stale, and
// has expire called after softFor.
func (s *softs) complete(p *soft, first uint64, expire func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byTarget[p.target] == p {
		p.first, p.expiry = first, time.AfterFunc(softFor, expire)
	}
}

// stale returns since when the image of key is stale.
func (s *softs) stale(key Key) (since time.Time, ok bool) {
	if !s.any.Load() {
		return time.Time{}, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, target := range []Target{{Key: key, Original: key.original}, {Original: key.original}} {
		p := s.byTarget[target]
		if p == nil {
			continue
		}
		if _, renewed := p.renewed[key]; !renewed && p.since.After(since) {
			since, ok = p.since, true
		}
	}
	return since, ok
}

// renew notes that a fill which noted epoch before it read anything was stored under key.
func (s *softs) renew(key Key, epoch uint64) {
	if !s.any.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if one := s.byTarget[Target{Key: key, Original: key.original}]; one != nil && epoch >= one.first {
		s.forgetLocked(one)
	}
	if all := s.byTarget[Target{Original: key.original}]; all != nil && epoch >= all.first {
		if _, known := all.renewed[key]; !known {
			all.renewed[key] = struct{}{}
			s.renewed++
		}
	}
}

// of returns the soft purge of the target, or nil.
func (s *softs) of(target Target) *soft {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byTarget[target]
}

// forget ends p, unless another of the same target has replaced it.
func (s *softs) forget(p *soft) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p != nil && s.byTarget[p.target] == p {
		s.forgetLocked(p)
	}
}

func (s *softs) forgetLocked(p *soft) {
	if p == nil {
		return
	}
	delete(s.byTarget, p.target)
	s.renewed -= len(p.renewed)
	if p.expiry != nil {
		p.expiry.Stop()
	}
	s.any.Store(len(s.byTarget) > 0)
}

// excess returns the oldest soft purge that can be ended if there are too many, and whether
// there are.
func (s *softs) excess() (oldest *soft, full bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.byTarget) < maxSofts && s.renewed < maxRenewed {
		return nil, false
	}
	for _, p := range s.byTarget {
		if p.first != notYet && (oldest == nil || p.since.Before(oldest.since)) {
			oldest = p
		}
	}
	return oldest, true
}

// warnFull reports whether to log that the bound was reached: once an hour.
func (s *softs) warnFull(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.warned) < time.Hour {
		return false
	}
	s.warned = now
	return true
}

// SoftPurge makes the target stale. It removes the kept original and the images in slower tiers.
// Images in the fastest tier are served as stale until they have been refreshed in the background,
// even while the origin is down. Images that must be revalidated (RFC 9111, 5.2.2.2) are not
// served.
//
// Images that are still stale after 24 hours are removed. Beyond 10,000 soft purges the oldest is
// ended in the same way, which is logged. The receipt counts the images that were removed at once.
//
// A fill that began before the purge must not count as a renewal:
//
//  1. A fill notes the epoch and fetches the old original.
//  2. SoftPurge marks the target as stale.
//  3. The fill stores the old image in the fastest tier: the epoch has not moved yet.
//  4. SoftPurge moves the epoch, removes the kept original and what slower tiers hold, moves
//     the epoch again after each, and notes the last one as the first whose fills renew.
//  5. The fill reports that it stored the key. It noted an epoch before that one, so the
//     image stays stale, and the next Get refreshes it.
//
// Between 2 and 4 no fill renews anything: one that begins there may still read the kept
// original.
func (c *Cache) SoftPurge(ctx context.Context, target Target) (Receipt, error) {
	if target.Key != (Key{}) {
		target.Key, target.Original = c.marked(target.Key), target.Key.original
	}
	if len(c.layers) == 0 || !c.limitSofts(ctx) {
		return c.Purge(ctx, target)
	}
	p := c.softs.begin(target, c.now())
	receipt, err := c.purge(ctx, target, c.layers[1:])
	c.softs.complete(p, c.epochs.Of(target.Original), func() { c.expireSoft(p) })
	return receipt, err
}

// limitSofts ends the oldest soft purges until there is room for another one, and reports
// whether there is.
func (c *Cache) limitSofts(ctx context.Context) bool {
	for {
		oldest, full := c.softs.excess()
		if !full {
			return true
		}
		if c.softs.warnFull(c.now()) {
			c.log.Warn("soft purges at limit, ending the oldest early", "purges", maxSofts, "renewed_keys", maxRenewed)
		}
		if oldest == nil || c.endSoft(ctx, oldest) != nil {
			return false
		}
	}
}

func (c *Cache) expireSoft(p *soft) {
	if err := c.endSoft(context.Background(), p); err != nil {
		of := p.target.Original
		c.log.Warn("removal of stale images failed, will be retried", "source", of.Source, "name", of.Name, "err", err)
		p.expiry.Reset(softRetry)
	}
}

// endSoft removes the images that p left in the fastest tier. Renewed ones go with them, and are
// still in the slower tiers. The epoch moves, so that nothing stale is being stored there.
func (c *Cache) endSoft(ctx context.Context, p *soft) error {
	if c.softs.of(p.target) != p {
		return nil
	}
	c.epochs.Move(p.target.Original)
	if _, err := c.layers[0].Tier.Purge(ctx, p.target); err != nil {
		return err
	}
	c.softs.forget(p)
	return nil
}
