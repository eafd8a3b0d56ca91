package loader_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/loader"
)

type user struct{ id, name string }

// service is a fake service: each call takes the latency, and is recorded with its time.
type service struct {
	latency time.Duration
	refuse  func(ids []string) error

	mu    sync.Mutex
	calls [][]string
	at    []time.Time
}

func (s *service) fetch(ctx context.Context, ids []string) ([]user, error) {
	s.mu.Lock()
	s.calls, s.at = append(s.calls, slices.Clone(ids)), append(s.at, time.Now())
	s.mu.Unlock()
	select {
	case <-time.After(s.latency):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.refuse != nil {
		if err := s.refuse(ids); err != nil {
			return nil, err
		}
	}
	var users []user
	for _, id := range slices.Backward(ids) { // any order is right
		if id != "unknown" {
			users = append(users, user{id, "name of " + id})
		}
	}
	return users, nil
}

func (s *service) loader(cfg loader.Config[user]) *loader.Loader[user] {
	cfg.Fetch, cfg.ID = s.fetch, func(u *user) string { return u.id }
	return loader.New(cfg)
}

func names(users []user) (all []string) {
	for _, u := range users {
		all = append(all, u.name)
	}
	return all
}

// together calls each and waits for all.
func together(calls ...func()) {
	var wg sync.WaitGroup
	for _, call := range calls {
		wg.Go(call)
	}
	wg.Wait()
}

// A call starts at once when the service is idle, and otherwise after at most 10 ms, together with
// the ids of other requests.
func TestLoader_Load_Window(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 100 * time.Millisecond}
		l := s.loader(loader.Config[user]{Window: time.Hour})
		start := time.Now()
		load := func(after time.Duration, ids ...string) func() {
			return func() {
				time.Sleep(after)
				got, err := l.Load(t.Context(), ids)
				if want := (&service{}).known(ids); err != nil || !slices.Equal(names(got), want) {
					t.Errorf("Load(%q) = %q, %v, want %q", ids, names(got), err, want)
				}
			}
		}
		together(
			load(0, "a"),
			load(1*time.Millisecond, "b", "unknown"),
			load(10*time.Millisecond, "c"),
			load(12*time.Millisecond, "d"),
		)
		want := [][]string{{"a"}, {"b", "unknown", "c"}, {"d"}}
		if !slices.EqualFunc(s.calls, want, slices.Equal[[]string]) {
			t.Fatalf("calls %q, want %q", s.calls, want)
		}
		for i, at := range []time.Duration{0, 11 * time.Millisecond, 22 * time.Millisecond} {
			if got := s.at[i].Sub(start); got != at {
				t.Errorf("call %d after %v, want %v", i, got, at)
			}
		}
	})
}

func (s *service) known(ids []string) (all []string) {
	for _, id := range ids {
		if id != "unknown" {
			all = append(all, "name of "+id)
		}
	}
	return all
}

func TestLoader_Load_StartsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 3 * time.Millisecond}
		l := s.loader(loader.Config[user]{})
		start := time.Now()
		together(func() { l.Load(t.Context(), []string{"a"}) }, func() {
			time.Sleep(time.Millisecond)
			l.Load(t.Context(), []string{"b"})
		})
		if took := time.Since(start); took != 6*time.Millisecond {
			t.Errorf("took %v, want 6 ms: b goes when a is back", took)
		}
	})
}

func TestLoader_Load_JoinsRunningCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 100 * time.Millisecond}
		l := s.loader(loader.Config[user]{})
		load := func(after time.Duration) func() {
			return func() {
				time.Sleep(after)
				got, err := l.Load(t.Context(), []string{"a", "a", "b", "a"})
				if err != nil || !slices.Equal(names(got), []string{"name of a", "name of b"}) {
					t.Errorf("got %q, %v", names(got), err)
				}
			}
		}
		together(load(0), load(50*time.Millisecond), load(99*time.Millisecond))
		if len(s.calls) != 1 || !slices.Equal(s.calls[0], []string{"a", "b"}) {
			t.Errorf("calls %q, want one of a and b", s.calls)
		}
		load(0)()
		if len(s.calls) != 2 {
			t.Errorf("%d calls, want 2: nothing is kept", len(s.calls))
		}
	})
}

func TestLoader_Load_MaxBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: time.Second}
		l := s.loader(loader.Config[user]{MaxBatch: 3})
		start := time.Now()
		got, err := l.Load(t.Context(), []string{"a", "b", "c", "d", "e", "f", "g"})
		if err != nil || len(got) != 7 || time.Since(start) != time.Second {
			t.Errorf("%d users, %v, after %v", len(got), err, time.Since(start))
		}
		var sizes []int
		for _, call := range s.calls {
			sizes = append(sizes, len(call))
		}
		slices.Sort(sizes)
		if !slices.Equal(sizes, []int{1, 3, 3}) {
			t.Errorf("batches of %d", sizes)
		}
	})
}

func TestLoader_Load_CancelledCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 100 * time.Millisecond}
		l := s.loader(loader.Config[user]{})
		impatient, leave := context.WithCancel(t.Context())
		together(func() {
			if _, err := l.Load(impatient, []string{"a", "b"}); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller that left: error %v", err)
			}
		}, func() {
			time.Sleep(time.Millisecond)
			if got, err := l.Load(t.Context(), []string{"b"}); err != nil || len(got) != 1 {
				t.Errorf("the caller that stayed: %v, %v", got, err)
			}
		}, func() {
			time.Sleep(50 * time.Millisecond)
			leave()
		})
		if _, err := l.Load(impatient, []string{"c"}); !errors.Is(err, context.Canceled) || len(s.calls) != 1 {
			t.Errorf("a caller that has left before its call: error %v, %d calls", err, len(s.calls))
		}
	})
}

func TestLoader_Load_Divides(t *testing.T) {
	errBad := errors.New("bad id")
	for name, refuse := range map[string]func(ids []string) error{
		"panics":     func(ids []string) error { return badOne(ids, func() error { panic("boom") }) },
		"is refused": func(ids []string) error { return badOne(ids, func() error { return errBad }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{latency: 100 * time.Millisecond, refuse: refuse}
				l := s.loader(loader.Config[user]{Divisible: func(err error) bool { return errors.Is(err, errBad) }})
				load := func(ids ...string) func() {
					return func() {
						got, err := l.Load(t.Context(), ids)
						var of loader.Errors
						if !slices.Contains(ids, "bad") {
							if err != nil || len(got) != len(ids) {
								t.Errorf("Load(%q) = %q, %v", ids, names(got), err)
							}
						} else if !errors.As(err, &of) || len(of) != 1 || of["bad"] == nil || len(got) != len(ids)-1 {
							t.Errorf("Load(%q) = %q, %v", ids, names(got), err)
						}
					}
				}
				together(load("a"), func() {
					time.Sleep(time.Millisecond) // while that call runs, all others are collected
					together(load("b", "c"), load("d", "bad", "e"), load("f"), load("bad"))
				})
			})
		})
	}
}

func badOne(ids []string, do func() error) error {
	if slices.Contains(ids, "bad") {
		return do()
	}
	return nil
}

func TestLoader_Load_ErrorsPerID(t *testing.T) {
	errLost := errors.New("lost")
	l := loader.New(loader.Config[user]{
		ID: func(u *user) string { return u.id },
		Fetch: func(context.Context, []string) ([]user, error) {
			users := []user{{"a", "A"}, {"a", "another A"}, {"unasked", "?"}}
			return users, fmt.Errorf("some: %w", loader.Errors{"b": errLost})
		},
	})
	got, err := l.Load(t.Context(), []string{"a", "b", "c"})
	var of loader.Errors
	if len(got) != 1 || got[0].name != "A" || !errors.As(err, &of) || len(of) != 1 || !errors.Is(of["b"], errLost) {
		t.Errorf("got %v, %v: want a, the error of b, and that c is not known", got, err)
	}
}

func TestLoader_Load_IndivisibleError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errDown := errors.New("down")
		s := &service{refuse: func([]string) error { return errDown }}
		_, err := s.loader(loader.Config[user]{}).Load(t.Context(), []string{"a", "b", "c"})
		var of loader.Errors
		if !errors.As(err, &of) || len(of) != 3 || !errors.Is(err, errDown) || len(s.calls) != 1 {
			t.Errorf("%v after %d calls", err, len(s.calls))
		}
	})
}

func TestLoader_Load_StuckCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := make(chan struct{})
		var calls atomic.Int32
		l := loader.New(loader.Config[user]{
			ID: func(u *user) string { return u.id },
			Fetch: func(context.Context, []string) ([]user, error) {
				if calls.Add(1) == 1 {
					<-hang
				}
				return []user{{"a", "A"}}, nil
			},
		})
		start := time.Now()
		if _, err := l.Load(t.Context(), []string{"a"}); !errors.Is(err, context.DeadlineExceeded) ||
			time.Since(start) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if got, err := l.Load(t.Context(), []string{"a"}); err != nil || len(got) != 1 {
			t.Errorf("afterwards: %v, %v", got, err)
		}
		close(hang)
	})
}

func TestLoader_Forget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{latency: 100 * time.Millisecond}
		l := s.loader(loader.Config[user]{})
		together(func() { l.Load(t.Context(), []string{"a", "b"}) }, func() {
			time.Sleep(50 * time.Millisecond)
			l.Forget([]string{"a", "unknown"})
			l.Load(t.Context(), []string{"a", "b"})
		}, func() {
			time.Sleep(110 * time.Millisecond) // the first call is back: the second must still be there to join
			l.Load(t.Context(), []string{"a"})
		})
		if want := [][]string{{"a", "b"}, {"a"}}; !slices.EqualFunc(s.calls, want, slices.Equal[[]string]) {
			t.Fatalf("calls %q, want %q", s.calls, want)
		}
		if after := s.at[1].Sub(s.at[0]); after != 60*time.Millisecond {
			t.Errorf("the second after %v, want 60 ms: 50, and the window", after)
		}
	})
}
