package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jsonlog"
)

// registers has the newest decision about each original. Lifts are remembered too, so that an older
// takedown has no effect. Each is a last-writer-wins register: in whatever order and however often
// decisions arrive, the newest counts.
type registers struct {
	mu      sync.RWMutex // guards all below
	newest  map[imagecache.Original]decision
	sorted  []Takedown   // all takedowns; the slice is never changed; nil after a change
	changes int          // of newest
	down    atomic.Int64 // number of takedowns; if 0, reads need no lock

	// applying is held for reading from before a line is written until it is in newest, and for
	// writing while the file is rewritten from newest, or read again.
	applying sync.RWMutex
	cfg      jsonlog.Config
	log      *jsonlog.Log[line] // guarded by applying
}

type decision struct {
	Stamp
	lifted bool
}

// line is a decision in the file.
type line struct {
	Stamp
	Lift   bool   `json:"lift,omitempty"`
	Source string `json:"source"`
	Name   []byte `json:"name"` // base64: a name may be any bytes
}

func (l line) original() imagecache.Original {
	return imagecache.Original{Source: l.Source, Name: string(l.Name)}
}

// openRegisters reads the file. An unreadable line is an error: without it, a taken down original
// could be served.
func openRegisters(cfg jsonlog.Config) (*registers, error) {
	r := &registers{newest: make(map[imagecache.Original]decision), cfg: cfg}
	var err error
	r.log, err = jsonlog.Open(cfg, func(l line) { r.set(l) })
	if err != nil {
		return nil, fmt.Errorf("read the takedowns: %w", err)
	}
	_ = r.shorten() // a long file is valid too
	return r, nil
}

// Takedown is an original that is taken down.
type Takedown struct {
	Original imagecache.Original
	Since    time.Time
}

// takenDown reports whether of is taken down.
func (r *registers) takenDown(of imagecache.Original) bool {
	if r.down.Load() == 0 {
		return false
	}
	d, ok := r.of(of)
	return ok && !d.lifted
}

// of returns the newest decision about an original.
func (r *registers) of(of imagecache.Original) (decision, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	d, ok := r.newest[of]
	return d, ok
}

// list returns at most limit takedowns after an original, sorted by source and name.
func (r *registers) list(after imagecache.Original, limit int) []Takedown {
	all := r.sortedDown()
	at, found := slices.BinarySearchFunc(all, after, func(t Takedown, of imagecache.Original) int {
		return compareOriginals(t.Original, of)
	})
	if found {
		at++
	}
	return slices.Clone(all[at:min(len(all), at+limit)])
}

// sortedDown returns all takedowns, sorted. It sorts without holding the lock, which every request
// takes.
func (r *registers) sortedDown() []Takedown {
	r.mu.RLock()
	all, changes := r.sorted, r.changes
	if all != nil {
		r.mu.RUnlock()
		return all
	}
	all = make([]Takedown, 0, r.down.Load())
	for of, d := range r.newest {
		if !d.lifted {
			all = append(all, Takedown{of, d.At.Time()})
		}
	}
	r.mu.RUnlock()
	slices.SortFunc(all, func(a, b Takedown) int { return compareOriginals(a.Original, b.Original) })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes == changes {
		r.sorted = all
	}
	return all
}

func compareOriginals(a, b imagecache.Original) int {
	return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
}

// newer reports whether a decision is newer than the register.
func (r *registers) newer(of imagecache.Original, s Stamp) bool {
	d, ok := r.of(of)
	return !ok || s.Compare(d.Stamp) > 0
}

// apply stores decisions, with one sync for all of them, and returns those that changed a register.
// When it returns without an error, they are durable.
//
// Invariant 1. A decision that is not newer than the register changes nothing. So, of two nodes
// A and B:
//
//  1. A, cut off, takes an original down and lifts it again: stamps 10 and 11, in its outbox.
//  2. B takes it down: stamp 20, applied on B.
//  3. A is back, and sends 10 and 11. B has 20, and ignores both; A receives 20, and applies it.
func (r *registers) apply(entries ...Entry) (changed []Entry, err error) {
	if changed, err = r.write(entries); len(changed) > 0 {
		_ = r.shorten() // the next call retries
	}
	return changed, err
}

func (r *registers) write(entries []Entry) (changed []Entry, err error) {
	r.applying.RLock()
	defer r.applying.RUnlock()
	pending := make(map[imagecache.Original]Entry)
	for _, e := range entries {
		of := e.original()
		if before, ok := pending[of]; !e.decides() || !r.newer(of, e.Stamp) || ok && e.Compare(before.Stamp) <= 0 {
			continue
		}
		pending[of] = e
	}
	if len(pending) == 0 {
		return nil, nil
	}
	changed = slices.SortedFunc(maps.Values(pending), func(a, b Entry) int { return a.Compare(b.Stamp) })
	lines := make([]line, len(changed))
	for i, e := range changed {
		lines[i] = line{e.Stamp, e.Kind == KindLift, e.Source, e.Name}
	}
	if err := r.log.Append(lines...); err != nil {
		return nil, fmt.Errorf("write the takedowns: %w", err)
	}
	r.set(lines...) // compares again: a concurrent call may have been faster
	return changed, nil
}

// set changes registers in memory.
func (r *registers) set(lines ...line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range lines {
		of := l.original()
		before, ok := r.newest[of]
		if ok && l.Compare(before.Stamp) <= 0 {
			continue
		}
		r.newest[of] = decision{l.Stamp, l.Lift}
		if ok && !before.lifted {
			r.down.Add(-1)
		}
		if !l.Lift {
			r.down.Add(1)
		}
	}
	r.sorted = nil
	r.changes++
}

// all returns every register as an entry, oldest first.
func (r *registers) all() []Entry {
	r.mu.RLock()
	entries := make([]Entry, 0, len(r.newest))
	for of, d := range r.newest {
		kind := KindTakedown
		if d.lifted {
			kind = KindLift
		}
		entries = append(entries, Entry{Stamp: d.Stamp, Kind: kind, Source: of.Source, Name: []byte(of.Name)})
	}
	r.mu.RUnlock()
	slices.SortFunc(entries, func(a, b Entry) int { return a.Compare(b.Stamp) })
	return entries
}

// shorten rewrites the file when most of its lines are superseded.
func (r *registers) shorten() error {
	if !r.long() {
		return nil
	}
	r.applying.Lock()
	defer r.applying.Unlock()
	return r.rewrite()
}

// long reports whether most lines of the file are superseded.
func (r *registers) long() bool {
	r.applying.RLock()
	defer r.applying.RUnlock()
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.log.Lines() > 2*len(r.newest)+1000
}

// rewrite rewrites the file. The caller holds applying.
func (r *registers) rewrite() error {
	return r.log.Rewrite(func(yield func(line) bool) {
		for _, e := range r.all() {
			if !yield(line{e.Stamp, e.Kind == KindLift, e.Source, e.Name}) {
				return
			}
		}
	})
}

// decode decodes an entry of a stream.
func decode(data []byte) (e Entry, err error) {
	err = json.Unmarshal(data, &e)
	return e, err
}
