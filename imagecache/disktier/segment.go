package disktier

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// segment is one file of records.
type segment struct {
	seq  uint64 // newer ones have higher numbers; no number is ever used twice
	id   uint16 // in the index
	path string

	// marker is set before the index has records of this segment.
	marker marker

	handle  atomic.Pointer[handle] // open for reading; managed by handles
	dropped atomic.Bool            // evicted or lost: errors are misses, not faults
	blamed  atomic.Bool            // damage in it was logged

	// guarded by Tier.mu
	end    int64 // end of the last frame, where the next one begins
	charge int64 // bytes of the budget that it takes
	dirty  bool  // in Tier.dirty
	loaded bool  // its records are in the index
	// records is their number once it is sealed; 0: it is not known.
	records int

	// slots are set for the active segment, and for one whose footer could not be written.
	// The footer has them otherwise. Only the writer uses them.
	slots []footSlot
}

// position is an offset in the log of all segments: it orders everything ever written.
func position(seq uint64, offset int64) uint64 { return seq<<24 | uint64(offset/unit) }

// handle is a file open for reading, closed when its last user is done.
type handle struct {
	file file
	refs atomic.Int32
	used atomic.Bool // since the hand of handles last passed
}

// hold adds a user, unless the last one has gone.
func (h *handle) hold() bool {
	for {
		n := h.refs.Load()
		if n == 0 {
			return false
		}
		if h.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (h *handle) release() {
	if h.refs.Add(-1) == 0 {
		h.file.Close() // it was only read
	}
}

// handles keeps up to max segments open for reading. Which to close is chosen by CLOCK
// (Corbató 1968).
type handles struct {
	fs  fileSystem
	max int

	mu   sync.Mutex
	open []*segment
	hand int
}

// acquire returns the segment's file, open; release it after use.
func (hs *handles) acquire(s *segment) (*handle, error) {
	if h := s.handle.Load(); h != nil && h.hold() {
		if !h.used.Load() {
			h.used.Store(true)
		}
		return h, nil
	}
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h := s.handle.Load(); h != nil && h.hold() {
		return h, nil
	}
	f, err := hs.fs.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	h := &handle{file: f}
	h.refs.Store(2) // the caller's and hs's
	if s.dropped.Load() {
		h.refs.Store(1) // forget is not called again
		return h, nil
	}
	for len(hs.open) >= hs.max {
		hs.closeOneLocked()
	}
	hs.open = append(hs.open, s)
	s.handle.Store(h)
	return h, nil
}

func (hs *handles) closeOneLocked() {
	for {
		hs.hand++
		if hs.hand >= len(hs.open) {
			hs.hand = 0
		}
		if !hs.open[hs.hand].handle.Load().used.Swap(false) {
			hs.closeLocked(hs.hand)
			return
		}
	}
}

func (hs *handles) closeLocked(i int) {
	hs.open[i].handle.Swap(nil).release()
	hs.open[i] = hs.open[len(hs.open)-1]
	hs.open = hs.open[:len(hs.open)-1]
}

// forget closes a segment that is no longer used, once its readers are done.
func (hs *handles) forget(s *segment) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for i := range hs.open {
		if hs.open[i] == s {
			hs.closeLocked(i)
			return
		}
	}
}

// closeAll closes all files. acquire opens them again.
func (hs *handles) closeAll() {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	for len(hs.open) > 0 {
		hs.closeLocked(len(hs.open) - 1)
	}
}

// contents are the records of a segment file that was written earlier.
type contents struct {
	scanned
	marker marker
	sealed bool // the footer was good; nothing was scanned
}

// readContents reads the footer of a segment, or scans the segment if the footer is missing or
// damaged. The error wraps errUnknownFormat, errDamaged if nothing in it can be read, or the
// error of the disk.
func readContents(f io.ReaderAt, seq uint64, size int64) (contents, error) {
	head := make([]byte, headerBytes+frameBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return contents{}, fmt.Errorf("read the header: %w", err)
	}
	m, headErr := parseHeader(head[:min(n, headerBytes)], seq)
	if errors.Is(headErr, errUnknownFormat) {
		return contents{}, headErr
	}
	end := size
	if size >= headerBytes+trailerBytes {
		slots, t, err := readFooter(f, size)
		if err != nil && !errors.Is(err, errDamaged) {
			return contents{}, err
		}
		if err == nil && (headErr != nil || t.marker == m) {
			return contents{scanned{slots: slots, end: t.footer}, t.marker, true}, nil
		}
		if t.footer != 0 { // the trailer is good
			end = t.footer
			if headErr != nil {
				m, headErr = t.marker, nil
			}
		}
	}
	if headErr != nil { // the first frame has the marker too
		if n < len(head) {
			return contents{}, headErr
		}
		m = marker(head[headerBytes:])
		if _, ok := parseFrame(head[headerBytes:], m); !ok {
			return contents{}, headErr
		}
	}
	found, err := scan(f, end, m)
	if err != nil {
		return contents{}, fmt.Errorf("scan it: %w", err)
	}
	return contents{found, m, false}, nil
}

// readFooter reads the slots of a sealed segment of that size. The error wraps errDamaged if
// the footer is missing or damaged. The trailer is not zero if at least that is good.
func readFooter(f io.ReaderAt, size int64) ([]footSlot, trailer, error) {
	end := make([]byte, trailerBytes)
	if _, err := f.ReadAt(end, size-trailerBytes); err != nil && err != io.EOF {
		return nil, trailer{}, fmt.Errorf("read the trailer: %w", err)
	}
	t, ok := parseTrailer(end, size)
	if !ok {
		return nil, trailer{}, fmt.Errorf("trailer: %w", errDamaged)
	}
	b := make([]byte, size-trailerBytes-t.footer)
	if _, err := f.ReadAt(b, t.footer); err != nil && err != io.EOF {
		return nil, t, fmt.Errorf("read the footer: %w", err)
	}
	slots, ok := parseFooter(b, t)
	if !ok {
		return nil, t, fmt.Errorf("footer: %w", errDamaged)
	}
	return slots, t, nil
}
