package pagecache

import (
	"context"
	"hash/maphash"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/novasocial/imagetier/gateway/feed"
)

// kind caches the values of one kind, in memory and in Redis.
//
// An outdated value could be stored after its id was dropped:
//
//  1. a request misses, and the service answers with a value
//  2. the value changes, and its id is dropped
//  3. the request calls Put with the old value
//
// So Get returns a lease with three parts, which Put compares with their current state:
//
//	Local   changes with every drop of an id of the same stripe, before anything is removed
//	Shared  is the generation of the key in Redis; a drop writes a new one, which lives longer than
//	        any call, and a script stores a value only if the generation is still the same
//	Link    changes when invalidations may have been missed; older values are only served as stale
type kind[V any] struct {
	of      Kind
	prefix  string
	ttl     time.Duration
	stale   time.Duration
	cache   *Cache
	codec   codec[V]
	memory  *otter.Cache[string, *held[V]]
	seed    maphash.Seed
	stripes [4096]stripe // many, so that a drop rarely prevents storing another id
}

type stripe struct {
	sync.Mutex        // held while memory is changed for an id of this stripe
	epoch      uint64 // changes with every drop
}

// held is a value in memory. It is immutable.
type held[V any] struct {
	value *V
	until time.Time // when it turns stale
	gone  time.Time // when it is removed
	link  uint32    // when the value was requested
}

func newKind[V any](c *Cache, of Kind, prefix string, ttl time.Duration, bytes uint64, codec codec[V]) *kind[V] {
	k := &kind[V]{
		of: of, prefix: prefix, ttl: ttl, stale: c.cfg.StaleFor, cache: c, codec: codec, seed: maphash.MakeSeed(),
	}
	k.memory = otter.Must(&otter.Options[string, *held[V]]{
		MaximumWeight: bytes,
		Weigher: func(id string, h *held[V]) uint32 {
			// 200 bytes are the overhead of otter, held and the allocator.
			return uint32(min(len(id)+codec.size(h.value)+200, math.MaxUint32))
		},
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[string, *held[V]]) time.Duration {
			return time.Until(e.Value.gone)
		}),
	})
	return k
}

// tracked reports whether Redis announces changes of this kind. Pages only expire.
func (k *kind[V]) tracked() bool { return k.of != Pages }

func (k *kind[V]) idOf(key string) (string, bool) { return strings.CutPrefix(key, k.prefix) }

func (k *kind[V]) stripe(id string) *stripe {
	return &k.stripes[maphash.String(k.seed, id)%uint64(len(k.stripes))]
}

func (k *kind[V]) epoch(id string) uint64 {
	s := k.stripe(id)
	s.Lock()
	defer s.Unlock()
	return s.epoch
}

// linkNow returns the link for values that are requested now.
func (k *kind[V]) linkNow() uint32 {
	if k.cache.link == nil || !k.tracked() {
		return 0
	}
	return k.cache.link.number.Load()
}

// Get implements feed.Cache.
func (k *kind[V]) Get(ctx context.Context, ids []string) []feed.Entry[V] {
	entries := make([]feed.Entry[V], len(ids))
	now, linkNow := time.Now(), k.linkNow()
	var rest []int // indexes of ids without a fresh value in memory
	for i, id := range ids {
		h, ok := k.memory.GetIfPresent(id)
		if ok {
			entries[i].Value = h.value
			entries[i].Fresh = now.Before(h.until) && h.link == linkNow
		}
		if !entries[i].Fresh {
			rest = append(rest, i)
		}
	}
	k.count(InMemory, len(ids)-len(rest))
	if len(rest) > 0 {
		k.count(Miss, len(rest)-k.ask(ctx, ids, rest, entries))
	}
	return entries
}

// ask looks up the rest in Redis, and sets the leases of ids that are missing there too. It returns
// how many were fresh.
func (k *kind[V]) ask(ctx context.Context, ids []string, rest []int, entries []feed.Entry[V]) (found int) {
	// Both are read before Redis or a service is called: if the connection breaks and a change is
	// missed before the answer arrives, the answer must count as stale.
	linkNow := k.linkNow()
	for _, i := range rest {
		entries[i].Lease.Local, entries[i].Lease.Link = k.epoch(ids[i]), linkNow
	}
	var answers []reply
	if k.cache.link != nil {
		keys := make([]string, len(rest))
		for at, i := range rest {
			keys[at] = k.prefix + ids[i]
		}
		answers = k.cache.link.read(ctx, keys)
	}
	failed, unreadable := 0, 0
	for at, i := range rest {
		e := &entries[i]
		if answers == nil {
			continue
		}
		if answers[at].err != nil {
			failed++
			continue
		}
		e.Lease.Asked = true
		if answers[at].data == nil {
			continue
		}
		e.Lease.Shared = generation(answers[at].data)
		h, state := k.open(ids[i], answers[at].data)
		switch {
		case state == damaged:
			unreadable++
		case state == tombstone:
			e.Value = nil // the drop of this value was missed
		case time.Now().Before(h.until):
			h.link = linkNow
			k.remember(ids[i], h, e.Lease)
			e.Value, e.Fresh = h.value, true
			found++
		default:
			e.Value = h.value
		}
	}
	if answers == nil && k.cache.link != nil {
		failed = len(rest)
	}
	k.count(Failed, failed)
	k.count(Unreadable, unreadable)
	k.count(InRedis, found)
	return found
}

// open parses a record from Redis.
func (k *kind[V]) open(id string, data []byte) (*held[V], state) {
	payload, until, state := unseal(k.of, k.prefix+id, data)
	if state != whole {
		return nil, state
	}
	value, err := k.codec.parse(payload)
	if err != nil || k.codec.id != nil && k.codec.id(&value) != id {
		return nil, damaged
	}
	// Another gateway's clock may be ahead; nothing is fresh for longer than its TTL.
	if most := time.Now().Add(k.ttl); until.After(most) {
		until = most
	}
	return &held[V]{value: &value, until: until, gone: until.Add(k.stale)}, whole
}

// remember stores a value in memory, unless its id was dropped since the lease was taken.
func (k *kind[V]) remember(id string, h *held[V], lease feed.Lease) bool {
	if k.tracked() && k.cache.link != nil && k.cache.link.untracked.Load() {
		h.until = earlier(h.until, time.Now().Add(untrackedTTL))
	}
	s := k.stripe(id)
	s.Lock()
	defer s.Unlock()
	if s.epoch != lease.Local {
		return false
	}
	k.memory.Set(id, h)
	return true
}

// Put implements feed.Cache.
func (k *kind[V]) Put(_ context.Context, values []feed.Kept[V]) {
	until := time.Now().Add(k.ttl)
	var records []record
	for _, v := range values {
		h := &held[V]{value: v.Value, until: until, gone: until.Add(k.stale), link: v.Lease.Link}
		if !k.remember(v.ID, h, v.Lease) {
			continue
		}
		if k.cache.link == nil || !v.Lease.Asked {
			continue // without its generation it could overwrite a newer value
		}
		key := k.prefix + v.ID
		next := v.Lease.Shared
		if next == 0 {
			next = newGeneration()
		}
		records = append(records, record{
			key: key, expected: v.Lease.Shared, ttl: k.ttl + k.stale,
			data: seal(k.of, key, next, until, func(b []byte) []byte { return k.codec.append(b, v.Value) }),
		})
	}
	if len(records) > 0 && !k.cache.link.write(k.of, records) {
		k.count(Dropped, len(records))
	}
}

// Drop implements feed.Cache.
func (k *kind[V]) Drop(ctx context.Context, ids []string) {
	k.forget(ids)
	if k.cache.link == nil {
		return
	}
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = k.prefix + id
	}
	k.count(Failed, k.cache.link.drop(ctx, k.of, keys))
	// A reader that took its lease since then may have read the old value before the tombstone was written, and Redis
	// does not announce this gateway's own changes to it.
	k.forget(ids)
}

// forget removes ids from memory. cfg.Forget comes first: a reader that joined a running call
// before it also took its lease before the epoch moved, so the old answer is not stored.
func (k *kind[V]) forget(ids []string) {
	k.cache.cfg.Forget(k.of, ids)
	for _, id := range ids {
		s := k.stripe(id)
		s.Lock()
		s.epoch++
		k.memory.Invalidate(id)
		s.Unlock()
	}
}

func (k *kind[V]) count(outcome Outcome, ids int) {
	if ids > 0 {
		k.cache.cfg.Observe(k.of, outcome, ids)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
