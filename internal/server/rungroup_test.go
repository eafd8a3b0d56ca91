package server

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// stops records in which order the parts of a group stop.
type stops struct {
	mu    sync.Mutex
	names []string // guarded by mu
}

func (s *stops) add(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = append(s.names, name)
}

func (s *stops) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.names)
}

// part returns a part that takes a while to stop after its context is done.
func (s *stops) part(name string, takes time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(takes)
		s.add(name)
		return nil
	}
}

// group returns a group whose parts stop at different times in fake time.
func (s *stops) group() runGroup {
	return runGroup{
		public:  s.part("public", 2*time.Second),
		private: s.part("private", time.Second),
		warming: []func(context.Context) error{s.part("warming", 5*time.Second)},
		base:    []func(context.Context) error{s.part("base", time.Second)},
		drain:   func() { s.add("drain") },
	}
}

func TestRunGroup_Run_StopsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stops
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.group().run(ctx); err != nil {
			t.Error(err)
		}
		got, want := s.list(), []string{"drain", "public", "private", "warming", "base"}
		if !slices.Equal(got, want) {
			t.Errorf("stopped in the order %v, want %v", got, want)
		}
	})
}

func TestRunGroup_Run_FailureStopsAll(t *testing.T) {
	broken := errors.New("disk failed")
	fail := func(context.Context) error {
		time.Sleep(time.Second)
		return broken
	}
	for name, replace := range map[string]func(*runGroup){
		"warming": func(g *runGroup) { g.warming = append(g.warming, fail) },
		"base":    func(g *runGroup) { g.base = append(g.base, fail) },
		"private": func(g *runGroup) { g.private = fail },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s stops
				g := s.group()
				replace(&g)
				if err := g.run(t.Context()); !errors.Is(err, broken) {
					t.Errorf("run returned %v, want %v", err, broken)
				}
				got := s.list()
				if len(got) == 0 || got[0] != "drain" || got[len(got)-1] != "base" {
					t.Errorf("stopped in the order %v, want drain first and base last", got)
				}
			})
		})
	}
}
