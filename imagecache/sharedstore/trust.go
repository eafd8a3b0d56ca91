package sharedstore

import (
	"math"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// maxDistrust bounds how many purges are remembered, in some 6 MB. Purged objects are deleted
// within minutes, so it only has to exceed the number of purges in some minutes.
const maxDistrust = 100_000

// distrust has the position of the last purge of each original, by the original's hash. Two
// originals with the same hash share an entry, which costs one of them a fill. The zero value
// is ready.
type distrust struct {
	mu   sync.RWMutex
	last map[uint64]Position
	ring []uint64 // hashes in the order of their first purge
	next int
}

// doubt notes a purge that is not in the log yet: until then all objects are distrusted.
func (d *distrust) doubt(of imagecache.Original) {
	d.set(of, Position{Entry: math.MaxUint64})
}

// purged notes a purge at a position: objects written before it are distrusted.
func (d *distrust) purged(of imagecache.Original, at Position) { d.set(of, at) }

func (d *distrust) set(of imagecache.Original, at Position) {
	hash := of.Hash()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = make(map[uint64]Position)
	}
	if _, ok := d.last[hash]; !ok {
		if len(d.ring) < maxDistrust {
			d.ring = append(d.ring, hash)
		} else {
			delete(d.last, d.ring[d.next])
			d.ring[d.next] = hash
			d.next = (d.next + 1) % maxDistrust
		}
	}
	d.last[hash] = at
}

// all reports whether all objects of an original are distrusted.
func (d *distrust) all(of imagecache.Original) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.last[of.Hash()].Entry == math.MaxUint64
}

// of reports whether an object written at a position is distrusted. A position in another log
// cannot be compared, so the object is distrusted too.
func (d *distrust) of(of imagecache.Original, at Position) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	last, ok := d.last[of.Hash()]
	return ok && (at.Log != last.Log || at.Entry < last.Entry)
}
