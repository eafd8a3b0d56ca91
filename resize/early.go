package resize

import (
	"errors"
	"sync"
)

// ErrNotEarly is the error of a job whose original was still arriving ([Job.Early]): it was not begun, or was
// given up. It says nothing about the original or the Specs. The caller makes the job again once the original is
// complete.
var ErrNotEarly = errors.New("not made while the original arrived")

// Arriving is an original whose bytes are still arriving. It is safe for concurrent use.
type Arriving struct {
	size int

	mu      sync.Mutex
	bytes   []byte        // that have arrived
	ended   bool          // Add will not be called again
	usable  bool          // see End
	changed chan struct{} // closed at the next change; nil if nothing waits
}

// NewArriving returns an original that will have size bytes, none of which have arrived.
func NewArriving(size int) *Arriving { return &Arriving{size: size} }

// Size returns how many bytes the original will have.
func (a *Arriving) Size() int { return a.size }

// Add says that these bytes have arrived: all from the beginning of the original. They are not modified later.
func (a *Arriving) Add(bytes []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.bytes = bytes
		a.wakeLocked()
	}
}

// End says that nothing more will arrive, and whether the original may be used: that all of it has arrived and has
// been verified. Only the first call has an effect.
func (a *Arriving) End(usable bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended {
		a.ended, a.usable = true, usable && len(a.bytes) == a.size
		a.wakeLocked()
	}
}

func (a *Arriving) wakeLocked() {
	if a.changed != nil {
		close(a.changed)
		a.changed = nil
	}
}

// Progress is the state of an Arriving.
type Progress struct {
	Bytes  []byte          // that have arrived
	Ended  bool            // nothing more will arrive
	Usable bool            // ended, complete and verified
	Change <-chan struct{} // closed at the next change; nil once it has ended
}

// Progress returns the current state.
func (a *Arriving) Progress() Progress {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ended && a.changed == nil {
		a.changed = make(chan struct{})
	}
	return Progress{a.bytes, a.ended, a.usable, a.changed}
}

// More waits until more than n bytes have arrived, and returns all that have. It returns n or fewer once nothing
// more will arrive.
func (a *Arriving) More(n int) []byte {
	for {
		p := a.Progress()
		if len(p.Bytes) > n || p.Ended {
			return p.Bytes
		}
		<-p.Change
	}
}

// Whole waits for the end. It returns false if the original may not be used.
func (a *Arriving) Whole() ([]byte, bool) {
	for {
		p := a.Progress()
		if p.Ended {
			return p.Bytes, p.Usable
		}
		<-p.Change
	}
}
