package origin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
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

func TestReadAll(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	for _, c := range []struct {
		name string
		body io.Reader
		size int64
		max  int64
		want []byte
		err  error
	}{
		{"whole", strings.NewReader("hello"), 5, 5, []byte("hello"), nil},
		{"whole, byte by byte", iotest.OneByteReader(strings.NewReader("hello")), 5, 5, []byte("hello"), nil},
		{"whole, the end with the last bytes",
			iotest.DataErrReader(strings.NewReader("hello")), 5, 5, []byte("hello"), nil},
		{"empty", strings.NewReader(""), 0, 5, []byte{}, nil},
		{"empty and nothing allowed", strings.NewReader(""), 0, 0, []byte{}, nil},
		{"of unknown size", strings.NewReader("hello"), -1, 5, []byte("hello"), nil},
		{"big", bytes.NewReader(big), int64(len(big)), 1 << 20, big, nil},
		{"big of unknown size", bytes.NewReader(big), -1, int64(len(big)), big, nil},
		{"cut", strings.NewReader("hell"), 5, 5, nil, origin.ErrUnavailable},
		{"cut at once", strings.NewReader(""), 5, 5, nil, origin.ErrUnavailable},
		{"big and cut", bytes.NewReader(big[1:]), int64(len(big)), 1 << 20, nil, origin.ErrUnavailable},
		{"too long for its promise", strings.NewReader("hello!"), 5, 99, nil, origin.ErrUnavailable},
		{"more than promised by one in a second read",
			iotest.OneByteReader(strings.NewReader("hello!")), 5, 99, nil, origin.ErrUnavailable},
		{"promised too large", strings.NewReader("hello"), 5, 4, nil, origin.ErrTooLarge},
		{"counted too large", strings.NewReader("hello"), -1, 4, nil, origin.ErrTooLarge},
		{"endless", endless{}, -1, 1 << 20, nil, origin.ErrTooLarge},
		{"failing", iotest.ErrReader(errors.New("reset")), 5, 5, nil, origin.ErrUnavailable},
		{"failing with a sentinel",
			iotest.ErrReader(fmt.Errorf("x: %w", origin.ErrDenied)), 5, 5, nil, origin.ErrDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			closed := 0
			src := gives(func(context.Context) *origin.Object {
				o := object(c.body, c.size)
				o.Body = closer{o.Body, &closed}
				return o
			})
			got, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, c.max)
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if !bytes.Equal(got.Body, c.want) {
				t.Errorf("got %d bytes, want %d", len(got.Body), len(c.want))
			}
			if err == nil && got.ETag != `"1"` {
				t.Errorf("entity tag %q is lost", got.ETag)
			}
			if closed != 1 {
				t.Errorf("body closed %d times", closed)
			}
		})
	}
}

type closer struct {
	io.Reader
	n *int
}

func (c closer) Close() error { *c.n++; return nil }

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestReadAll_DoesNotTrustPromisedSize(t *testing.T) {
	src := gives(func(context.Context) *origin.Object { return object(strings.NewReader("liar"), 64<<20) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 64<<20)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<20 {
		t.Errorf("%d bytes allocated for a body of 4", took)
	}
}

func TestReadAll_ChecksEntityTag(t *testing.T) {
	for _, etag := range []string{"", `"2"`, `W/"1"`, "1"} {
		src := gives(func(context.Context) *origin.Object {
			o := object(strings.NewReader(""), 0)
			o.ETag = etag
			return o
		})
		_, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{Match: "1"}, 9)
		if !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%s: error %v, want ErrChanged", etag, err)
		}
	}
}

func TestReadAll_ContextCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	src := gives(func(ctx context.Context) *origin.Object { cancel(); return object(hang{ctx}, 5) })
	_, err := origin.ReadAll(ctx, src, "x", origin.Cond{}, 9)
	if !errors.Is(err, context.Canceled) || errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("error %v, want context.Canceled only", err)
	}
}

func TestRetry_Open(t *testing.T) {
	never := fails(errors.New("never called"))
	down, good := fails(errDown), givesText("hello")
	busy := fails(&origin.Busy{})
	for _, c := range []struct {
		name  string
		turns []sourceFunc
		calls int64
		err   error // nil: "hello"
	}{
		{"good at once", []sourceFunc{good, never}, 1, nil},
		{"refused", []sourceFunc{down, good}, 2, nil},
		{"cut", []sourceFunc{cut(), good}, 2, nil},
		{"busy", []sourceFunc{busy, good}, 2, nil},
		{"three faults", []sourceFunc{down, cut(), busy, good}, 4, nil},
		{"four faults", []sourceFunc{down, down, cut(), down, never}, 4, origin.ErrUnavailable},
		{"always busy", []sourceFunc{busy, busy, busy, busy, never}, 4, origin.ErrBusy},
		{"refused, then gone", []sourceFunc{down, fails(origin.ErrNotFound), never}, 2, origin.ErrNotFound},
		{"not found", []sourceFunc{fails(origin.ErrNotFound), never}, 1, origin.ErrNotFound},
		{"no room here", []sourceFunc{fails(origin.ErrBusy), never}, 1, origin.ErrBusy},
		{"changed", []sourceFunc{fails(origin.ErrChanged), never}, 1, origin.ErrChanged},
		{"denied", []sourceFunc{fails(origin.ErrDenied), never}, 1, origin.ErrDenied},
		{"rejected", []sourceFunc{fails(origin.ErrRejected), never}, 1, origin.ErrRejected},
		{"too large", []sourceFunc{givesText("hello world, this is long"), never}, 1, origin.ErrTooLarge},
		{"not modified", []sourceFunc{fails(&origin.NotModified{}), never}, 1, origin.ErrNotModified},
		{"no sentinel", []sourceFunc{fails(io.ErrUnexpectedEOF), never}, 1, io.ErrUnexpectedEOF},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				src := origin.Retry(inTurn(&calls, c.turns...), origin.RetryConfig{MaxBytes: 10})
				begun := time.Now()
				got, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 10)
				if !errors.Is(err, c.err) ||
					c.err == nil && (err != nil || string(got.Body) != "hello" || got.ETag != `"1"`) {
					t.Errorf("got %q, error %v, want %v", got.Body, err, c.err)
				}
				if calls.Load() != c.calls {
					t.Errorf("%d tries, want %d", calls.Load(), c.calls)
				}
				pauses := (time.Duration(1)<<(c.calls-1) - 1) * 50 * time.Millisecond // 0, 50, 150, 350 ms on average
				if took := time.Since(begun); took < pauses/2 || took > pauses*3/2 {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A steady body of three seconds is within a deadline of five, and is requested once.
func TestRetry_Open_SlowTryIsNotCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, slow := range []time.Duration{3 * time.Second, 4900 * time.Millisecond} {
			var calls atomic.Int64
			src := origin.Retry(inTurn(&calls, gives(func(context.Context) *origin.Object {
				time.Sleep(slow)
				return object(strings.NewReader("hello"), 5)
			})), origin.RetryConfig{})
			_, err := origin.Deadline(src, 5*time.Second).Open(t.Context(), "x", origin.Cond{})
			if err != nil || calls.Load() != 1 {
				t.Errorf("%v: error %v after %d tries", slow, err, calls.Load())
			}
		}
	})
}

func TestRetry_Open_RetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			after, took time.Duration
			calls       int64
		}{
			{2 * time.Second, 2 * time.Second, 2},
			{7 * time.Second, 0, 1}, // after the deadline, so the retry does not wait
		} {
			var calls atomic.Int64
			busy := fails(&origin.Busy{RetryAfter: c.after})
			src := origin.Retry(inTurn(&calls, busy, givesText("hello")), origin.RetryConfig{})
			begun := time.Now()
			_, err := origin.Deadline(src, 5*time.Second).Open(t.Context(), "x", origin.Cond{})
			took := time.Since(begun)
			late := took < c.took || took > c.took+50*time.Millisecond
			if (err == nil) != (c.calls == 2) || calls.Load() != c.calls || late {
				t.Errorf("%v: error %v after %d tries and %v", c.after, err, calls.Load(), took)
			}
		}
	})
}

// faultySource is a Source that fails a part of its requests with each of three faults in turn.
func faultySource(calls *atomic.Int64, part float64) origin.Source {
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	return sourceFunc(func(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
		n := calls.Add(1)
		mu.Lock()
		fault := random.Float64() < part
		mu.Unlock()
		switch {
		case !fault:
			time.Sleep(20 * time.Millisecond)
			return object(strings.NewReader("hello"), 5), nil
		case n%3 == 0:
			return nil, &origin.Busy{}
		case n%3 == 1:
			return cut()(ctx, name, cond)
		}
		return nil, errDown
	})
}

// requestAll requests n objects, a number of them at once, and returns how many failed.
func requestAll(t *testing.T, src origin.Source, n, atOnce int) (failed int64) {
	var failures atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for range n / atOnce {
				if _, err := src.Open(t.Context(), "x", origin.Cond{}); err != nil {
					failures.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return failures.Load()
}

func TestRetry_Open_ThirtyPercentFaults(t *testing.T) {
	for _, atOnce := range []int{1, 64} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			src := origin.Retry(faultySource(&calls, 0.3), origin.RetryConfig{})
			const n = 64 * 200
			if failed := requestAll(t, src, n, atOnce); failed > n/100 {
				t.Errorf("%d at once: %d of %d requests failed, at most 1 %% may", atOnce, failed, n)
			}
		})
	}
}

// For any share of failing requests, retries at most double the number of requests.
func TestRetry_Open_BoundsLoad(t *testing.T) {
	for _, part := range []float64{0.5, 0.7, 0.9, 1} {
		synctest.Test(t, func(t *testing.T) {
			var calls atomic.Int64
			src := origin.Retry(faultySource(&calls, part), origin.RetryConfig{})
			const n = 1000
			requestAll(t, src, n, 10)
			if calls.Load() > 2*n+10 {
				t.Errorf("%g of requests fail: %d requests to the origin for %d", part, calls.Load(), n)
			}
			if part == 1 && calls.Load() > n+10 {
				t.Errorf("down: %d requests to the origin for %d", calls.Load(), n)
			}
		})
	}
}

func TestRetry_Open_OnlyAnswersEarnRetries(t *testing.T) {
	for _, c := range []struct {
		err   error // nil: "hello"
		tries int
	}{
		{nil, 2}, {origin.ErrNotFound, 2},
		{context.DeadlineExceeded, 1}, {context.Canceled, 1}, {origin.ErrBusy, 1}, {origin.ErrName, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries, err := 0, errDown
			src := origin.Retry(sourceFunc(func(context.Context, string, origin.Cond) (*origin.Object, error) {
				if tries++; err != nil {
					return nil, err
				}
				return object(strings.NewReader("hello"), 5), nil
			}), origin.RetryConfig{})
			open := func() { _, _ = src.Open(t.Context(), "x", origin.Cond{}) }
			for range 10 { // uses up the budget
				open()
			}
			err = c.err
			open()
			tries, err = 0, errDown
			if open(); tries != c.tries {
				t.Errorf("%d tries after %v, want %d", tries, c.err, c.tries)
			}
		})
	}
}

func TestRetry_Open_ContextDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		left := func(context.Context, string, origin.Cond) (*origin.Object, error) { cancel(); return nil, errDown }
		source := origin.Retry(inTurn(&calls, left), origin.RetryConfig{})
		if _, err := source.Open(ctx, "x", origin.Cond{}); err == nil {
			t.Error("no error")
		}
		// If the deadline is before the end of the pause, there is no second attempt either.
		calls.Store(0)
		short, cancel2 := context.WithTimeout(t.Context(), 40*time.Millisecond)
		defer cancel2()
		begun := time.Now()
		_, err := origin.Retry(inTurn(&calls, fails(errDown)), origin.RetryConfig{Pause: time.Second}).
			Open(short, "x", origin.Cond{})
		if !errors.Is(err, origin.ErrUnavailable) || time.Since(begun) != 0 {
			t.Errorf("error %v after %v", err, time.Since(begun))
		}
	})
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

func TestNewWhole_ReadAllDoesNotCopy(t *testing.T) {
	body := []byte("hello")
	src := origin.Limit(origin.Deadline(origin.Retry(gives(func(context.Context) *origin.Object {
		return origin.NewWhole(body)
	}), origin.RetryConfig{}), 0), origin.LimitConfig{})
	got, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 5)
	if err != nil || &got.Body[0] != &body[0] {
		t.Errorf("copied, or error %v", err)
	}
	if _, err := origin.ReadAll(t.Context(), src, "x", origin.Cond{}, 4); !errors.Is(err, origin.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestETag_Compare(t *testing.T) {
	for _, c := range []struct {
		match, etag string
		ok          bool
	}{
		{"", "", true}, {"", `W/"x"`, true},
		{"a", `"a"`, true}, {"a-2", `"a-2"`, true}, {"W/", `"W/"`, true}, {"\xff", "\"\xff\"", true},
		{"a", `"b"`, false}, {"a", "", false}, {"a", `W/"a"`, false}, {"a", "a", false}, {"a", `"A"`, false},
		{`a"`, `"a""`, false}, {"a b", `"a b"`, false}, {"a\r\nx", "\"a\r\nx\"", false},
	} {
		if err := (origin.Cond{Match: c.match}).CheckETag(c.etag); (err == nil) != c.ok ||
			err != nil && !errors.Is(err, origin.ErrChanged) {
			t.Errorf("%q against %s: %v", c.match, c.etag, err)
		}
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{`"a"`, `"a"`, true}, {`W/"a"`, `"a"`, true}, {`"a"`, `W/"a"`, true},
		{`W/"a"`, `W/"a"`, true}, {`""`, `""`, true},
		{"", "", false}, {"a", "a", false}, {`"a"`, `"b"`, false}, {`w/"a"`, `w/"a"`, false}, {`"`, `"`, false},
	} {
		if origin.SameETag(c.a, c.b) != c.same {
			t.Errorf("%s and %s: %v", c.a, c.b, !c.same)
		}
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

func TestRetry_Head(t *testing.T) {
	type try = func(context.Context) (origin.Metadata, error)
	for _, c := range []struct {
		name  string
		do    []try
		calls int64
		err   error
	}{
		{"at once", []try{headOK}, 1, nil},
		{"after a failure", []try{headFails(errDown), headOK}, 2, nil},
		{"after three failures", []try{headFails(errDown), headFails(errDown), headFails(errDown), headOK}, 4, nil},
		{"not found", []try{headFails(origin.ErrNotFound)}, 1, origin.ErrNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src := &fakeHead{do: c.do}
				meta, err := origin.Retry(src, origin.RetryConfig{}).Head(t.Context(), "a")
				if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || src.calls.Load() != c.calls {
					t.Errorf("%d calls, error %v; want %d, %v", src.calls.Load(), err, c.calls, c.err)
				}
				if err == nil && meta.ETag != `"1"` {
					t.Errorf("got %+v", meta)
				}
			})
		})
	}
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
