// Package loader makes few calls of many: what requests ask of a service by id, within at
// most 10 ms of each other, is asked in one call (the DataLoader of GraphQL, across requests).
//
// A Loader has the signature of what it stands before, so a service can be put behind one
// without anybody noticing.
package loader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxWindow is the longest that an id may wait for others (SEED G21).
const MaxWindow = 10 * time.Millisecond

// Config of a Loader. Fetch and ID are needed.
type Config[V any] struct {
	// Fetch asks the service. It returns what is known of ids, in any order; what it does not
	// know is left out. Beside values it may return an error, which is that of the ids that
	// are not among them, or Errors, which is that of the ids it names.
	Fetch func(ctx context.Context, ids []string) ([]V, error)
	// ID returns the id of a value.
	ID func(*V) string
	// Window is how long an id waits for others while a call runs; 0 is MaxWindow. While none
	// runs, it does not wait.
	Window time.Duration
	// MaxBatch is the most ids of one call; 0 is 100.
	MaxBatch int
	// Timeout is how long a call may take; 0 is 5 s. Callers may leave earlier.
	Timeout time.Duration
	// Divisible reports whether an error may be that of single ids; then each half is asked
	// again by itself, down to single ids. Nil: none is.
	Divisible func(error) bool
}

// ErrPanic is the error of ids whose Fetch panicked.
var ErrPanic = errors.New("panic in a fetch")

// Errors has the errors of single ids.
type Errors map[string]error

func (e Errors) Error() string {
	for id, err := range e {
		return fmt.Sprintf("%d ids failed, %q: %v", len(e), id, err)
	}
	return "no id failed"
}

// Unwrap has errors.Is look into each.
func (e Errors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, err := range e {
		all = append(all, err)
	}
	return all
}

// Loader asks in batches. It is safe for concurrent use.
type Loader[V any] struct {
	cfg Config[V]

	mu      sync.Mutex
	asked   map[string]*batch[V] // ids of the batch that gathers and of those that run
	gathers *batch[V]            // takes more ids; nil: none
	running int
}

// batch is one call, before, while and after it runs.
type batch[V any] struct {
	ctx    context.Context // the first caller's, for its values only
	ids    []string        // none twice
	window *time.Timer     // nil: it does not wait
	done   chan struct{}
	// Set when done is closed, read-only from then on.
	values map[string]V
	errs   Errors
}

// New returns a Loader. It panics without Fetch or ID, which is a fault of the program.
func New[V any](cfg Config[V]) *Loader[V] {
	if cfg.Fetch == nil || cfg.ID == nil {
		panic("loader: Fetch and ID are needed")
	}
	cfg.Window = min(cmp.Or(cfg.Window, MaxWindow), MaxWindow)
	cfg.MaxBatch = cmp.Or(cfg.MaxBatch, 100)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	return &Loader[V]{cfg: cfg, asked: map[string]*batch[V]{}}
}

// Load returns what the service knows of ids, each once, in their order. An error is Errors,
// beside the values of the ids that did not fail: those that ctx did not wait for have its.
func (l *Loader[V]) Load(ctx context.Context, ids []string) ([]V, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	batches := l.join(ctx, ids)
	values := make([]V, 0, len(ids))
	errs := Errors{}
	taken := make(map[string]struct{}, len(ids))
	for i, id := range ids {
		if _, again := taken[id]; again {
			continue
		}
		taken[id] = struct{}{}
		b := batches[i]
		select {
		case <-b.done:
		default:
			select {
			case <-b.done:
			case <-ctx.Done():
				errs[id] = ctx.Err()
				continue
			}
		}
		if v, known := b.values[id]; known {
			values = append(values, v)
		} else if err := b.errs[id]; err != nil {
			errs[id] = err
		}
	}
	if len(errs) > 0 {
		return values, errs
	}
	return values, nil
}

// Forget has the next caller ask for ids anew, also while a call for them runs: what it will
// say may be of before a change.
func (l *Loader[V]) Forget(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if b := l.asked[id]; b != nil && b != l.gathers {
			delete(l.asked, id)
		}
	}
}

// join finds or begins the batch of each id.
func (l *Loader[V]) join(ctx context.Context, ids []string) []*batch[V] {
	batches := make([]*batch[V], len(ids))
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := l.running == 0 && l.gathers == nil
	for i, id := range ids {
		b := l.asked[id]
		if b == nil {
			if l.gathers == nil {
				l.gathers = &batch[V]{ctx: context.WithoutCancel(ctx), done: make(chan struct{})}
			}
			b = l.gathers
			b.ids = append(b.ids, id)
			l.asked[id] = b
			if len(b.ids) == l.cfg.MaxBatch {
				l.startLocked(b)
			}
		}
		batches[i] = b
	}
	switch b := l.gathers; {
	case b == nil:
	case idle:
		l.startLocked(b)
	case b.window == nil:
		b.window = time.AfterFunc(l.cfg.Window, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.gathers == b {
				l.startLocked(b)
			}
		})
	}
	return batches
}

// startLocked sends the batch that gathers on its way.
func (l *Loader[V]) startLocked(b *batch[V]) {
	if b.window != nil {
		b.window.Stop()
	}
	l.gathers = nil
	l.running++
	go l.run(b)
}

func (l *Loader[V]) run(b *batch[V]) {
	ctx, cancel := context.WithTimeout(b.ctx, l.cfg.Timeout)
	defer cancel()
	b.values, b.errs = make(map[string]V, len(b.ids)), Errors{}
	l.fetch(ctx, b, b.ids)

	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	for _, id := range b.ids {
		if l.asked[id] == b {
			delete(l.asked, id)
		}
	}
	close(b.done)
	if l.running == 0 && l.gathers != nil {
		l.startLocked(l.gathers) // nothing to wait for any more
	}
}

// fetch fills the batch's values and errors of ids.
func (l *Loader[V]) fetch(ctx context.Context, b *batch[V], ids []string) {
	said, err := l.guarded(ctx, ids)
	if err != nil && len(said) == 0 && len(ids) > 1 && ctx.Err() == nil && l.divisible(err) {
		l.fetch(ctx, b, ids[:len(ids)/2])
		l.fetch(ctx, b, ids[len(ids)/2:])
		return
	}
	for i := range said {
		id := l.cfg.ID(&said[i])
		if _, again := b.values[id]; !again {
			b.values[id] = said[i]
		}
	}
	if err == nil {
		return
	}
	var of Errors
	each := errors.As(err, &of)
	for _, id := range ids {
		if _, known := b.values[id]; known {
			continue
		}
		if !each {
			b.errs[id] = err
		} else if of[id] != nil {
			b.errs[id] = of[id]
		}
	}
}

// divisible: a panic is laid to one id, as it may be one that brought it about.
func (l *Loader[V]) divisible(err error) bool {
	return errors.Is(err, ErrPanic) || l.cfg.Divisible != nil && l.cfg.Divisible(err)
}

// guarded calls Fetch, whatever it does: one that panics has failed, and one that does not
// heed ctx is left behind when that ends.
func (l *Loader[V]) guarded(ctx context.Context, ids []string) ([]V, error) {
	type answer struct {
		values []V
		err    error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: fmt.Errorf("%w: %v", ErrPanic, p)}
			}
			done <- a
		}()
		a.values, a.err = l.cfg.Fetch(ctx, ids)
	}()
	select {
	case a := <-done:
		return a.values, a.err
	case <-ctx.Done():
		select {
		case a := <-done: // both: what it says goes first
			return a.values, a.err
		default:
			return nil, ctx.Err()
		}
	}
}
