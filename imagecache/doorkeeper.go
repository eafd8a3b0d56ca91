package imagecache

import "sync/atomic"

// doorkeeper counts recent requests by key in 16,384 slots. A key evicts another one that has
// the same slot. The zero value is ready.
type doorkeeper struct {
	marks [1 << 14]atomic.Uint32
}

// often is the number of requests for a key after which the doorkeeper lets it in.
const often = 8

// letsIn counts a request for key, and reports whether it is the eighth. Then counting starts
// again.
func (d *doorkeeper) letsIn(key Key) bool {
	hash := key.Hash()
	mark := &d.marks[hash%uint64(len(d.marks))]
	is := uint32(hash>>32) &^ (often - 1) // the lowest bits count
	switch old := mark.Load(); {
	case old&^(often-1) != is:
		mark.Store(is | 1)
	case old&(often-1) == often-1:
		mark.Store(is)
		return true
	default:
		mark.Store(old + 1) // of two concurrent requests only one may count, which does not matter
	}
	return false
}
