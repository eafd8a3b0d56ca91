package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// RetryConfig configures Retry.
type RetryConfig struct {
	// MaxBytes is the size limit of an object; a larger one is ErrTooLarge. 0 means 32 MiB.
	MaxBytes int64
	// Stall is how long the first try may wait for the answer, or for the next bytes
	// of its body, before it is abandoned for the second: a new connection often
	// works where an old one stalls. 0 means half of the time left in ctx, or 2.5 s
	// if ctx has no deadline; negative disables it. The second try may take until
	// ctx is done.
	Stall time.Duration
	// Pause is the average wait before the second try, jittered from half to one and
	// a half of it so that many callers do not retry together. 0 means 50 ms.
	Pause time.Duration
}

// Retry returns a Source that tries once more if src returns ErrUnavailable. Other
// errors (not found, busy, …) would be the same on a second try.
//
// Most faults of an origin come after its headers: a truncated body, a body that
// stalls, a checksum mismatch. Bytes that a reader already has cannot be taken back,
// so Open reads the whole object before it returns; the Object is in memory
// (Object.Whole). There are at most two tries, and none starts after ctx is done.
// Retry bounds the wait for the next byte; wrap it in Deadline to bound the total time.
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
	return tryTwice(ctx, r, func(ctx context.Context, src Source) (*Object, error) {
		o, err := ReadAll(ctx, src, name, cond, r.cfg.MaxBytes)
		if err != nil {
			return nil, err
		}
		obj := NewWhole(o.Body)
		obj.Metadata = o.Metadata
		return obj, nil
	})
}

// Head implements Source. It is retried as Open is.
func (r *retry) Head(ctx context.Context, name string) (Metadata, error) {
	return tryTwice(ctx, r, func(ctx context.Context, src Source) (Metadata, error) { return src.Head(ctx, name) })
}

// tryTwice calls try, and once more after a pause if the origin was unavailable.
func tryTwice[T any](ctx context.Context, r *retry, try func(context.Context, Source) (T, error)) (got T, err error) {
	got, err = firstTry(ctx, r, try)
	if err == nil || ctx.Err() != nil || !errors.Is(err, ErrUnavailable) {
		return got, err
	}
	if !pause(ctx, r.cfg.Pause/2+rand.N(r.cfg.Pause)) {
		return got, err
	}
	got, second := try(ctx, r.src)
	if second != nil {
		return got, fmt.Errorf("%w (second try; first: %v)", second, err)
	}
	return got, nil
}

var errStalled = errors.New("stalled")

// firstTry calls try and cancels it if nothing arrives for the stall time.
func firstTry[T any](ctx context.Context, r *retry, try func(context.Context, Source) (T, error)) (got T, err error) {
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
		return got, fmt.Errorf("%w: stalled for %v: %w", ErrUnavailable, stall, context.DeadlineExceeded)
	}
	return got, err
}

// watchdog is a Source that resets its timer whenever the headers or bytes of the
// body arrive.
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

// pause waits for d and reports true. If ctx ends before that, or its deadline will,
// it reports false without waiting further.
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
