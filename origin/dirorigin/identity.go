package dirorigin

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/novasocial/imagetier/internal/boundedcache"
	"github.com/novasocial/imagetier/origin"
)

// identity changes when the content of a file does. It includes ctime because
// programs can set mtime and cannot set ctime.
type identity struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // ns since 1970
}

// identify returns the identity of an open regular file.
func identify(f *os.File) (identity, error) {
	info, err := f.Stat()
	if err != nil {
		return identity{}, fmt.Errorf("%w: %w", origin.ErrUnavailable, err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return identity{}, fmt.Errorf("%w: not a regular file", origin.ErrNotFound)
	}
	mtime, ctime := times(st)
	return identity{dev: uint64(st.Dev), ino: st.Ino, size: st.Size, mtime: mtime, ctime: ctime}, nil
}

// digest is the first half of a SHA-256.
type digest [16]byte

// hashes caches the most recently used digests.
type hashes struct {
	mu    sync.Mutex
	known boundedcache.Map[identity, digest] // guarded by mu
}

func newHashes(bound int) *hashes {
	return &hashes{known: boundedcache.Map[identity, digest]{Max: max(1, bound/2)}}
}

func (h *hashes) get(id identity) (digest, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d, ok := h.known.Get(id)
	if ok {
		h.known.Put(id, d) // renews it
	}
	return d, ok
}

func (h *hashes) put(id identity, d digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known.Put(id, d)
}

func (h *hashes) drop(id identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.known.Delete(id)
}
