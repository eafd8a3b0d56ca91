package pagecache_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
)

// known are the three services, which answer at once.
type known struct{}

func (known) Slice(_ context.Context, q feed.Query) (s feed.Slice, _ error) {
	for i := range q.Limit {
		s.IDs = append(s.IDs, fmt.Sprintf("post-%08d", i))
	}
	return s, nil
}

func (known) Posts(_ context.Context, ids []string) (all []feed.Post, _ error) {
	for i, id := range ids {
		all = append(all, feed.Post{
			ID: id, UserID: fmt.Sprintf("user-%08d", i/2), Caption: "a caption of some words, as captions are",
			ImageURL: "https://cdn.app.example/posts/2026/11/" + id + ".jpg",
			Likes:    42, Comments: 7, CreatedAt: time.Unix(1_700_000_000, 0),
		})
	}
	return all, nil
}

func (known) Like(context.Context, feed.Likes) error { return nil }

func (known) Profiles(_ context.Context, ids []string) (all []feed.Profile, _ error) {
	for _, id := range ids {
		all = append(all, feed.Profile{
			ID: id, Username: "name of " + id, AvatarURL: "https://cdn.app.example/" + id + ".jpg",
		})
	}
	return all, nil
}

func assembler(t testing.TB, c *pagecache.Cache) *feed.Assembler {
	a, err := feed.New(feed.Config{
		Feeds: known{}, Contents: known{}, Users: known{},
		Pages: c.Pages(), Posts: c.Posts(), Profiles: c.Profiles(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

var twenty = feed.Query{User: "user-1", Limit: 20}

// 55 KB allocated per request at 20 posts, of which this is the part of the page;
// the rest is for HTTP, GraphQL and links.
func TestCache_Get_Allocations(t *testing.T) {
	cache, err := pagecache.New(pagecache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	a := assembler(t, cache)
	const pages = 1000
	var before, after runtime.MemStats
	for range 2 {
		runtime.ReadMemStats(&before)
		for range pages {
			page, err := a.Page(context.Background(), twenty)
			if err != nil || len(page.Items) != 20 || page.Items[19].Author == nil {
				t.Fatalf("%+v, %v", page, err)
			}
		}
		runtime.ReadMemStats(&after)
	}
	each := (after.TotalAlloc - before.TotalAlloc) / pages
	t.Logf("%d bytes a page", each)
	if each > 10<<10 {
		t.Errorf("%d bytes are allocated for a page, want 10 KiB at most", each)
	}
}

func BenchmarkAssembler_Page_FromMemory(b *testing.B) {
	cache, err := pagecache.New(pagecache.Config{})
	if err != nil {
		b.Fatal(err)
	}
	a := assembler(b, cache)
	b.ReportAllocs()
	for b.Loop() {
		if page, err := a.Page(context.Background(), twenty); err != nil || len(page.Items) != 20 {
			b.Fatal(err)
		}
	}
}

// BenchmarkPosts_Get_FromRedis reads the posts of a page that another gateway has stored,
// over a Unix socket.
func BenchmarkPosts_Get_FromRedis(b *testing.B) {
	server := startRedis(b)
	a := startGateway(b, pagecache.Config{}, server).connected(b)
	slice, _ := known{}.Slice(context.Background(), twenty)
	posts, _ := known{}.Posts(context.Background(), slice.IDs)
	keep(a, posts...)
	server.isInRedis("post:meta:" + posts[19].ID)
	other := startGateway(b, pagecache.Config{}, server).connected(b)
	b.ReportAllocs()
	for b.Loop() {
		for _, e := range other.Posts().Get(context.Background(), slice.IDs) {
			if !e.Fresh {
				b.Fatal("a post is not there")
			}
		}
		b.StopTimer()
		pagecache.Forgetful(other.Cache)
		b.StartTimer()
	}
}
