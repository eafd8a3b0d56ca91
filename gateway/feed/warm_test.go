package feed_test

import (
	"errors"
	"testing"

	"github.com/novasocial/imagetier/gateway/feed"
)

// After an event has warmed popular posts, the first page calls only the feed service.
func TestAssembler_Warm(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		for range 2 { // the second time it is there
			if err := g.Warm(t.Context(), []string{"p1", "p2"}); err != nil {
				t.Fatal(err)
			}
		}
		checkCalls(t, g.backends, "content p1 p2 @0s", "user u1 u2 @0s")
		if _, err := g.Page(t.Context(), ask(2)); err != nil {
			t.Fatal(err)
		}
		checkCalls(t, g.backends, "feed @0s")
		g.backends.posts = func([]string) ([]feed.Post, error) { return nil, feed.ErrUnavailable }
		if err := g.Warm(t.Context(), []string{"p9"}); !errors.Is(err, feed.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}
