package imagecache

import (
	"math/bits"
	"sync"
)

// Buffer is the memory of one Body, from a pool. An Image that a Tier reads for one caller may have
// one: [Image.Recycle] gives it back.
type Buffer struct {
	bytes []byte
	pool  *sync.Pool // nil: it is not pooled
}

// Buffers of 4 KiB to 1 MiB are pooled, by powers of two. Smaller ones cost little, larger ones are
// rare, and keeping them would cost more memory than they save time.
const (
	minBufferBits = 12
	maxBufferBits = 20
)

var bufferPools [maxBufferBits - minBufferBits + 1]sync.Pool

// NewBuffer returns a Buffer of n bytes, which are those of an earlier user.
func NewBuffer(n int) *Buffer {
	size, pooled := bufferBits(int64(n))
	if !pooled {
		return &Buffer{bytes: make([]byte, n)}
	}
	pool := &bufferPools[size-minBufferBits]
	b, _ := pool.Get().(*Buffer)
	if b == nil {
		b = &Buffer{bytes: make([]byte, 1<<size), pool: pool}
	}
	b.bytes = b.bytes[:n]
	return b
}

// bufferBits returns the size of pooled Buffers that n bytes fit in, as a power of two.
func bufferBits(n int64) (size int, pooled bool) {
	size = bits.Len64(uint64(max(n, 1) - 1))
	return size, size >= minBufferBits && size <= maxBufferBits
}

// BufferBytes returns how many bytes of memory NewBuffer(n) takes.
func BufferBytes(n int64) int64 {
	if size, pooled := bufferBits(n); pooled {
		return 1 << size
	}
	return n
}

// Bytes returns the memory.
func (b *Buffer) Bytes() []byte { return b.bytes }

// Recycle gives the memory of img.Body back, if it is a Buffer's. Only the caller of [Cache.Get]
// may do that, once, when nothing reads Body any more. Otherwise the garbage collector frees it.
func (img *Image) Recycle() {
	if b := img.Buffer; b != nil && b.pool != nil {
		img.Buffer, img.Body = nil, nil
		b.pool.Put(b)
	}
}
