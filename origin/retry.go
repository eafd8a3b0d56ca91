package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// RetryConfig says how Retry tries.
type RetryConfig struct {
	// MaxBytes is the most that is read of an object; more is ErrTooLarge. 0 is 32 MiB.
	MaxBytes int64
	// Stall is how long the first try may bring nothing (no answer, no next piece of
	// the body) before it is given up for the second: connections stall that a new one
	// cures. 0 is half of the time that ctx leaves, or 2.5 s where it has no deadline;
	// negative: never. The second try has until ctx is done.
	Stall time.Duration
	// Pause is how long to wait before the second try on average; the wait is drawn
	// from half to one and a half of it, so that many callers do not come back
	// together. 0 is 50 ms.
	Pause time.Duration
}

// Retry returns a Source that tries once more when src is ErrUnavailable: not when it
// says that there is nothing, that it is busy, or anything else that a second try
// would hear again.
//
// Most faults of an origin come after its headers: a cut body, a body that stalls, a
// checksum that differs. A reader that has had half of the bytes cannot be given
// others, so Open reads the object whole and tries again as a whole; the Object that
// it returns is in memory (Object.Whole). There are two tries and never more, and none
// begins when ctx is done. Retry bounds the wait for a next byte, not the time in all:
// that is Deadline's, around it.
func Retry(src Source, cfg RetryConfig) Source {
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 32 << 20
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 50 * time.Millisecond
	}
	return &retry{src, cfg}
}

type retry struct {
	src Source
	cfg RetryConfig
}

func (r *retry) Open(ctx context.Context, name string, cond Cond) (*Object, error) {
	return twice(ctx, r, func(ctx context.Context, src Source) (*Object, error) {
		o, err := ReadAll(ctx, src, name, cond, r.cfg.MaxBytes)
		if err != nil {
			return nil, err
		}
		obj := NewWhole(o.Body)
		obj.Metadata = o.Metadata
		return obj, nil
	})
}

// Head is tried again as Open is.
func (r *retry) Head(ctx context.Context, name string) (Metadata, error) {
	return twice(ctx, r, func(ctx context.Context, src Source) (Metadata, error) { return src.Head(ctx, name) })
}

// twice calls try, and once more after a pause if the origin was unavailable.
func twice[T any](ctx context.Context, r *retry, try func(context.Context, Source) (T, error)) (got T, err error) {
	got, err = first(ctx, r, try)
	if err == nil || ctx.Err() != nil || !errors.Is(err, ErrUnavailable) {
		return got, err
	}
	if !pause(ctx, r.cfg.Pause/2+rand.N(r.cfg.Pause)) {
		return got, err
	}
	got, second := try(ctx, r.src)
	if second != nil {
		return got, fmt.Errorf("%w (second try; the first: %v)", second, err)
	}
	return got, nil
}

var errStalled = errors.New("stalled")

// first is a try that is given up when nothing comes for a while.
func first[T any](ctx context.Context, r *retry, try func(context.Context, Source) (T, error)) (got T, err error) {
	stall := r.cfg.Stall
	if deadline, ok := ctx.Deadline(); stall == 0 && ok {
		stall = time.Until(deadline) / 2
	} else if stall == 0 {
		stall = 2500 * time.Millisecond
	}
	if stall <= 0 {
		return try(ctx, r.src)
	}
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := &watchdog{src: r.src, stall: stall}
	watch.timer = time.AfterFunc(stall, func() { cancel(errStalled) })
	defer watch.timer.Stop()
	got, err = try(watched, watch)
	if err != nil && ctx.Err() == nil && context.Cause(watched) == errStalled {
		return got, fmt.Errorf("%w: nothing came for %v: %w", ErrUnavailable, stall, context.DeadlineExceeded)
	}
	return got, err
}

// watchdog is a Source that sets its timer back whenever something comes.
type watchdog struct {
	src   Source
	timer *time.Timer
	stall time.Duration
}

func (w *watchdog) Open(ctx context.Context, name string, cond Cond) (*Object, error) {
	obj, err := w.src.Open(ctx, name, cond)
	w.timer.Reset(w.stall)
	if err == nil {
		if _, whole := obj.Whole(); !whole {
			obj.Body = watchedBody{obj.Body, w}
		}
	}
	return obj, err
}

func (w *watchdog) Head(ctx context.Context, name string) (Metadata, error) {
	return w.src.Head(ctx, name)
}

type watchedBody struct {
	io.ReadCloser
	w *watchdog
}

func (b watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.w.timer.Reset(b.w.stall)
	}
	return n, err
}

// pause waits for d, or reports at once that ctx would be done before or is.
func pause(ctx context.Context, d time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
