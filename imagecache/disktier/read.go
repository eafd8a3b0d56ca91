package disktier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/inflight"
)

// Get returns the image that was last Put under key, written or still queued. A record that
// does not verify is counted, forgotten and ErrMiss. An error that wraps inflight.ErrFull means
// that there is no room for it in memory. Any other error is a fault of the disk.
func (t *Tier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	if t.health.off() {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	// The queue first: an item that leaves it is already in the index.
	if it := t.queuedItem(key); it != nil {
		_, img, err := imagecache.ParseRecord(it.bytes[frameBytes : frameBytes+it.frame.size])
		return img, err
	}
	n := nameOf(key)
	at, ok := t.index.hit(n)
	if !ok {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	s := t.table[at.segment()].Load()
	if s == nil {
		return imagecache.Image{}, imagecache.ErrMiss // evicted since
	}
	if err := inflight.Grow(ctx, imagecache.BufferBytes(at.bytes())); err != nil {
		return imagecache.Image{}, err
	}
	buffer := imagecache.NewBuffer(int(at.bytes()))
	b := buffer.Bytes()
	if err := t.read(s, n, at, b); err != nil {
		return imagecache.Image{}, err
	}
	f, err := verify(b, s.marker)
	if err != nil {
		t.damaged(s, n, at)
		return imagecache.Image{}, imagecache.ErrMiss
	}
	found, img, err := imagecache.ParseRecord(b[frameBytes : frameBytes+f.size])
	if err != nil {
		t.damaged(s, n, at)
		return imagecache.Image{}, imagecache.ErrMiss
	}
	if found != key {
		return imagecache.Image{}, imagecache.ErrMiss // another key of the same hashes
	}
	img.Buffer = buffer
	return img, nil
}

func (t *Tier) queuedItem(key imagecache.Key) *item {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return nil
	}
	return t.pending[key]
}

// read fills b from the record of n at that location. The error is ErrMiss if it is not there.
func (t *Tier) read(s *segment, n name, at location, b []byte) error {
	h, err := t.files.acquire(s)
	opened := err == nil
	if opened {
		_, err = h.file.ReadAt(b, at.offset())
		h.release()
	}
	switch {
	case err == nil:
		if t.health.readFaults.Load() != 0 {
			t.health.readFaults.Store(0)
		}
		return nil
	case s.dropped.Load():
	case err == io.EOF:
		t.damaged(s, n, at)
	case errors.Is(err, fs.ErrNotExist):
		t.damaged(s, n, at)
		t.reportLost(s)
	default:
		if opened { // a bad sector stays bad and is slow to fail: read it only once
			t.damaged(s, n, at)
		}
		err = fmt.Errorf("read segment %d: %w", s.seq, err)
		t.readFault(err)
		return err
	}
	return imagecache.ErrMiss
}

// verify parses the frame at the start of b, and checks every byte of it.
func verify(b []byte, m marker) (frame, error) {
	f, ok := parseFrame(b, m)
	if !ok || f.footer || frameBytes+f.size > int64(len(b)) {
		return frame{}, fmt.Errorf("frame: %w", errDamaged)
	}
	if checksum(b[frameBytes:frameBytes+f.size]) != f.sum {
		return frame{}, fmt.Errorf("record: %w", errDamaged)
	}
	return f, nil
}

// damaged forgets a record that does not verify, and counts it once. An older record of the
// key must not replace it while segments are still being recovered.
func (t *Tier) damaged(s *segment, n name, at location) {
	t.mu.Lock()
	if t.gone != nil {
		t.gone.add(tombstone{hash: n.key, position: position(s.seq, at.offset())})
	}
	t.mu.Unlock()
	if !t.index.remove(n, at) {
		return // evicted, replaced or purged since; or counted by another reader
	}
	t.count.damaged.Add(1)
	if !s.blamed.Swap(true) {
		// Only the first of a segment is logged.
		t.log.Warn("disk tier found a damaged record", "segment", s.path, "offset", at.offset())
	}
}
