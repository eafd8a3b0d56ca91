package origin

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// LimitConfig configures Limit.
type LimitConfig struct {
	// Requests is how many objects may be open at once. 0 means 64.
	Requests int
	// Queue is how many callers may wait for a slot. 0 means four times
	// Requests; negative means none.
	Queue int
	// Wait is how long a caller waits at most. 0 means 1 s.
	Wait time.Duration
}

// Limit returns a Source that limits how many of src's objects are open at once, so
// that a slow origin does not tie up every request of the tier. Further callers wait
// in the order of their arrival. Open returns ErrBusy at once if the queue is full, or
// after Wait; if ctx ends first, the error wraps ctx's error too. An object holds its
// slot until its Body is closed, or not at all if it is in memory (Object.Whole).
func Limit(src Source, cfg LimitConfig) Source {
	if cfg.Requests <= 0 {
		cfg.Requests = 64
	}
	switch {
	case cfg.Queue == 0:
		cfg.Queue = 4 * cfg.Requests
	case cfg.Queue < 0:
		cfg.Queue = 0
	}
	if cfg.Wait <= 0 {
		cfg.Wait = time.Second
	}
	return &limit{src: src, cfg: cfg, slots: make(chan struct{}, cfg.Requests)}
}

type limit struct {
	src     Source
	cfg     LimitConfig
	slots   chan struct{} // one element for each open object
	waiting atomic.Int64
}

func (l *limit) Open(ctx context.Context, name string, cond Cond) (obj *Object, err error) {
	if err := l.acquire(ctx); err != nil {
		return nil, err
	}
	held := false
	defer func() { // also when src panics
		if !held {
			l.release()
		}
	}()
	obj, err = l.src.Open(ctx, name, cond)
	if err != nil {
		return nil, err
	}
	if _, whole := obj.Whole(); !whole {
		obj.Body = &heldBody{ReadCloser: obj.Body, release: l.release}
		held = true
	}
	return obj, nil
}

// Head implements Source. It holds a slot until it returns.
func (l *limit) Head(ctx context.Context, name string) (Metadata, error) {
	if err := l.acquire(ctx); err != nil {
		return Metadata{}, err
	}
	defer l.release()
	return l.src.Head(ctx, name)
}

func (l *limit) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.slots <- struct{}{}:
		return nil
	default:
	}
	if l.waiting.Add(1) > int64(l.cfg.Queue) {
		l.waiting.Add(-1)
		return fmt.Errorf("%w: %d open and %d queued", ErrBusy, l.cfg.Requests, l.cfg.Queue)
	}
	defer l.waiting.Add(-1)
	timer := time.NewTimer(l.cfg.Wait)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: no free slot of %d after %v", ErrBusy, l.cfg.Requests, l.cfg.Wait)
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for one of %d slots: %w", ErrBusy, l.cfg.Requests, ctx.Err())
	}
}

func (l *limit) release() { <-l.slots }
