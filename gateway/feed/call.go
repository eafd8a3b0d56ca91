package feed

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// grace is the extra time for a call to report its own timeout, possibly with a partial answer.
const grace = 100 * time.Millisecond

type answer[T any] struct {
	value T
	err   error
}

// limit returns the timeout of a call that starts now.
func (r *request) limit() time.Duration {
	return min(r.a.cfg.CallTimeout, time.Until(r.until))
}

// maxWait returns how long to wait for a call that starts now.
func (r *request) maxWait(haveStale bool) time.Duration {
	if haveStale {
		return min(r.a.cfg.StaleWait, r.limit()+grace)
	}
	return r.limit() + grace
}

// guarded calls a service with its own timeout, independent of the caller's context: others may wait
// for the same answer, and the cache stores it. It turns a panic into an error. The error wraps
// ErrTimeout, ErrUnavailable or ErrInvalid.
func guarded[T any](
	ctx context.Context,
	limit time.Duration,
	call func(context.Context) (T, error),
) (value T, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", ErrUnavailable, p)
		}
	}()
	value, err = call(ctx)
	return value, classify(err)
}

// wait starts a call and waits for its answer, at most for maxWait or until ctx ends. The call then
// continues in the background.
func wait[T any](ctx context.Context, maxWait time.Duration, start func(done chan<- answer[T])) (T, error) {
	done := make(chan answer[T], 1)
	go start(done)
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	var none T
	select {
	case got := <-done:
		return got.value, got.err
	case <-ctx.Done():
		return none, classify(ctx.Err())
	case <-timer.C:
		return none, ErrTimeout
	}
}

// classify makes an error wrap ErrTimeout, ErrUnavailable or ErrInvalid.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, ErrTimeout), errors.Is(err, ErrUnavailable), errors.Is(err, ErrInvalid):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// canceled reports whether the caller has gone. A caller whose deadline has passed still gets the
// partial result.
func canceled(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }
