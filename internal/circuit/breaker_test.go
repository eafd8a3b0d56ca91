package circuit

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// call makes one call and reports whether the breaker allowed it.
func call(b *Breaker, result Result) bool {
	done, err := b.Allow()
	if err == nil {
		done(result)
	}
	return err == nil
}

func TestBreaker_Allow_OpensOnConsecutiveFailuresAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states []State
		b := New(Config{Name: "x", Changed: func(name string, to State) {
			if name != "x" {
				t.Errorf("name %q", name)
			}
			states = append(states, to)
		}})
		for _, r := range []Result{
			Failure, Failure, Failure, Failure, Success, Ignored, Failure, Failure, Ignored, Failure, Failure,
		} {
			call(b, r)
		}
		if b.State() != Closed {
			t.Fatalf("%v after 4 failures in a row", b.State())
		}
		call(b, Failure)
		if b.State() != Open || call(b, Success) {
			t.Fatalf("%v after 5 failures in a row", b.State())
		}
		time.Sleep(2*time.Second + 1)
		if !call(b, Failure) || b.State() != Open {
			t.Fatalf("%v after a failed probe", b.State())
		}
		time.Sleep(2*time.Second + 1)
		probe, err := b.Allow()
		if err != nil || call(b, Success) {
			t.Fatalf("%v, or a second probe at once", err)
		}
		probe(Ignored) // frees the slot of the probe
		if !call(b, Success) || b.State() != Closed {
			t.Fatalf("%v after a probe", b.State())
		}
		if want := []State{Open, HalfOpen, Open, HalfOpen, Closed}; !slices.Equal(states, want) {
			t.Errorf("states %v, want %v", states, want)
		}
	})
}

func TestBreaker_Allow_OpensOnFailureRateWithinWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Config{Failures: -1})
		for range 19 {
			call(b, Failure)
		}
		time.Sleep(11 * time.Second) // outside the window
		for range 10 {
			call(b, Success)
		}
		for i := range 10 {
			if b.State() != Closed {
				t.Fatalf("open after %d failures of %d calls", i, 10+i)
			}
			call(b, Failure)
		}
		if b.State() != Open {
			t.Errorf("%v after 10 failures of 20 calls", b.State())
		}
	})
}
