// Package sharedstore is a tier in an object store that the nodes of a fleet share, so that a
// new node does not begin with an empty cache. Images are written in the background, and read
// before a node makes one itself. Only pinned images are kept.
//
// Faults of the store never fail a request: reads have a short timeout, a breaker pauses
// requests to a store that fails, images that cannot be written are dropped, and an object
// that does not verify is a miss. The read path is Get, the write path Put and write.go.
//
// # Purges
//
// The key of an object begins with the hash of its source and name, so that one listing finds
// all objects of an original. On a single node (Config.Fleet unset) a purge waits for running
// writes of these objects and deletes them before it returns.
//
// In a fleet that is not enough: a node that has not applied the purge yet may write an object
// just after it was deleted. So every object has the position of its writer in the log of
// purges, and a node ignores objects that are older than a purge of their original. The purge
// itself deletes nothing; one node deletes for all (Delete), at once and again when every
// write that was running has ended: a node that no longer hears of purges stops writing before.
package sharedstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/circuit"
)

// ErrNotFound is the error of a Store that has no object of that key. It may be wrapped.
var ErrNotFound = errors.New("no such object")

// Store is an object store. It is safe for concurrent use.
type Store interface {
	// Get returns the object, or ErrNotFound.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put creates or replaces an object atomically.
	Put(ctx context.Context, key string, object []byte) error
	// List returns every object whose key begins with prefix.
	List(ctx context.Context, prefix string) ([]Object, error)
	// DeleteAll removes every object whose key begins with prefix, and returns the removed
	// ones. With an error some may be left.
	DeleteAll(ctx context.Context, prefix string) ([]Object, error)
}

// Object is the key and the size, in bytes, of an object in a Store.
type Object struct {
	Key  string
	Size int64
}

// Config configures a Tier.
type Config struct {
	Store Store // required
	// ReadTimeout bounds one read; 0 is 300 ms.
	ReadTimeout time.Duration
	// WriteTimeout bounds one write, and a deletion that a purge waits for; 0 is 5 s.
	WriteTimeout time.Duration
	// Writers is how many objects are written at once; 0 is 4.
	Writers int
	// QueueBytes bounds the images that wait to be written; others are dropped. 0 is 64 MiB.
	QueueBytes int64
	// Fleet is what this node knows of the fleet's purges. If it is nil, no other process uses the
	// store.
	Fleet Fleet
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log receives faults that no caller sees. If nil, slog's default is used.
	Log *slog.Logger

	live bool // for tests: also store live images
}

// Fleet is a node's side of the fleet's log of purges.
type Fleet interface {
	// Position returns how far the log is applied here.
	Position() Position
	// Current reports whether all purges of the fleet are applied here, but for those of the last
	// seconds. While they are not, nothing is written: it might be stored after its purge was over.
	Current() bool
}

// Position is an offset in a log of purges.
type Position struct {
	Log   uint64 // id of the log: a new one after the log was lost
	Entry uint64 // all entries up to this one have been applied
}

// Tier is an imagecache.Tier over a Store. Without Run nothing is written.
type Tier struct {
	// Trust learns of the purges of a fleet before the caches in front of this Tier are purged.
	Trust

	cfg     Config
	breaker *circuit.Breaker
	count   counters

	mu      sync.Mutex
	queue   []*item // not yet taken by a writer, oldest first
	waiting map[imagecache.Key]*item
	groups  map[imagecache.Original]map[*item]struct{} // items that are queued or being written
	queued  int64                                      // bytes of waiting
	wake    chan struct{}
	owed    map[imagecache.Original]time.Time // failed deletions, and when to retry them
	// unsure has originals with a failed write that may still happen, and until when.
	unsure map[imagecache.Original]time.Time
}

// item is an object that is queued or being written.
type item struct {
	key    imagecache.Key
	object []byte
	dead   bool          // guarded by Tier.mu: purged or replaced
	taken  bool          // guarded by Tier.mu: a writer has it
	ended  chan struct{} // closed when its writer is done
	after  *item         // an item of the same key that was being written; nil: none
}

type counters struct {
	written, dropped, purged, damaged, distrusted, skipped atomic.Int64
}

// breakerPause is how long a store that failed is not used. It is longer than for an origin: a
// miss costs a fill, not an error.
const breakerPause = 5 * time.Second

// maxObject is the maximum size of a stored image, in bytes.
const maxObject = 8 << 20

// maxOwed bounds the number of failed deletions to retry, and that of failed writes to remember.
const maxOwed = 100_000

// New returns a Tier. It starts no goroutine; see Run.
func New(cfg Config) (*Tier, error) {
	if cfg.Store == nil {
		return nil, errors.New("open shared store: no store given")
	}
	if cfg.ReadTimeout == 0 {
		cfg.ReadTimeout = 300 * time.Millisecond
	}
	if cfg.WriteTimeout == 0 {
		cfg.WriteTimeout = 5 * time.Second
	}
	if cfg.Writers == 0 {
		cfg.Writers = 4
	}
	if cfg.QueueBytes == 0 {
		cfg.QueueBytes = 64 << 20
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	return &Tier{
		cfg:     cfg,
		breaker: circuit.New(circuit.Config{Pause: breakerPause}),
		waiting: make(map[imagecache.Key]*item),
		groups:  make(map[imagecache.Original]map[*item]struct{}),
		wake:    make(chan struct{}, 1),
		owed:    make(map[imagecache.Original]time.Time),
		unsure:  make(map[imagecache.Original]time.Time),
	}, nil
}

// Get implements imagecache.Tier: it returns the Image from the queue or the store. It takes
// at most ReadTimeout, and returns at once while the breaker is open.
func (t *Tier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	of := key.Original()
	t.mu.Lock()
	it := t.waiting[key]
	_, owed := t.owed[of]
	t.mu.Unlock()
	if it != nil {
		if found, err := decode(it.object); err == nil {
			return found.img, nil
		}
	}
	if owed || t.cfg.Fleet != nil && t.none(of) {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	done, err := t.breaker.Allow()
	if err != nil {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	limited, cancel := context.WithTimeout(ctx, t.cfg.ReadTimeout)
	defer cancel()
	object, err := t.cfg.Store.Get(limited, keyOf(key))
	switch {
	case errors.Is(err, ErrNotFound):
		done(circuit.Success)
		return imagecache.Image{}, imagecache.ErrMiss
	case err != nil && ctx.Err() != nil: // the caller left: not the store's fault
		done(circuit.Ignored)
		return imagecache.Image{}, imagecache.ErrMiss
	case err != nil:
		done(circuit.Failure)
		return imagecache.Image{}, fmt.Errorf("read from the shared store: %w", err)
	}
	done(circuit.Success)
	found, err := decode(object)
	if err != nil || found.key != key {
		t.count.damaged.Add(1)
		return imagecache.Image{}, imagecache.ErrMiss
	}
	if t.cfg.Fleet != nil && !t.Trusts(of, found.at, t.cfg.Fleet.Position()) {
		t.count.distrusted.Add(1)
		return imagecache.Image{}, imagecache.ErrMiss
	}
	return found.img, nil
}

// Put queues img to be written if it is pinned, not too large and there is room in the queue.
// It never blocks.
func (t *Tier) Put(_ context.Context, key imagecache.Key, img imagecache.Image) error {
	if !img.Fresh.Pinned() && !t.cfg.live || len(img.Body) > maxObject || len(img.Body) == 0 {
		t.count.skipped.Add(1)
		return nil
	}
	var at Position
	if t.cfg.Fleet != nil {
		at = t.cfg.Fleet.Position()
	}
	object, ok := encode(key, img, at)
	if !ok {
		t.count.skipped.Add(1)
		return nil
	}
	it := &item{key: key, object: object, ended: make(chan struct{})}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.queued+int64(len(object)) > t.cfg.QueueBytes {
		t.count.dropped.Add(1)
		// An older item of this key must not be written as if it were the newest.
		if old := t.waiting[key]; old != nil {
			old.dead = true
			t.leaveLocked(old)
		}
		return nil
	}
	if old := t.waiting[key]; old != nil {
		if it.after = old; !old.taken {
			old.dead = true
			it.after = old.after // which may still be running
		}
		t.leaveLocked(old)
	}
	t.waiting[key] = it
	group := t.groups[key.Original()]
	if group == nil {
		group = make(map[*item]struct{})
		t.groups[key.Original()] = group
	}
	group[it] = struct{}{}
	t.queued += int64(len(object))
	t.queue = append(t.queue, it)
	t.wakeLocked()
	return nil
}

// leaveLocked removes an item from waiting, where Get finds it. A purge still finds it if a
// writer has it.
func (t *Tier) leaveLocked(it *item) {
	if t.waiting[it.key] == it {
		delete(t.waiting, it.key)
		t.queued -= int64(len(it.object))
	}
	if !it.taken {
		t.forgetLocked(it)
	}
}

func (t *Tier) forgetLocked(it *item) {
	of := it.key.Original()
	delete(t.groups[of], it)
	if len(t.groups[of]) == 0 {
		delete(t.groups, of)
	}
}

func (t *Tier) wakeLocked() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Stats are the statistics of a Tier. Counters start at New.
type Stats struct {
	QueuedBytes   int64 // waiting to be written
	QueuedObjects int64
	Written       int64 // objects
	Dropped       int64 // not written: the queue was full, the breaker open, or the purges not known
	Purged        int64 // not written: purged before
	Skipped       int64 // not stored here: live, too large, or with too long a name
	Damaged       int64 // objects read that did not verify
	Distrusted    int64 // objects read that were older than a purge
	Open          bool  // the breaker is open
}

// Stats returns the current statistics.
func (t *Tier) Stats() Stats {
	t.mu.Lock()
	s := Stats{QueuedBytes: t.queued, QueuedObjects: int64(len(t.waiting))}
	t.mu.Unlock()
	s.Written, s.Dropped, s.Purged = t.count.written.Load(), t.count.dropped.Load(), t.count.purged.Load()
	s.Skipped, s.Damaged, s.Distrusted = t.count.skipped.Load(), t.count.damaged.Load(), t.count.distrusted.Load()
	s.Open = t.breaker.State() == circuit.Open
	return s
}
