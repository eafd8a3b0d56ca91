package dirorigin

import (
	"fmt"
	"os"
	"sync"
	"syscall"

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

// hashes caches the most recently used digests in two maps of at most half of the bound
// each. When newer is full it replaces old; a digest found in old moves to newer.
type hashes struct {
	mu         sync.Mutex
	half       int
	newer, old map[identity]digest // guarded by mu
}

func newHashes(bound int) *hashes {
	return &hashes{half: max(1, bound/2), newer: map[identity]digest{}}
}

func (h *hashes) get(id identity) (digest, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d, ok := h.newer[id]; ok {
		return d, true
	}
	d, ok := h.old[id]
	if ok {
		h.putLocked(id, d)
	}
	return d, ok
}

func (h *hashes) put(id identity, d digest) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.putLocked(id, d)
}

func (h *hashes) drop(id identity) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.newer, id)
	delete(h.old, id)
}

func (h *hashes) putLocked(id identity, d digest) {
	if len(h.newer) >= h.half {
		h.newer, h.old = map[identity]digest{}, h.newer
	}
	h.newer[id] = d
}

func (h *hashes) len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.newer) + len(h.old)
}
