package pagecache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/loader"
	"github.com/novasocial/imagetier/gateway/pagecache"
)

// editable is a content service that reads its data 100 ms before it answers with them.
type editable struct {
	known
	mu      sync.Mutex
	caption string
	calls   int
}

func (e *editable) edit(caption string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.caption = caption
}

func (e *editable) Posts(_ context.Context, ids []string) (all []feed.Post, _ error) {
	e.mu.Lock()
	e.calls++
	for _, id := range ids {
		all = append(all, feed.Post{ID: id, UserID: "u", Caption: e.caption})
	}
	e.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	return all, nil
}

// batched puts a loader in front of the content service, as the program does.
type batched struct {
	feed.Contents
	posts *loader.Loader[feed.Post]
}

func (b batched) Posts(ctx context.Context, ids []string) ([]feed.Post, error) {
	return b.posts.Load(ctx, ids)
}

// Assembler, loader and cache together:
//
//	0 ms    a reader asks; the content service reads "before"
//	50 ms   the post is edited, and the event has it dropped
//	60 ms   a second reader asks; it may not join the earlier call
//	100 ms  the first answer is back, and may not be kept
func TestCache_ReaderAfterEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &editable{caption: "before"}
		b := batched{service, loader.New(loader.Config[feed.Post]{
			Fetch: service.Posts, ID: func(p *feed.Post) string { return p.ID },
		})}
		cache := startGateway(t, pagecache.Config{Forget: func(of pagecache.Kind, ids []string) {
			if of == pagecache.Posts {
				b.posts.Forget(ids)
			}
		}})
		a, err := feed.New(feed.Config{
			Feeds: known{}, Contents: b, Users: known{},
			Pages: cache.Pages(), Posts: cache.Posts(), Profiles: cache.Profiles(),
		})
		if err != nil {
			t.Fatal(err)
		}
		read := func(after time.Duration, user, want string) func() {
			return func() {
				time.Sleep(after)
				page, err := a.Page(t.Context(), feed.Query{User: user, Limit: 1})
				if err != nil || len(page.Items) != 1 || page.Items[0].Post.Caption != want {
					t.Errorf("%s reads %v, %v; want %q", user, page, err, want)
				}
			}
		}
		var all sync.WaitGroup
		all.Go(read(0, "first", "before"))
		all.Go(read(10*time.Millisecond, "beside it", "before"))
		all.Go(func() {
			time.Sleep(50 * time.Millisecond)
			service.edit("after")
			a.InvalidatePosts(t.Context(), []string{"post-00000000"})
		})
		all.Go(read(60*time.Millisecond, "second", "after"))
		all.Wait()
		read(0, "third", "after")()
		if service.calls != 2 {
			t.Errorf("%d calls, want 2", service.calls)
		}
	})
}

// Many concurrent requests on one gateway while posts are edited: once an event has been handled,
// no request reads the old caption.
func TestCache_NoStaleReadsAfterEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := &editable{caption: "0"}
		b := batched{service, loader.New(loader.Config[feed.Post]{
			Fetch: service.Posts, ID: func(p *feed.Post) string { return p.ID },
		})}
		cache := startGateway(t, pagecache.Config{Forget: func(_ pagecache.Kind, ids []string) { b.posts.Forget(ids) }})
		a, err := feed.New(feed.Config{
			Feeds: known{}, Contents: b, Users: known{},
			Pages: cache.Pages(), Posts: cache.Posts(), Profiles: cache.Profiles(),
		})
		if err != nil {
			t.Fatal(err)
		}
		var edits int // handled
		var mu sync.Mutex
		var readers sync.WaitGroup
		for n := range 20 {
			readers.Go(func() {
				for i := range 50 {
					time.Sleep(time.Duration(7*n+i) * time.Millisecond)
					mu.Lock()
					least := edits
					mu.Unlock()
					page, err := a.Page(t.Context(), feed.Query{User: "u", Limit: 1})
					var got int
					if err == nil {
						_, err = fmt.Sscan(page.Items[0].Post.Caption, &got)
					}
					if err != nil || got < least {
						t.Errorf("reads edit %d after %d were handled, %v", got, least, err)
					}
				}
			})
		}
		for edit := 1; edit <= 20; edit++ {
			time.Sleep(37 * time.Millisecond)
			service.edit(fmt.Sprint(edit))
			a.InvalidatePosts(t.Context(), []string{"post-00000000"})
			mu.Lock()
			edits = edit
			mu.Unlock()
		}
		readers.Wait()
	})
}
