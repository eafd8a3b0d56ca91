// Package budget bounds the memory that all requests together use for data whose size depends on
// their input: bodies and answers.
package budget

import (
	"errors"
	"io"
	"sync"
)

// ErrFull is the error of [Budget.ReadAll] when there is no room. Trying again later may help.
var ErrFull = errors.New("too many bytes are being read at once")

// share is the part of the free memory that one request may have: a quarter. As large requests fill the memory, the
// limit falls, and small ones still pass.
const share = 4

// MinRoom is what every request gets, in bytes: a query, a few posts, or the result of a mutation.
const MinRoom = 4 << 10

// Budget is memory that requests share. It is safe for concurrent use.
type Budget struct {
	mu   sync.Mutex
	free int64 // bytes
}

// New returns a Budget of size bytes.
func New(size int64) *Budget { return &Budget{free: size} }

// Take lets a request that has held bytes have size bytes, and reports whether it may.
func (b *Budget) Take(held, size int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if size > MinRoom && size > (b.free+held)/share {
		return false
	}
	b.free -= size - held
	return true
}

// Give gives back what a request has held.
func (b *Budget) Give(held int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += held
}

// ReadAll reads r to its end. The text is in memory of the Budget until release, which has to be called also after an
// error.
func (b *Budget) ReadAll(r io.Reader) (text []byte, release func(), err error) {
	held := int64(0)
	release = func() { b.Give(held) }
	for {
		if len(text) == cap(text) {
			size := max(2*int64(cap(text)), MinRoom)
			if !b.Take(held, size) {
				return text, release, ErrFull
			}
			held = size
			text = append(make([]byte, 0, size), text...)
		}
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if err == io.EOF {
			return text, release, nil
		}
		if err != nil {
			return text, release, err
		}
	}
}
