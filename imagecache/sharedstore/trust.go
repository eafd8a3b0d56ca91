package sharedstore

import (
	"slices"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/boundedcache"
)

// maxPurges is how many of the latest purges are remembered at least, in 10 MB. Purged objects
// are deleted within minutes, so it only has to exceed the number of purges in some minutes.
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
type Trust struct {
	mu       sync.Mutex
	recalled bool
	purges   boundedcache.Map[uint64, purgeState]
}

// purgeState is the known state of one original.
type purgeState struct {
	last    Position // of the purge that is last in the log
	pending []string // ids of decided purges that are not read from the log yet
}

// Purging notes that a purge was decided under an id and is not in the log yet: until Purged is
// called with that id, all objects of the original are distrusted.
func (t *Trust) Purging(of imagecache.Original, id string) {
	t.change(of, func(s *purgeState) {
		if !slices.Contains(s.pending, id) {
			s.pending = append(s.pending, id)
		}
	})
}

// Purged notes that the entry of an id, at position at of the log, purges an original: objects
// written before it are distrusted. Entries may come in any order, and again. The zero Position
// is a purge that never gets into the log.
func (t *Trust) Purged(of imagecache.Original, id string, at Position) {
	t.change(of, func(s *purgeState) {
		s.pending = slices.DeleteFunc(s.pending, func(other string) bool { return other == id })
		if s.last.before(at) {
			s.last = at
		}
	})
}

// Recalled notes that Purged was called for every recent purge before the start.
func (t *Trust) Recalled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recalled = true
}

func (t *Trust) change(of imagecache.Original, change func(*purgeState)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.purges.Max = maxPurges
	state, _ := t.purges.Get(of.Hash())
	change(&state)
	t.purges.Put(of.Hash(), state)
}

// none reports whether no object of an original is trusted.
func (t *Trust) none(of imagecache.Original) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	state, _ := t.purges.Get(of.Hash())
	return !t.recalled || len(state.pending) > 0
}

// Trusts reports whether an object written at a position may be served by a node whose own position
// is here. Positions in two logs cannot be compared, so an object of another log is not trusted:
// when a log is lost, so are purges in it whose objects were not deleted yet.
func (t *Trust) Trusts(of imagecache.Original, at, here Position) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	state, ok := t.purges.Get(of.Hash())
	switch {
	case !t.recalled || len(state.pending) > 0 || at.Log != here.Log:
		return false
	case !ok || state.last == (Position{}):
		return true
	}
	return at.Log == state.last.Log && at.Entry >= state.last.Entry
}

// before reports whether p is an earlier position than q: a log that was lost is followed by one
// with a later id.
func (p Position) before(q Position) bool {
	return p.Log < q.Log || p.Log == q.Log && p.Entry < q.Entry
}
