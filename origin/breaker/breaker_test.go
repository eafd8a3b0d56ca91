package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/breaker"
)

// fakeSource is a Source that calls do and counts its calls.
type fakeSource struct {
	do    func(ctx context.Context) (*origin.Object, error)
	calls int
}

func (s *fakeSource) Open(ctx context.Context, _ string, _ origin.Cond) (*origin.Object, error) {
	s.calls++
	return s.do(ctx)
}

func (s *fakeSource) Head(ctx context.Context, _ string) (origin.Metadata, error) {
	s.calls++
	_, err := s.do(ctx)
	return origin.Metadata{}, err
}

func fails(err error) func(context.Context) (*origin.Object, error) {
	return func(context.Context) (*origin.Object, error) { return nil, fmt.Errorf("x: %w", err) }
}

func gives(r io.Reader) func(context.Context) (*origin.Object, error) {
	return func(context.Context) (*origin.Object, error) {
		return &origin.Object{Metadata: origin.Metadata{Size: -1}, Body: io.NopCloser(r)}, nil
	}
}

func works(ctx context.Context) (*origin.Object, error) { return gives(strings.NewReader("ok"))(ctx) }

func read(ctx context.Context, src origin.Source) error {
	_, err := origin.ReadAll(ctx, src, "a.jpg", origin.Cond{}, 100)
	return err
}

func TestBreaker_OpensProbesAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []string
		src := &fakeSource{do: fails(origin.ErrUnavailable)}
		b := breaker.New(
			src,
			circuit.Config{Changed: func(_ string, to circuit.State) { changes = append(changes, to.String()) }},
		)
		for i := range 10 {
			if b.State() != circuit.Closed {
				t.Fatalf("open after %d failures", i)
			}
			if err := read(t.Context(), b); errors.Is(err, circuit.ErrOpen) {
				t.Fatal(err)
			}
		}
		for range 100 {
			if err := read(t.Context(), b); !errors.Is(err, origin.ErrUnavailable) || !errors.Is(err, circuit.ErrOpen) {
				t.Fatalf("error %v", err)
			}
		}
		if src.calls != 10 || b.State() != circuit.Open {
			t.Fatalf("%d requests, %v", src.calls, b.State())
		}

		// Still down after the cooldown: one probe opens it again.
		time.Sleep(2*time.Second + 1)
		if b.State() != circuit.HalfOpen {
			t.Fatal(b.State())
		}
		for range 10 {
			_ = read(t.Context(), b)
		}
		if src.calls != 11 || b.State() != circuit.Open {
			t.Fatalf("%d requests, %v", src.calls, b.State())
		}

		// Up again: three successes in a row close it.
		time.Sleep(2*time.Second + 1)
		src.do = works
		for range 3 {
			if err := read(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		if b.State() != circuit.Closed {
			t.Fatal(b.State())
		}
		want := "[open half-open open half-open closed]"
		if got := fmt.Sprint(changes); got != want {
			t.Errorf("changes %s, want %s", got, want)
		}
	})
}

func TestBreaker_CountedFailures(t *testing.T) {
	unknown := errors.New("an error that is not a sentinel")
	for _, c := range []struct {
		name string
		do   func(ctx context.Context) (*origin.Object, error)
		want circuit.State
	}{
		{"good", works, circuit.Closed},
		{"in memory", func(context.Context) (*origin.Object, error) {
			return origin.NewWhole(nil), nil
		}, circuit.Closed},
		{"not found", fails(origin.ErrNotFound), circuit.Closed},
		{"changed", fails(origin.ErrChanged), circuit.Closed},
		{"not modified", fails(&origin.NotModified{}), circuit.Closed},
		{"denied", fails(origin.ErrDenied), circuit.Closed},
		{"rejected", fails(origin.ErrRejected), circuit.Closed},
		{"too large", fails(origin.ErrTooLarge), circuit.Closed},
		{"too large, counted", gives(strings.NewReader(strings.Repeat("x", 1000))), circuit.Closed},
		{"busy", fails(&origin.Busy{}), circuit.Closed},
		{"bad name", fails(origin.ErrName), circuit.Closed},
		{"unavailable", fails(origin.ErrUnavailable), circuit.Open},
		{"too slow", fails(fmt.Errorf("%w: %w", origin.ErrUnavailable, context.DeadlineExceeded)), circuit.Open},
		{"no sentinel", fails(unknown), circuit.Open},
		{"cut body", gives(iotest.ErrReader(origin.ErrUnavailable)), circuit.Open},
		{"no sentinel in the body", gives(iotest.ErrReader(unknown)), circuit.Open},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := breaker.New(&fakeSource{do: c.do}, circuit.Config{})
				for range 50 {
					_ = read(t.Context(), b)
				}
				if b.State() != c.want {
					t.Errorf("%v, want %v", b.State(), c.want)
				}
			})
		})
	}
}

func TestBreaker_IgnoresCancelledCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := func(ctx context.Context) (*origin.Object, error) { <-ctx.Done(); return nil, ctx.Err() }
		src := &fakeSource{do: waits}
		b := breaker.New(src, circuit.Config{})
		for range 30 {
			late, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if err := read(late, b); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			cancel()
			if err := read(late, b); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
		}
		if b.State() != circuit.Closed || src.calls != 30 {
			t.Errorf("%v, %d requests", b.State(), src.calls)
		}
		// They do not displace counted requests from the window either.
		src.do = fails(origin.ErrUnavailable)
		for range 10 {
			_ = read(t.Context(), b)
		}
		if b.State() != circuit.Open {
			t.Errorf("%v", b.State())
		}
	})
}

func TestBreaker_FailureRatioAndWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{}
		b := breaker.New(src, circuit.Config{})
		for i := range 1000 {
			src.do = works
			if i%5 > 2 { // two of five
				src.do = fails(origin.ErrUnavailable)
			}
			_ = read(t.Context(), b)
			if b.State() != circuit.Closed {
				t.Fatalf("open after %d", i)
			}
		}
		// Requests older than the window no longer count.
		time.Sleep(11 * time.Second)
		src.do = fails(origin.ErrUnavailable)
		for range 10 {
			_ = read(t.Context(), b)
		}
		if b.State() != circuit.Open {
			t.Errorf("%v: old successes count", b.State())
		}
	})
}

func TestBreaker_CountsPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{do: func(context.Context) (*origin.Object, error) { panic("bug") }}
		b := breaker.New(src, circuit.Config{Probes: 1})
		for range 10 {
			func() {
				defer func() { _ = recover() }()
				_ = read(t.Context(), b)
			}()
		}
		if b.State() != circuit.Open {
			t.Fatal(b.State())
		}
		time.Sleep(2*time.Second + 1)
		src.do = works
		if err := read(t.Context(), b); err != nil || b.State() != circuit.Closed {
			t.Errorf("error %v, %v", err, b.State())
		}
	})
}

func TestBreaker_OpenBodyHoldsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &fakeSource{do: fails(origin.ErrUnavailable)}
		b := breaker.New(src, circuit.Config{Probes: 1})
		for range 10 {
			_ = read(t.Context(), b)
		}
		time.Sleep(2*time.Second + 1)
		src.do = works
		obj, err := b.Open(t.Context(), "a.jpg", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Open(t.Context(), "b.jpg", origin.Cond{}); !errors.Is(err, circuit.ErrOpen) {
			t.Errorf("a second probe: error %v", err)
		}
		obj.Body.Close()
		obj.Body.Close()
		if b.State() != circuit.Closed {
			t.Error(b.State())
		}
	})
}

func TestBreaker_Head_OpensAndIsRefused(t *testing.T) {
	src := &fakeSource{do: fails(origin.ErrUnavailable)}
	b := breaker.New(src, circuit.Config{})
	for range 10 {
		_, _ = b.Head(t.Context(), "a.jpg")
	}
	if _, err := b.Head(t.Context(), "a.jpg"); !errors.Is(err, circuit.ErrOpen) || src.calls != 10 {
		t.Errorf("error %v after %d calls", err, src.calls)
	}
}
