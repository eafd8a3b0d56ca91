// Package loader batches lookups by ID: IDs requested within at most 10 ms of each other are fetched
// with one call, across requests (a GraphQL DataLoader). [Loader.Load] has the same signature as the
// fetch function, so a Loader can replace it. Start reading there.
package loader

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// MaxWindow is the maximum time that an ID waits for others.
const MaxWindow = 10 * time.Millisecond

// Config configures a [Loader]. Fetch and ID are required.
type Config[V any] struct {
	// Fetch calls the service. It returns the values of known IDs, in any order. It may return
	// values with an error: [Errors] applies to the IDs in it, any other error to all IDs
	// without a value.
	Fetch func(ctx context.Context, ids []string) ([]V, error)
	// ID returns the ID of a value.
	ID func(*V) string
	// Window is how long an ID waits for others while a call runs; 0 means MaxWindow. While no
	// call runs, IDs do not wait.
	Window time.Duration
	// MaxBatch is the maximum number of IDs in one call; 0 means 100.
	MaxBatch int
	// Timeout is the maximum duration of a call; 0 means 5 s. Callers may give up earlier.
	Timeout time.Duration
	// Divisible reports whether an error may be caused by single IDs. Each half of the batch is
	// then retried separately, down to single IDs. If nil, no error is divisible.
	Divisible func(error) bool
}

// ErrPanic is the error of IDs whose Fetch panicked.
var ErrPanic = errors.New("fetch panicked")

// Errors maps IDs to their errors.
type Errors map[string]error

// ErrorOf returns the error of an ID; nil if it was loaded, or is unknown.
func (e Errors) ErrorOf(id string) error { return e[id] }

func (e Errors) Error() string {
	for id, err := range e {
		return fmt.Sprintf("%d IDs failed, %q: %v", len(e), id, err)
	}
	return "no ID failed"
}

// Unwrap returns all errors, for errors.Is.
func (e Errors) Unwrap() []error {
	all := make([]error, 0, len(e))
	for _, err := range e {
		all = append(all, err)
	}
	return all
}

// Loader fetches values in batches. It is safe for concurrent use.
type Loader[V any] struct {
	cfg Config[V]

	mu      sync.Mutex
	pending map[string]*batch[V] // by ID: the open batch and the running ones
	open    *batch[V]            // accepts more IDs; may be nil
	running int
}

// batch is one call.
type batch[V any] struct {
	ctx    context.Context // the first caller's, without its cancellation
	ids    []string        // distinct
	window *time.Timer     // nil if the batch does not wait
	done   chan struct{}
	// Set before done is closed, read-only afterwards.
	values map[string]V
	errs   Errors
}

// New returns a Loader. It panics without Fetch or ID.
func New[V any](cfg Config[V]) *Loader[V] {
	if cfg.Fetch == nil || cfg.ID == nil {
		panic("loader: Fetch and ID are required")
	}
	cfg.Window = min(cmp.Or(cfg.Window, MaxWindow), MaxWindow)
	cfg.MaxBatch = cmp.Or(cfg.MaxBatch, 100)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	return &Loader[V]{cfg: cfg, pending: map[string]*batch[V]{}}
}

// Load returns the values of known IDs, each once, in the order of ids. An error is of type [Errors];
// the values of the other IDs are returned with it. If ctx ends, pending IDs have its error.
func (l *Loader[V]) Load(ctx context.Context, ids []string) ([]V, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	batches := l.join(ctx, ids)
	values := make([]V, 0, len(ids))
	errs := Errors{}
	seen := make(map[string]struct{}, len(ids))
	for i, id := range ids {
		if _, again := seen[id]; again {
			continue
		}
		seen[id] = struct{}{}
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

// Forget makes the next Load of ids start a new call even while one for them is running, because
// the running call may return values from before a change.
func (l *Loader[V]) Forget(ids []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		if b := l.pending[id]; b != nil && b != l.open {
			delete(l.pending, id)
		}
	}
}

// join finds or starts the batch of each ID.
func (l *Loader[V]) join(ctx context.Context, ids []string) []*batch[V] {
	batches := make([]*batch[V], len(ids))
	l.mu.Lock()
	defer l.mu.Unlock()
	idle := l.running == 0 && l.open == nil
	for i, id := range ids {
		b := l.pending[id]
		if b == nil {
			if l.open == nil {
				l.open = &batch[V]{ctx: context.WithoutCancel(ctx), done: make(chan struct{})}
			}
			b = l.open
			b.ids = append(b.ids, id)
			l.pending[id] = b
			if len(b.ids) == l.cfg.MaxBatch {
				l.startLocked(b)
			}
		}
		batches[i] = b
	}
	switch b := l.open; {
	case b == nil:
	case idle:
		l.startLocked(b)
	case b.window == nil:
		b.window = time.AfterFunc(l.cfg.Window, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.open == b {
				l.startLocked(b)
			}
		})
	}
	return batches
}

// startLocked starts the call of the open batch.
func (l *Loader[V]) startLocked(b *batch[V]) {
	if b.window != nil {
		b.window.Stop()
	}
	l.open = nil
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
		if l.pending[id] == b {
			delete(l.pending, id)
		}
	}
	close(b.done)
	if l.running == 0 && l.open != nil {
		l.startLocked(l.open) // no call to wait for
	}
}

// fetch sets the batch's values and errors of ids.
func (l *Loader[V]) fetch(ctx context.Context, b *batch[V], ids []string) {
	values, err := l.guarded(ctx, ids)
	if err != nil && len(values) == 0 && len(ids) > 1 && ctx.Err() == nil && l.divisible(err) {
		l.fetch(ctx, b, ids[:len(ids)/2])
		l.fetch(ctx, b, ids[len(ids)/2:])
		return
	}
	for i := range values {
		id := l.cfg.ID(&values[i])
		if _, again := b.values[id]; !again {
			b.values[id] = values[i]
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

// divisible reports whether single IDs may have caused an error, as they may a panic.
func (l *Loader[V]) divisible(err error) bool {
	return errors.Is(err, ErrPanic) || l.cfg.Divisible != nil && l.cfg.Divisible(err)
}

// guarded calls Fetch. It turns a panic into an error, and does not wait for a Fetch that ignores
// the end of ctx.
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
		case a := <-done: // both are done: prefer the result
			return a.values, a.err
		default:
			return nil, ctx.Err()
		}
	}
}
