package inflight

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func hold(t *testing.T, b *Budget, n int64) *Hold {
	t.Helper()
	h := b.Hold()
	if err := Grow(With(t.Context(), h), n); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestGrow_WaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		first := hold(t, b, 80)
		go func() {
			time.Sleep(time.Second)
			first.Release()
			first.Release() // has no effect
		}()
		hold(t, b, 90).Release()
		time.Sleep(time.Second) // collect ends
		if s := b.Stats(); s.Waits != 1 || s.Refusals != 0 || s.Bytes != 0 {
			t.Errorf("%+v, want one wait and nothing in flight", s)
		}
	})
}

func TestGrow_RefusesAfterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		first := hold(t, b, 80)
		defer first.Release()
		start := time.Now()
		second := b.Hold()
		if err := Grow(With(t.Context(), second), 30); !errors.Is(err, ErrFull) {
			t.Errorf("%v, want ErrFull", err)
		}
		if waited := time.Since(start); waited != maxWait {
			t.Errorf("waited %v, want %v", waited, maxWait)
		}
		if s := b.Stats(); s.Refusals != 1 || s.Bytes != 80 {
			t.Errorf("%+v, want one refusal and 80 bytes", s)
		}
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if err := Grow(With(ctx, second), 30); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the caller's own error", err)
		}
		time.Sleep(time.Second) // collect ends
	})
}

func TestGrow_CountsOneBodyOnce(t *testing.T) {
	b := New(100)
	h := hold(t, b, 10)
	ctx := With(t.Context(), h)
	for _, n := range []int64{40, 40, 20, 1000} { // a second try, a shorter one, and more than there is
		if err := Grow(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	if n := b.Stats().Bytes; n != 100 {
		t.Errorf("%d bytes in flight, want 100", n)
	}
	h.Release()
	if n := b.Stats().Bytes; n != 0 {
		t.Errorf("%d bytes in flight, want 0", n)
	}
	var none *Budget
	if err := Grow(With(t.Context(), none.Hold()), 1<<40); err != nil {
		t.Errorf("without a budget: %v", err)
	}
}

// Slow clients hold at most half of the budget.
func TestHold_Answer_LeavesRoomForFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		sent := b.Hold()
		if err := errors.Join(sent.Answer(t.Context()), Grow(With(t.Context(), sent), 50)); err != nil {
			t.Fatal(err)
		}
		fetched := hold(t, b, 10)
		if err := fetched.Answer(t.Context()); !errors.Is(err, ErrFull) {
			t.Errorf("%v, want ErrFull", err)
		}
		fetched.Release()
		hold(t, b, 50).Release()
		time.Sleep(time.Second) // collect ends
		runtime.KeepAlive(sent)
	})
}

// Many short waits must not run the garbage collector more often than every 100 ms.
func TestGrow_CollectsOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(100)
		var collections atomic.Int64
		b.gc = func() { collections.Add(1) }
		sent := hold(t, b, 10)
		if err := sent.Answer(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		for range 100 {
			first := hold(t, b, 80)
			time.AfterFunc(10*time.Millisecond, first.Release)
			hold(t, b, 90).Release()
		}
		took := time.Since(began)
		if n, most := collections.Load(), int64(took/(100*time.Millisecond))+1; n == 0 || n > most {
			t.Errorf("%d collections in %v, want at most %d", n, took, most)
		}
		time.Sleep(time.Second) // collect ends
		runtime.KeepAlive(sent)
	})
}

// An answer has no last reader that would release it: the garbage collector finds out.
func TestHold_Answer_EndsWithLastReader(t *testing.T) {
	b := New(100)
	sent := hold(t, b, 50)
	if err := sent.Answer(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent.Release()
	if n := b.Stats().Bytes; n != 50 {
		t.Errorf("%d bytes in flight while there is a reader, want 50", n)
	}
	runtime.KeepAlive(sent)
	hold(t, b, 100).Release() // waits, and lets the garbage collector run
	if n := b.Stats().Bytes; n != 0 {
		t.Errorf("%d bytes in flight, want 0", n)
	}
}

func TestBudget_GivesMemoryBackWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(64 << 20)
		var collections atomic.Int64
		b.gc = func() { collections.Add(1) }
		hold(t, b, 1<<20).Release()
		time.Sleep(2 * idleTime)
		synctest.Wait()
		if n := collections.Load(); n != 0 {
			t.Errorf("%d collections for one small original, want 0", n)
		}
		for range 3 {
			hold(t, b, 40<<20).Release()
			time.Sleep(idleTime / 2)
		}
		time.Sleep(2 * idleTime)
		synctest.Wait()
		if n := collections.Load(); n != 1 {
			t.Errorf("%d collections, want 1", n)
		}
	})
}
