package origin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/origin"
)

// sourceFunc is a Source that calls a function.
type sourceFunc func(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error)

func (f sourceFunc) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	return f(ctx, name, cond)
}

func (f sourceFunc) Head(ctx context.Context, name string) (origin.Metadata, error) {
	obj, err := f(ctx, name, origin.Cond{})
	if err != nil {
		return origin.Metadata{}, err
	}
	return obj.Metadata, nil
}

// object returns an Object with the body r and a promised size.
func object(r io.Reader, size int64) *origin.Object {
	return &origin.Object{Metadata: origin.Metadata{Size: size, ETag: `"1"`}, Body: io.NopCloser(r)}
}

// hang is a Reader that blocks until ctx is done.
type hang struct{ ctx context.Context }

func (h hang) Read([]byte) (int, error) { <-h.ctx.Done(); return 0, h.ctx.Err() }

// trickle is a Reader that returns one byte at a time.
type trickle struct {
	ctx   context.Context
	every time.Duration
}

func (r trickle) Read(p []byte) (int, error) {
	select {
	case <-time.After(r.every):
		p[0] = 'x'
		return 1, nil
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
}

var errDown = fmt.Errorf("dial: %w", origin.ErrUnavailable)

// inTurn returns a Source whose nth call calls the nth function.
func inTurn(calls *atomic.Int64, f ...sourceFunc) origin.Source {
	return sourceFunc(func(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
		return f[calls.Add(1)-1](ctx, name, cond)
	})
}

func fails(err error) sourceFunc {
	return func(context.Context, string, origin.Cond) (*origin.Object, error) { return nil, err }
}

func gives(f func(ctx context.Context) *origin.Object) sourceFunc {
	return func(ctx context.Context, _ string, _ origin.Cond) (*origin.Object, error) { return f(ctx), nil }
}

func givesText(s string) sourceFunc {
	return gives(func(context.Context) *origin.Object { return object(strings.NewReader(s), int64(len(s))) })
}

func cut() sourceFunc {
	return gives(func(context.Context) *origin.Object { return object(strings.NewReader("ab"), 5) })
}

func TestDeadline_Open_EndsTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := origin.Deadline(gives(func(ctx context.Context) *origin.Object {
			return object(trickle{ctx, time.Second}, 1<<20)
		}), 5*time.Second)
		begun := time.Now()
		_, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 1<<20)
		if !errors.Is(err, origin.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("took %v, want 5s", took)
		}
	})
}

func TestDeadline_Open_KeepsOtherErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The caller's own deadline comes first.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		hangs := gives(func(ctx context.Context) *origin.Object { return object(hang{ctx}, 5) })
		_, err := origin.ReadAll(ctx, origin.Deadline(hangs, 5*time.Second), "x", origin.Cond{}, 9)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, origin.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		// A late answer of the source is still returned.
		late := sourceFunc(func(ctx context.Context, _ string, _ origin.Cond) (*origin.Object, error) {
			<-ctx.Done()
			return nil, origin.ErrNotFound
		})
		_, err = origin.Deadline(late, time.Second).Open(t.Context(), "x", origin.Cond{})
		if !errors.Is(err, origin.ErrNotFound) || errors.Is(err, origin.ErrUnavailable) {
			t.Errorf("error %v", err)
		}
		got, err := origin.ReadAll(t.Context(), origin.Deadline(givesText("hello"), 0), "x", origin.Cond{}, 9)
		if err != nil || string(got.Body) != "hello" {
			t.Errorf("got %q, %v", got.Body, err)
		}
	})
}

func TestLimit_Open_HoldsSlotUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open, most atomic.Int64
		src := origin.Limit(sourceFunc(func(context.Context, string, origin.Cond) (*origin.Object, error) {
			n := open.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			o := object(strings.NewReader(""), 0)
			o.Body = closeFunc{o.Body, func() { open.Add(-1) }}
			return o, nil
		}), origin.LimitConfig{Requests: 3, Queue: 100})
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				o, err := src.Open(t.Context(), "x", origin.Cond{})
				if err != nil {
					t.Error(err)
					return
				}
				time.Sleep(10 * time.Millisecond) // in the fake time of the bubble
				o.Body.Close()
				o.Body.Close() // has no effect
			})
		}
		wg.Wait()
		if most.Load() != 3 {
			t.Errorf("%d were open at once, want 3", most.Load())
		}
	})
}

type closeFunc struct {
	io.Reader
	f func()
}

func (c closeFunc) Close() error { c.f(); return nil }

func TestLimit_Open_Busy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := origin.Limit(givesText("hello"), origin.LimitConfig{Requests: 1, Queue: 1, Wait: time.Second})
		held, err := src.Open(t.Context(), "x", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		waiter := make(chan error)
		go func() { _, err := src.Open(t.Context(), "x", origin.Cond{}); waiter <- err }()
		synctest.Wait()
		begun := time.Now()
		if _, err := src.Open(t.Context(), "x", origin.Cond{}); !errors.Is(err, origin.ErrBusy) ||
			time.Since(begun) != 0 {
			t.Errorf("queue full: error %v after %v", err, time.Since(begun))
		}
		if err := <-waiter; !errors.Is(err, origin.ErrBusy) || time.Since(begun) != time.Second {
			t.Errorf("waiter: error %v after %v", err, time.Since(begun))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := src.Open(ctx, "x", origin.Cond{}); !errors.Is(err, origin.ErrBusy) ||
			!errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("caller with an earlier deadline: error %v", err)
		}
		held.Body.Close()
		if o, err := src.Open(t.Context(), "x", origin.Cond{}); err != nil {
			t.Errorf("slot not returned: %v", err)
		} else {
			o.Body.Close()
		}
	})
}

func TestLimit_Open_ReturnsSlotAfterFailure(t *testing.T) {
	panics := sourceFunc(func(context.Context, string, origin.Cond) (*origin.Object, error) { panic("bug") })
	whole := gives(func(context.Context) *origin.Object { return origin.NewWhole([]byte("hello")) })
	var calls atomic.Int64
	src := origin.Limit(
		inTurn(&calls, fails(errDown), panics, whole, givesText("x")),
		origin.LimitConfig{Requests: 1, Queue: -1},
	)
	for range 4 {
		func() {
			defer func() { _ = recover() }()
			_, err := src.Open(t.Context(), "x", origin.Cond{}) // never closed
			if errors.Is(err, origin.ErrBusy) {
				t.Error(err)
			}
		}()
	}
}

// fakeHead is a Source whose nth Head calls the nth function.
type fakeHead struct {
	origin.Source
	calls atomic.Int64
	do    []func(ctx context.Context) (origin.Metadata, error)
}

func (h *fakeHead) Head(ctx context.Context, _ string) (origin.Metadata, error) {
	return h.do[h.calls.Add(1)-1](ctx)
}

func headFails(err error) func(context.Context) (origin.Metadata, error) {
	return func(context.Context) (origin.Metadata, error) { return origin.Metadata{}, err }
}

func headOK(context.Context) (origin.Metadata, error) { return origin.Metadata{ETag: `"1"`}, nil }

func headHangs(ctx context.Context) (origin.Metadata, error) {
	<-ctx.Done()
	return origin.Metadata{}, ctx.Err()
}

func TestDeadline_Head_EndsWithErrUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := origin.Deadline(&fakeHead{do: []func(context.Context) (origin.Metadata, error){headHangs}}, time.Second)
		_, err := src.Head(t.Context(), "a")
		if !errors.Is(err, origin.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestLimit_Head_TakesASlotAndReturnsIt(t *testing.T) {
	src := &fakeHead{}
	limited := origin.Limit(src, origin.LimitConfig{Requests: 1, Queue: -1})
	src.do = []func(context.Context) (origin.Metadata, error){
		func(ctx context.Context) (origin.Metadata, error) { return limited.Head(ctx, "b") },
		headOK,
	}
	if _, err := limited.Head(t.Context(), "a"); !errors.Is(err, origin.ErrBusy) {
		t.Errorf("a second request at once: error %v, want ErrBusy", err)
	}
	if _, err := limited.Head(t.Context(), "a"); err != nil {
		t.Errorf("the slot was not returned: %v", err)
	}
}
