package imagecache

import "sync"

// Epochs order purges against stores, so that a purged image does not come back. The
// zero value is ready.
//
// Without them a purge could be undone:
//
//  1. A reader takes an old image from disk.
//  2. A purge clears disk, then memory.
//  3. The reader copies its old image into memory, where it stays.
//
// So every original has an epoch that moves with each step of a purge. A fill or a copy notes
// the epoch before it reads anything, and stores only if the epoch has not moved, holding the
// stripe's read lock while it stores: a step of a purge waits for running stores, and removes
// what they stored.
//
// Originals share stripes by hash. A purge of one keeps running fills of a few others from
// being stored.
type Epochs struct {
	stripes [512]epoch
}

type epoch struct {
	storing sync.RWMutex
	n       uint64 // guarded by storing; moves with every step of a purge
}

func (e *Epochs) stripe(of Original) *epoch {
	return &e.stripes[of.Hash()%uint64(len(e.stripes))]
}

// Of returns the epoch of an original. Note it before reading anything of the original.
func (e *Epochs) Of(o Original) uint64 {
	s := e.stripe(o)
	s.storing.RLock()
	defer s.storing.RUnlock()
	return s.n
}

// Store reports whether the epoch is still n, and if so keeps it so until done is called.
func (e *Epochs) Store(o Original, n uint64) (done func(), ok bool) {
	s := e.stripe(o)
	s.storing.RLock()
	if s.n != n {
		s.storing.RUnlock()
		return nil, false
	}
	return s.storing.RUnlock, true
}

// Move begins a new epoch once all stores of the old one are done.
func (e *Epochs) Move(o Original) {
	s := e.stripe(o)
	s.storing.Lock()
	s.n++
	s.storing.Unlock()
}
