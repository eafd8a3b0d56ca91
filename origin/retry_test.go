package origin_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/origin"
)

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
