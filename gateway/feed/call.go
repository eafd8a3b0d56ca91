package feed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// grace is what a service gets, beyond its time, to say itself that its time is over: it may
// have an answer to a part.
const grace = 100 * time.Millisecond

type answer[T any] struct {
	value T
	err   error
}

// limit is how long a call that begins now may take.
func (r *request) limit() time.Duration {
	return min(r.a.cfg.CallTimeout, time.Until(r.until))
}

// patience is how long to wait for a call that begins now.
func (r *request) patience(haveStale bool) time.Duration {
	if haveStale {
		return min(r.a.cfg.Patience, r.limit()+grace)
	}
	return r.limit() + grace
}

// guarded calls a service with a time of its own, which the caller's leaving does not cut
// short: others may wait for the same answer, and a cache keeps it. A panic is an error of
// this call. The error wraps one of the three of this package.
func guarded[T any](ctx context.Context, limit time.Duration, call func(context.Context) (T, error)) (value T, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", ErrUnavailable, p)
		}
	}()
	value, err = call(ctx)
	return value, named(err)
}

// wait starts a call and waits for its answer, for the caller to leave, or for the patience
// to end. The call ends by itself.
func wait[T any](ctx context.Context, patience time.Duration, start func(done chan<- answer[T])) (T, error) {
	done := make(chan answer[T], 1)
	go start(done)
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var none T
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return none, named(ctx.Err())
	case <-timer.C:
		return none, ErrTimeout
	}
}

// named makes an error one of the three of this package.
func named(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrTimeout), errors.Is(err, ErrUnavailable), errors.Is(err, ErrInvalid):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// left reports whether the caller has gone. One whose time is over may still take what there
// is.
func left(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
