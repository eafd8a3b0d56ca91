package feed_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

func check(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("page: %s\nwant: %s", got, want)
	}
}

func checkCalls(t *testing.T, b *backends, want ...string) {
	t.Helper()
	if got := b.called(); !slices.Equal(got, want) {
		t.Errorf("calls %q\n want %q", got, want)
	}
}

func TestAssembler_Page_Cached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.feed, g.content, g.user = 100*time.Millisecond, 100*time.Millisecond, 130*time.Millisecond
		check(t, shown(g.Page(t.Context(), ask(3))), `p1 p2 p3; "next" true`)
		checkCalls(t, g.backends, "content p1 p2 p3 @100ms", "feed @0s", "user u1 u2 u3 @200ms")
		check(t, shown(g.Page(t.Context(), ask(3))), `p1 p2 p3; "next" true`)
		checkCalls(t, g.backends)
		page, _ := g.Page(t.Context(), ask(3))
		if got := page.Items[1]; got.Post.Caption != "caption of p2" || got.Author.Username != "name of u2" {
			t.Errorf("the second is %+v by %+v", got.Post, got.Author)
		}
	})
}

func TestAssembler_Page_EarlyAuthors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.feed, g.content, g.user = 100*time.Millisecond, 100*time.Millisecond, 130*time.Millisecond
		if _, err := g.Page(t.Context(), ask(2)); err != nil {
			t.Fatal(err)
		}
		g.pages.Drop(t.Context(), g.pages.keys())
		g.profiles.Drop(t.Context(), g.profiles.keys())
		g.posts.age("p2") // whose author is known, too
		g.called()
		check(t, shown(g.Page(t.Context(), ask(4))), `p1 p2 p3 p4; "next" true`)
		checkCalls(t, g.backends, "content p2 p3 p4 @100ms", "feed @0s", "user u1 u2 @100ms", "user u3 u4 @200ms")
		if took := time.Since(g.start); took != 0 {
			t.Errorf("took %v beyond that", took)
		}
	})
}

func TestAssembler_Page_LimitClamped(t *testing.T) {
	one, most, negative := int32(1), int32(100), int32(-1<<31)
	zero, many := int32(0), int32(1<<31-1)
	for want, asked := range map[int][]*int32{
		feed.DefaultLimit: {nil},
		1:                 {&one, &zero, &negative},
		100:               {&most, &many},
	} {
		for _, a := range asked {
			if got := feed.Limit(a); got != want {
				t.Errorf("Limit(%v) = %d, want %d", a, got, want)
			}
		}
	}
	g := newGateway(t)
	for limit, want := range map[int]int{-1 << 31: 1, 0: 1, 1: 1, 100: 100, 101: 100, 1 << 40: 100} {
		page, err := g.Page(t.Context(), ask(limit))
		if err != nil || len(page.Items) != want {
			t.Errorf("limit %d: %d posts, %v; want %d", limit, len(page.Items), err, want)
		}
	}
}

func TestAssembler_Page_DistinctPosts(t *testing.T) {
	g := newGateway(t)
	var asked feed.Query
	g.slice = func(q feed.Query) (feed.Slice, error) {
		asked = q
		return feed.Slice{
			IDs:        []string{"p1", "", "p2", "p1", "p3", "p2", "p4"},
			NextCursor: " \x00=ø",
			HasMore:    true,
		}, nil
	}
	q := ask(3)
	q.Cursor = "opaque=\n+"
	check(t, shown(g.Page(t.Context(), q)), `p1 p2 p3; " \x00=ø" true`)
	if asked.Cursor != q.Cursor || asked.Algorithm != "ch" || asked.Limit != 3 {
		t.Errorf("the feed service was asked with %+v", asked)
	}
}

func TestAssembler_Page_NoCursorNoMore(t *testing.T) {
	g := newGateway(t)
	g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{IDs: []string{"p1"}, HasMore: true}, nil }
	check(t, shown(g.Page(t.Context(), ask(20))), `p1; "" false`)

	_, err := g.Page(t.Context(), feed.Query{User: "me", Limit: 1, Cursor: strings.Repeat("c", 5000)})
	var fault *feed.Fault
	if !errors.As(err, &fault) || fault.Service != feed.FeedService || !errors.Is(err, feed.ErrInvalid) {
		t.Errorf("a cursor of 5,000 bytes: %v", err)
	}
}

func TestAssembler_Page_PerUser(t *testing.T) {
	g := newGateway(t)
	g.slice = func(q feed.Query) (feed.Slice, error) {
		return feed.Slice{IDs: []string{"p-" + q.User + "-" + q.Cursor + "-" + q.Algorithm}}, nil
	}
	queries := []feed.Query{
		{
			User:  "a",
			Limit: 20,
		}, {User: "b", Limit: 20}, {User: "", Limit: 20}, {User: "a", Limit: 2}, {User: "a:2", Limit: 0},
		{
			User:   "a",
			Limit:  20,
			Cursor: "c",
		}, {User: "a", Limit: 20, Algorithm: "d"}, {User: "a", Limit: 20, Cursor: "c", Algorithm: "d"},
		{
			User:  "a:20:2:ch:c",
			Limit: 20,
		}, {User: "a", Limit: 20, Cursor: ":2:ch:c"}, {User: "a", Limit: 20, Algorithm: "ch:c"},
	}
	for round := range 2 {
		for _, q := range queries {
			page, err := g.Page(t.Context(), q)
			user, algorithm := q.User, q.Algorithm
			if user == "" {
				user = "anonymous"
			}
			if algorithm == "" {
				algorithm = "ch"
			}
			if want := "p-" + user + "-" + q.Cursor + "-" + algorithm; err != nil || len(page.Items) != 1 ||
				page.Items[0].Post.ID != want {
				t.Errorf("round %d: %+v gets %s", round, q, shown(page, err))
			}
		}
	}
	if n := len(g.pages.keys()); n != len(queries) {
		t.Errorf("%d queries have %d keys", len(queries), n)
	}
}

func FuzzQuery_Key_IsInjective(f *testing.F) {
	f.Add("a", "b", "c", 1, "a", "b", "c", 2)
	f.Add("a", "x", "2:1:y:z", 1, "a:1:1:x", "y", "z", 2) // were it not for the user's length
	f.Add("a", "x", "y:z", 1, "a", "x:y", "z", 1)         // or the algorithm's
	f.Fuzz(func(t *testing.T, u1, a1, c1 string, l1 int, u2, a2, c2 string, l2 int) {
		one := feed.Query{User: u1, Algorithm: a1, Cursor: c1, Limit: l1}
		two := feed.Query{User: u2, Algorithm: a2, Cursor: c2, Limit: l2}
		if same := one == two; (one.Key() == two.Key()) != same {
			t.Errorf("%+v and %+v have the keys %q and %q", one, two, one.Key(), two.Key())
		}
	})
}

func TestAssembler_Page_EmptyFeed(t *testing.T) {
	for name, slice := range map[string]feed.Slice{
		"nil":           {},
		"with a cursor": {NextCursor: "c", HasMore: true},
		"of empty ids":  {IDs: []string{"", ""}, NextCursor: "c", HasMore: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.slice = func(feed.Query) (feed.Slice, error) { return slice, nil }
			page, err := g.Page(t.Context(), ask(20))
			check(t, shown(page, err), `; "" false`)
			if page.Items == nil {
				t.Error("posts are nil, want none")
			}
			if calls := g.called(); len(calls) != 1 {
				t.Errorf("calls %q", calls)
			}
		})
	}
}

func TestAssembler_Page_Authors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.knowPosts(map[string]string{"p1": "ada", "p2": "bob", "p3": "ada", "p4": "", "p6": "bob", "p7": "unknown"})
		g.knowUsers("ada", "bob")
		check(t, shown(g.Page(t.Context(), ask(7))), `p1 p2 p3 p4/- p6 p7/-; "next" true`)
		checkCalls(t, g.backends, "content p1 p2 p3 p4 p5 p6 p7 @0s", "feed @0s", "user ada bob unknown @0s")
	})
}

// knowPosts makes the content service know these posts and no others, by their authors.
func (b *backends) knowPosts(authors map[string]string) {
	b.posts = func(ids []string) (all []feed.Post, _ error) {
		for _, id := range slices.Backward(ids) {
			if author, known := authors[id]; known {
				all = append(all, feed.Post{ID: id, UserID: author})
			}
		}
		return all, nil
	}
}

// knowUsers makes the user service know these users and no others.
func (b *backends) knowUsers(known ...string) {
	b.profiles = func(ids []string) (all []feed.Profile, _ error) {
		for _, id := range ids {
			if slices.Contains(known, id) {
				all = append(all, feed.Profile{ID: id})
			}
		}
		return all, nil
	}
}

func TestAssembler_Page_UnrequestedAnswers(t *testing.T) {
	g := newGateway(t)
	g.backends.posts = func([]string) ([]feed.Post, error) {
		return []feed.Post{
			{}, {ID: "p9", UserID: "u9"}, {ID: "p2", UserID: "u2", Likes: -5, Comments: -1 << 63},
			{ID: "p1", UserID: "u1", Caption: "first"}, {ID: "p1", UserID: "u9", Caption: "second"},
		}, nil
	}
	g.backends.profiles = func([]string) ([]feed.Profile, error) {
		return []feed.Profile{{}, {ID: "u9"}, {ID: "u2", Username: "first"}, {ID: "u2", Username: "second"}}, nil
	}
	page, err := g.Page(t.Context(), ask(2))
	check(t, shown(page, err), `p1/- p2; "next" true`)
	if one, two := page.Items[0], page.Items[1]; one.Post.Caption != "first" || two.Post.Likes != 0 ||
		two.Post.Comments != 0 ||
		two.Author.Username != "first" {
		t.Errorf("page %+v %+v", one.Post, two.Author)
	}
	if posts, users := g.posts.keys(), g.profiles.keys(); !slices.Equal(posts, []string{"p1", "p2"}) ||
		!slices.Equal(users, []string{"u2"}) {
		t.Errorf("cached posts %q and users %q", posts, users)
	}
	g.backends.posts = func([]string) ([]feed.Post, error) { return nil, nil }
	g.slice = func(feed.Query) (feed.Slice, error) { return feed.Slice{IDs: []string{"p8"}}, nil }
	check(t, shown(g.Page(t.Context(), feed.Query{User: "other"})), `; "" false`)
}

func TestAssembler_Page_SharesCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.feed = 100 * time.Millisecond
		first, leave := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		readers.Go(func() {
			if _, err := g.Page(first, ask(1)); !errors.Is(err, context.Canceled) {
				t.Errorf("the caller that left: error %v", err)
			}
		})
		for range 5 {
			readers.Go(func() { check(t, shown(g.Page(t.Context(), ask(1))), `p1; "next" true`) })
		}
		time.Sleep(50 * time.Millisecond)
		leave()
		readers.Wait()
		feeds := slices.DeleteFunc(g.called(), func(call string) bool { return !strings.HasPrefix(call, "feed") })
		if len(feeds) != 1 {
			t.Errorf("calls %q, want one", feeds)
		}
	})
}
