package feed_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

// bubble runs a test with a gateway in a synctest bubble, and waits until background calls have
// ended.
func bubble(t *testing.T, test func(t *testing.T, g *gateway)) {
	synctest.Test(t, func(t *testing.T) {
		test(t, newGateway(t))
		time.Sleep(2 * time.Minute)
	})
}

// frozen is longer than any call may take.
const frozen = time.Hour

// Only a failed feed call is fatal.
func TestAssembler_Page_Partial(t *testing.T) {
	errDown := fmt.Errorf("breaker: %w", feed.ErrUnavailable)
	t.Run("feed", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{}, errDown }
			_, err := g.Page(t.Context(), ask(2))
			var fault *feed.Fault
			if !errors.As(err, &fault) || fault.Service != feed.FeedService || !errors.Is(err, feed.ErrUnavailable) {
				t.Errorf("%v", err)
			}
			checkCalls(t, g.backends, "feed @0s")
		})
	})
	t.Run("content", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.backends.posts = func([]string) ([]feed.Post, error) { return nil, errDown }
			page, err := g.Page(t.Context(), ask(2))
			check(t, shown(page, err), `; "next" true; content service: breaker: service failed`)
			if page.Items == nil || !errors.Is(page.Faults[0], feed.ErrUnavailable) {
				t.Errorf("%+v", page)
			}
		})
	})
	t.Run("user", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.backends.profiles = func([]string) ([]feed.Profile, error) { return nil, errors.New("raw") }
			page, err := g.Page(t.Context(), ask(2))
			check(t, shown(page, err), `p1/- p2/-; "next" true; user service: service failed: raw`)
			if !errors.Is(page.Faults[0], feed.ErrUnavailable) {
				t.Errorf("an error without a name is %v", page.Faults[0])
			}
		})
	})
	t.Run("some of each", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.backends.posts = func(ids []string) ([]feed.Post, error) {
				posts := []feed.Post{{ID: "p1", UserID: "u1"}, {ID: "p2", UserID: "u2"}}
				return posts, fmt.Errorf("p3: %w", feed.ErrTimeout)
			}
			g.backends.profiles = func(ids []string) ([]feed.Profile, error) {
				return []feed.Profile{{ID: "u2"}}, feed.ErrInvalid
			}
			check(
				t,
				shown(g.Page(t.Context(), ask(3))),
				`p1/- p2; "next" true; content service: p3: service did not answer in time; user service: service rejected the request`,
			)
			if got := g.posts.keys(); !slices.Equal(got, []string{"p1", "p2"}) {
				t.Errorf("cached %q", got)
			}
		})
	})
}

// If content or user is frozen, a partial answer comes within 5.5 s.
func TestAssembler_Page_FrozenService(t *testing.T) {
	timeout := "service did not answer in time"
	for name, tc := range map[string]struct {
		freeze func(g *gateway)
		want   string
	}{
		"content": {func(g *gateway) { g.content = frozen }, `; "next" true; content service: ` + timeout},
		"user":    {func(g *gateway) { g.user = frozen }, `p1/- p2/-; "next" true; user service: ` + timeout},
		"content, heeding nothing": {func(g *gateway) {
			g.backends.posts = func([]string) ([]feed.Post, error) { time.Sleep(time.Minute); return nil, nil }
		}, `; "next" true; content service: ` + timeout},
		"user, with half of the posts cached": {func(g *gateway) {
			g.Page(context.Background(), ask(1))
			g.profiles.Drop(context.Background(), g.profiles.keys())
			g.backends.called()
			g.user = frozen
		}, `p1/- p2/-; "next" true; user service: ` + timeout},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				tc.freeze(g)
				start := time.Now()
				page, err := g.Page(t.Context(), ask(2))
				if got := shown(page, err); !strings.HasPrefix(got, tc.want) || len(page.Faults) != 1 {
					t.Errorf("page %s\nwant %s", got, tc.want)
				} else if !errors.Is(page.Faults[0], feed.ErrTimeout) {
					t.Errorf("fault %v, want ErrTimeout", page.Faults[0])
				}
				if took := time.Since(start); took < 5*time.Second || took > 5500*time.Millisecond {
					t.Errorf("after %v", took)
				}
			})
		})
	}
}

func TestAssembler_Page_TotalTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.feed, g.content, g.user = 4*time.Second, 4*time.Second, frozen
		start := time.Now()
		page, err := g.Page(t.Context(), ask(1))
		check(t, strings.Split(shown(page, err), ";")[0], "p1/-")
		if took := time.Since(start).Round(time.Second); took != 10*time.Second {
			t.Errorf("after %v, want 10 s", took)
		}
	})
}

func TestAssembler_Page_Panic(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.backends.profiles = func([]string) ([]feed.Profile, error) { panic("boom") }
		check(t, shown(g.Page(t.Context(), ask(1))), `p1/-; "next" true; user service: service failed: panic: boom`)
		g.slice = func(feed.Query) (feed.Slice, error) { panic("boom") }
		if _, err := g.Page(t.Context(), ask(2)); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}

// failed is an error about some ids, as that of a loader.
type failed map[string]error

func (f failed) Error() string           { return "some failed" }
func (f failed) ErrorOf(id string) error { return f[id] }

// With an open breaker the answer is stale if possible, else an error at once.
func TestAssembler_Page_Stale(t *testing.T) {
	for name, tc := range map[string]struct {
		fail func(g *gateway)
		want string
	}{
		"feed": {func(g *gateway) {
			g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{}, feed.ErrUnavailable }
		}, `p1 p2; "next" true; old feed`},
		"content": {func(g *gateway) {
			g.backends.posts = func([]string) ([]feed.Post, error) { return nil, feed.ErrUnavailable }
		}, `p1 p2; "next" true; old content`},
		"user": {func(g *gateway) {
			g.backends.profiles = func([]string) ([]feed.Profile, error) { return nil, feed.ErrUnavailable }
		}, `p1 p2; "next" true; old user`},
		"content, and one copy is missing": {func(g *gateway) {
			g.posts.Drop(context.Background(), []string{"p1"})
			g.backends.posts = func([]string) ([]feed.Post, error) { return nil, feed.ErrUnavailable }
		}, `p2; "next" true; content service: service failed; old content`},
		"content knows one no more, and does not fail": {func(g *gateway) {
			g.knowPosts(map[string]string{"p1": "u1"})
		}, `p1; "next" true`},
		"content knows one no more, and fails for the other": {func(g *gateway) {
			g.backends.posts = func([]string) ([]feed.Post, error) {
				return nil, failed{"p1": feed.ErrUnavailable}
			}
		}, `p1; "next" true; old content`},
		"content knew one no more, and fails then": {func(g *gateway) {
			g.knowPosts(map[string]string{"p1": "u1"})
			_, _ = g.Page(context.Background(), ask(2))
			g.posts.age()
			g.backends.posts = func([]string) ([]feed.Post, error) { return nil, feed.ErrUnavailable }
		}, `p1; "next" true; content service: service failed; old content`},
		"feed refuses the cursor": {func(g *gateway) {
			g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{}, feed.ErrInvalid }
		}, `error: feed service: service rejected the request`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				g.Page(t.Context(), ask(2))
				g.pages.age()
				g.posts.age()
				g.profiles.age()
				tc.fail(g)
				start := time.Now()
				check(t, shown(g.Page(t.Context(), ask(2))), tc.want)
				if took := time.Since(start); took != 0 {
					t.Errorf("after %v, want at once", took)
				}
			})
		})
	}
}

func TestAssembler_Page_ServesStaleAfterOneSecond(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.Page(t.Context(), ask(2))
		g.pages.age()
		g.feed = 3 * time.Second
		g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{IDs: []string{"p5"}}, nil }
		start := time.Now()
		check(t, shown(g.Page(t.Context(), ask(2))), `p1 p2; "next" true; old feed`)
		if took := time.Since(start); took != time.Second {
			t.Errorf("after %v, want 1 s", took)
		}
		time.Sleep(2500 * time.Millisecond)
		g.backends.called()
		check(t, shown(g.Page(t.Context(), ask(2))), `p5; "" false`)
		if calls := g.backends.called(); slices.Contains(calls, "feed @0s") {
			t.Errorf("calls %q: what the slow call said was not kept", calls)
		}
	})
}

func TestAssembler_Page_CancelledCaller(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.content = 100 * time.Millisecond
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, leave)
		if _, err := g.Page(ctx, ask(2)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		time.Sleep(100 * time.Millisecond)
		if got := g.posts.keys(); len(got) != 2 {
			t.Errorf("cached %q, want both posts of the call that was running", got)
		}
	})
}

// A request with a shorter deadline still gets the available data.
func TestAssembler_Page_DeadlinePartial(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.user = frozen
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		page, err := g.Page(ctx, ask(1))
		if len(page.Items) != 1 || len(page.Faults) != 1 || !errors.Is(page.Faults[0], feed.ErrTimeout) {
			t.Errorf("%s", shown(page, err))
		}
	})
}
