package server

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// stops records in which order the parts of a group stop.
type stops []string

// part returns a part that takes a while to stop after its context is done.
func (s *stops) part(name string, takes time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		time.Sleep(takes)
		*s = append(*s, name)
		return nil
	}
}

// group returns a group whose parts stop at different times in fake time, so that appends
// to s do not race.
func (s *stops) group() runGroup {
	return runGroup{
		public:  s.part("public", 2*time.Second),
		private: s.part("private", time.Second),
		warming: []func(context.Context) error{s.part("warming", 5*time.Second)},
		base:    []func(context.Context) error{s.part("base", time.Second)},
		drain:   func() { *s = append(*s, "drain") },
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
		if want := (stops{"drain", "public", "private", "warming", "base"}); !slices.Equal(s, want) {
			t.Errorf("stopped in the order %v, want %v", s, want)
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
				if len(s) == 0 || s[0] != "drain" || s[len(s)-1] != "base" {
					t.Errorf("stopped in the order %v, want drain first and base last", s)
				}
			})
		})
	}
}
