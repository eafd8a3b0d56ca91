package origin

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// LimitConfig says how much at once Limit lets through.
type LimitConfig struct {
	// Requests is how many objects may be open at once. 0 is 64.
	Requests int
	// Queue is how many callers may wait for one of them to be closed. 0 is four
	// times Requests; negative: none.
	Queue int
	// Wait is how long a caller waits at most. 0 is 1 s.
	Wait time.Duration
}

// Limit returns a Source that has only so many of src's objects open at once, so that
// a slow origin does not collect every request of the tier. Others wait in order of
// their arrival; Open returns ErrBusy at once when the queue is full, and when Wait or
// ctx has ended in it (then wrapping ctx's error too). An object counts until its Body
// is closed; one that is in memory (Object.Whole) no longer does.
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
	slots   chan struct{} // holds one for each open object
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

// Head takes the same slots as Open, until it returns.
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
		return fmt.Errorf("%w: %d are open and %d wait", ErrBusy, l.cfg.Requests, l.cfg.Queue)
	}
	defer l.waiting.Add(-1)
	timer := time.NewTimer(l.cfg.Wait)
	defer timer.Stop()
	select {
	case l.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: waited %v for one of %d", ErrBusy, l.cfg.Wait, l.cfg.Requests)
	case <-ctx.Done():
		return fmt.Errorf("%w: waited for one of %d: %w", ErrBusy, l.cfg.Requests, ctx.Err())
	}
}

func (l *limit) release() { <-l.slots }
