package feed_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

func TestAssembler_Like(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.Page(t.Context(), ask(3))
		g.backends.called()
		var got feed.Likes
		g.like = func(b feed.Likes) error { got = b; return nil }
		twice := feed.Likes{User: "me", Posts: []string{"p2", "p1", "p2", "p1"}, Like: true}
		if err := g.Assembler.Like(t.Context(), twice); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Posts, []string{"p2", "p1"}) || got.User != "me" || !got.Like || got.Key == "" {
			t.Errorf("the service got %+v", got)
		}
		if left := g.posts.keys(); !slices.Equal(left, []string{"p3"}) {
			t.Errorf("the cache still has %q", left)
		}
		first := got.Key
		g.Assembler.Like(t.Context(), feed.Likes{User: "me", Posts: []string{"p2", "p1"}, Like: true})
		if got.Key == first {
			t.Error("two batches have one key: a like after an unlike would be taken for a repetition")
		}
		g.Assembler.Like(t.Context(), feed.Likes{User: "me", Posts: []string{"p2"}, Key: "mine"})
		if got.Key != "mine" || got.Like {
			t.Errorf("the service got %+v", got)
		}
	})
}

// 1–100 ids.
func TestAssembler_Like_InvalidBatch(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		ids := func(n int) (ids []string) {
			for i := range n {
				ids = append(ids, fmt.Sprint("p", i%101)) // 101 different ones at most
			}
			return ids
		}
		for name, b := range map[string]feed.Likes{
			"none":        {User: "me"},
			"an empty id": {User: "me", Posts: []string{"p1", ""}},
			"101":         {User: "me", Posts: ids(101)},
			"no user":     {Posts: ids(1)},
			"a long id":   {User: "me", Posts: []string{strings.Repeat("p", 2000)}},
		} {
			if err := g.Assembler.Like(t.Context(), b); !errors.Is(err, feed.ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		checkCalls(t, g.backends)
		for _, posts := range [][]string{ids(1), ids(100), append(ids(100), ids(100)...)} {
			if err := g.Assembler.Like(t.Context(), feed.Likes{User: "me", Posts: posts}); err != nil {
				t.Errorf("%d ids: %v", len(posts), err)
			}
		}
	})
}

// A service that did not answer may have applied the like.
func TestAssembler_Like_FailureDropsPosts(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.Page(t.Context(), ask(3))
		g.content = frozen
		start := time.Now()
		err := g.Assembler.Like(t.Context(), feed.Likes{User: "me", Posts: []string{"p1"}})
		var fault *feed.Fault
		if !errors.As(err, &fault) || fault.Service != feed.ContentService || !errors.Is(err, feed.ErrTimeout) {
			t.Errorf("%v", err)
		}
		if took := time.Since(start); took > 5500*time.Millisecond {
			t.Errorf("after %v", took)
		}
		if left := g.posts.keys(); !slices.Equal(left, []string{"p2", "p3"}) {
			t.Errorf("the cache still has %q", left)
		}
	})
}

func TestAssembler_Like_ConcurrentPage(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.content = 100 * time.Millisecond
		var likes atomic.Int64
		g.backends.posts = func([]string) ([]feed.Post, error) {
			return []feed.Post{{ID: "p1", UserID: "u1", Likes: likes.Load()}}, nil
		}
		g.like = func(feed.Likes) error { likes.Add(1); return nil }
		read := make(chan feed.Page)
		go func() {
			time.Sleep(50 * time.Millisecond)
			page, _ := g.Page(t.Context(), ask(1))
			read <- page
		}()
		// A reader requests the post at 50 ms. The like is applied at 100 ms, and the reader's
		// answer at 150 ms may be from before the like.
		g.Assembler.Like(t.Context(), feed.Likes{User: "me", Posts: []string{"p1"}, Like: true})
		<-read
		if kept := g.posts.keys(); len(kept) != 0 {
			t.Errorf("cached %q, want nothing", kept)
		}
		page, _ := g.Page(t.Context(), ask(1))
		if page.Items[0].Post.Likes != 1 {
			t.Errorf("the next page shows %d likes", page.Items[0].Post.Likes)
		}
	})
}

func TestAssembler_Invalidate(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.Page(t.Context(), ask(2))
		g.InvalidatePosts(t.Context(), []string{"p1"})
		g.InvalidateProfiles(t.Context(), []string{"u2"})
		if posts, users := g.posts.keys(), g.profiles.keys(); !slices.Equal(posts, []string{"p2"}) ||
			!slices.Equal(users, []string{"u1"}) {
			t.Errorf("left %q and %q", posts, users)
		}
	})
	without, err := feed.New(feed.Config{Feeds: newBackends(), Contents: newBackends(), Users: newBackends()})
	if err != nil {
		t.Fatal(err)
	}
	without.InvalidatePosts(t.Context(), []string{"p1"})
	without.InvalidateProfiles(t.Context(), []string{"u1"})
	check(t, shown(without.Page(t.Context(), ask(1))), `p1; "next" true`)
}
