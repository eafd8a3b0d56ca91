package sharedstore

import (
	"math"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// maxDistrust bounds how many purges are remembered, in some 6 MB. Purged objects are deleted
// within minutes, so it only has to exceed the number of purges in some minutes.
const maxDistrust = 100_000

// distrust knows, by the hash of an original, the last purge of it. Two originals of one
// hash share theirs, which costs one of them a fill. The zero value is ready.
type distrust struct {
	mu   sync.RWMutex
	last map[uint64]Position
	ring []uint64 // in the order in which they came
	next int
}

// doubt notes a purge that is not in the log yet: until it is, no object is believed.
func (d *distrust) doubt(of imagecache.Original) {
	d.set(of, Position{Entry: math.MaxUint64})
}

// purged notes a purge at that position: objects written before it are not believed.
func (d *distrust) purged(of imagecache.Original, at Position) { d.set(of, at) }

func (d *distrust) set(of imagecache.Original, at Position) {
	hash := of.Hash()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		d.last = make(map[uint64]Position)
	}
	if _, there := d.last[hash]; !there {
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

// all reports whether nothing of an original is believed.
func (d *distrust) all(of imagecache.Original) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.last[of.Hash()].Entry == math.MaxUint64
}

// of reports whether what was written at that position is not to be believed. A position in
// another log says nothing, so it is not either.
func (d *distrust) of(of imagecache.Original, at Position) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	last, there := d.last[of.Hash()]
	return there && (at.Log != last.Log || at.Entry < last.Entry)
}
