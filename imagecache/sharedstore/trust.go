package sharedstore

import (
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/boundedcache"
)

// maxPurges is how many of the latest purges are remembered at least, in 10 MB, and twice as many at most.
// Usually all objects of older ones are deleted (Deleted).
const maxPurges = 50_000

// Trust knows which objects of the store are older than a purge of their original, by the
// original's hash. Two originals with the same hash share an entry, which costs one of them a
// fill. It is safe for concurrent use. The zero value trusts nothing until it knows the recent
// purges in the log (Recalled).
//
// A purge is known before it has a position, from its decision until its entry is read from the
// log. All objects of the original are distrusted meanwhile:
//
//  1. Node 1 decides a purge (Purging).
//  2. Node 2, which has not heard of it, writes an old object at position 7. An earlier purge of
//     the same original is entry 6; node 1 reads it (Purged).
//  3. Node 1's own purge is entry 8. Until it reads that, the object at 7 looks newer than every
//     purge: only the entry that was decided may end the distrust, so each has its id.
//
// Purges that have a position are remembered up to a bound. Of those that were forgotten the last
// position is known: until all objects up to it are deleted, no object before it is trusted.
type Trust struct {
	mu       sync.Mutex // guards all below
	recalled bool
	pending  map[uint64]map[string]bool         // ids of decided purges that are not read from the log yet
	last     boundedcache.Map[uint64, Position] // of the original's purge that is last in the log
	// forgotten is the last purge that may not be in last any more. Up to deleted, the objects of all purges are
	// deleted.
	forgotten, deleted Position
}

// Purging notes that a purge was decided under an id and is not in the log yet: until Purged is
// called with that id, all objects of the original are distrusted.
func (t *Trust) Purging(of imagecache.Original, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = make(map[uint64]map[string]bool)
	}
	ids := t.pending[of.Hash()]
	if ids == nil {
		ids = make(map[string]bool)
		t.pending[of.Hash()] = ids
	}
	ids[id] = true
}

// Purged notes that the entry of an id, at position at of the log, purges an original: objects
// written before it are distrusted. Entries may come in any order, and again. The zero Position
// is a purge that never gets into the log.
func (t *Trust) Purged(of imagecache.Original, id string, at Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	hash := of.Hash()
	if ids := t.pending[hash]; ids[id] {
		if delete(ids, id); len(ids) == 0 {
			delete(t.pending, hash)
		}
	}
	if last, _ := t.last.Get(hash); last.before(at) {
		t.last.Max, t.last.Drop = maxPurges, t.forgetLocked
		t.last.Put(hash, at)
	}
}

// Forgotten notes that purges up to a position may not be known any more, because the log was reset. What was
// deleted up to now says nothing about the purges that get these positions.
func (t *Trust) Forgotten(to Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(0, to)
	if to.Log == t.deleted.Log {
		t.forgetLocked(0, t.deleted)
	}
	t.deleted = Position{}
}

func (t *Trust) forgetLocked(_ uint64, at Position) {
	if t.forgotten.before(at) {
		t.forgotten = at
	}
}

// Deleted notes that the objects of all purges up to a position are deleted.
func (t *Trust) Deleted(to Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to.Log != t.deleted.Log || t.deleted.before(to) {
		t.deleted = to
	}
}

// Recalled notes that Purged was called for every recent purge before the start.
func (t *Trust) Recalled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recalled = true
}

// none reports whether no object of an original is trusted.
func (t *Trust) none(of imagecache.Original) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.noneLocked(of)
}

func (t *Trust) noneLocked(of imagecache.Original) bool {
	return !t.recalled || len(t.pending[of.Hash()]) > 0
}

// Trusts reports whether an object written at a position may be served by a node whose own position
// is here. Positions in two logs cannot be compared, so an object of another log is not trusted:
// when a log is lost, so are purges in it whose objects were not deleted yet.
func (t *Trust) Trusts(of imagecache.Original, at, here Position) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.noneLocked(of) || at.Log != here.Log || at.before(t.forgotten) && t.deleted.before(t.forgotten) {
		return false
	}
	last, ok := t.last.Get(of.Hash())
	return !ok || at.Log == last.Log && at.Entry >= last.Entry
}

// before reports whether p is an earlier position than q: a log that was lost is followed by one
// with a later id.
func (p Position) before(q Position) bool {
	return p.Log < q.Log || p.Log == q.Log && p.Entry < q.Entry
}
