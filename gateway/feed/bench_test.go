package feed_test

import (
	"testing"

	"github.com/novasocial/imagetier/gateway/feed"
)

// BenchmarkCachedPage assembles a page of twenty posts that are all in caches, which are maps.
func BenchmarkCachedPage(b *testing.B) {
	services := newBackends()
	a, err := feed.New(feed.Config{
		Feeds: services, Contents: services, Users: services,
		Pages: &mapCache[feed.Slice]{}, Posts: &mapCache[feed.Post]{}, Profiles: &mapCache[feed.Profile]{},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if page, err := a.Page(b.Context(), ask(20)); err != nil || len(page.Items) != 20 {
			b.Fatal(err)
		}
	}
}
