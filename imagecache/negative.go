package imagecache

import (
	"sync"
	"time"
)

// Bounds of the number of remembered refusals, some 300 bytes each. From minSweep on, expired ones
// are dropped whenever their number may have doubled.
const (
	maxNegatives = 20_000
	minSweep     = 64
)

// negatives remembers refusals for a short time, so that many requests for an original that does
// not exist or cannot be decoded cost the origin and the resizer only one attempt.
type negatives struct {
	ttl     time.Duration
	mu      sync.Mutex
	byKey   map[Key]negative
	sweepAt int // length of byKey; guarded by mu, like byKey
}

type negative struct {
	err   error
	until time.Time
	epoch uint64        // a purge ends a refusal too
	left  time.Duration // how long it is still remembered; set by get
}

func (ns *negatives) get(key Key, epoch uint64, now time.Time) (negative, bool) {
	if ns.ttl == 0 {
		return negative{}, false
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	n, ok := ns.byKey[key]
	if !ok {
		return negative{}, false
	}
	n.left = n.until.Sub(now)
	if n.left <= 0 || n.epoch != epoch {
		delete(ns.byKey, key)
		return negative{}, false
	}
	return n, true
}

func (ns *negatives) put(key Key, epoch uint64, err error, now time.Time) {
	if ns.ttl == 0 {
		return
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.byKey == nil {
		ns.byKey = make(map[Key]negative)
	}
	if len(ns.byKey) >= min(max(ns.sweepAt, minSweep), maxNegatives) {
		ns.sweepLocked(now)
	}
	ns.byKey[key] = negative{err: err, until: now.Add(ns.ttl), epoch: epoch}
}

// sweepLocked drops expired entries, and of maxNegatives that are left a tenth.
func (ns *negatives) sweepLocked(now time.Time) {
	for key, n := range ns.byKey {
		if !n.until.After(now) {
			delete(ns.byKey, key)
		}
	}
	if len(ns.byKey) >= maxNegatives {
		for key := range ns.byKey {
			if len(ns.byKey) < maxNegatives*9/10 {
				break
			}
			delete(ns.byKey, key)
		}
	}
	ns.sweepAt = 2 * len(ns.byKey)
}
