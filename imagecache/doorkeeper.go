package imagecache

import "sync/atomic"

// doorkeeper knows which keys it was asked about lately. It forgets: a key that shares its
// place, one of 16,384, pushes another out. The zero value is ready.
type doorkeeper struct {
	marks [1 << 14]atomic.Uint32
}

// seen reports whether it was asked about key before, and has not forgotten that. After
// that it is asked for the first time again.
func (d *doorkeeper) seen(key Key) bool {
	hash := key.Hash()
	mark := &d.marks[hash%uint64(len(d.marks))]
	is := uint32(hash>>32) | 1 // never 0, which is nobody
	if mark.CompareAndSwap(is, 0) {
		return true
	}
	mark.Store(is)
	return false
}
