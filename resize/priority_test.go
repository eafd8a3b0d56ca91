package resize_test

import (
	"context"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func TestWithRaise(t *testing.T) {
	outer, raiseOuter := resize.WithRaise(resize.WithPriority(t.Context(), resize.PriorityWarm))
	ctx, raise := resize.WithRaise(outer)
	seen := resize.NumPriorities
	stop := resize.OnRaise(ctx, func(p resize.Priority) { seen = min(seen, p) })
	want := func(ctx context.Context, want resize.Priority, when string) {
		t.Helper()
		if got := resize.PriorityOf(ctx); got != want {
			t.Errorf("%s: priority %d, want %d", when, got, want)
		}
	}
	want(ctx, resize.PriorityWarm, "at first")
	raise(resize.PriorityPage)
	raise(resize.PriorityWarm) // lower
	want(ctx, resize.PriorityPage, "raised")
	want(outer, resize.PriorityWarm, "the context that it was derived from")
	if seen != resize.PriorityPage {
		t.Errorf("OnRaise saw %d, want a page's", seen)
	}
	if first := resize.FirstPriorityOf(ctx); first != resize.PriorityWarm {
		t.Errorf("first priority %d, want a warm job's", first)
	}
	raiseOuter(resize.PriorityLive)
	want(ctx, resize.PriorityLive, "derived from a context that was raised")
	if seen != resize.PriorityLive {
		t.Errorf("OnRaise saw %d, want a live one", seen)
	}
	stop()
}

func TestOnRaise_Stop(t *testing.T) {
	outer, raiseOuter := resize.WithRaise(resize.WithPriority(t.Context(), resize.PriorityWarm))
	ctx, raise := resize.WithRaise(outer)
	calls := 0
	stop := resize.OnRaise(ctx, func(resize.Priority) { calls++ })
	stop()
	before := calls
	raise(resize.PriorityPage)
	raiseOuter(resize.PriorityLive)
	if calls != before {
		t.Errorf("%d calls after stop", calls-before)
	}
}

// A context without a priority is live, and cannot be raised.
func TestOnRaise_Live(t *testing.T) {
	calls := 0
	resize.OnRaise(t.Context(), func(p resize.Priority) {
		if calls++; p != resize.PriorityLive {
			t.Errorf("priority %d, want live", p)
		}
	})()
	if calls != 1 {
		t.Errorf("%d calls, want 1", calls)
	}
}
