package feed_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
)

// backends are the three services. Each call is recorded, takes the latency, and is answered by a
// function.
type backends struct {
	mu    sync.Mutex
	calls []string // "feed", "content p1 p2", "user u1", with the time since the start
	start time.Time

	feed, content, user time.Duration
	slice               func(q feed.Query) (feed.Slice, error)
	posts               func(ids []string) ([]feed.Post, error)
	profiles            func(ids []string) ([]feed.Profile, error)
	like                func(b feed.Likes) error
}

// newBackends returns services that know all ids: the feed is p1, p2, …, and post pN has the author
// uN.
func newBackends() *backends {
	return &backends{
		start: time.Now(),
		slice: func(q feed.Query) (feed.Slice, error) {
			s := feed.Slice{NextCursor: "next", HasMore: true}
			for i := range q.Limit {
				s.IDs = append(s.IDs, fmt.Sprint("p", i+1))
			}
			return s, nil
		},
		posts: func(ids []string) (all []feed.Post, _ error) {
			for _, id := range slices.Backward(ids) { // in any order
				all = append(all, feed.Post{ID: id, UserID: "u" + id[1:], Caption: "caption of " + id})
			}
			return all, nil
		},
		profiles: func(ids []string) (all []feed.Profile, _ error) {
			for _, id := range slices.Backward(ids) {
				all = append(all, feed.Profile{ID: id, Username: "name of " + id})
			}
			return all, nil
		},
		like: func(feed.Likes) error { return nil },
	}
}

func (b *backends) note(ctx context.Context, latency time.Duration, call ...string) error {
	b.mu.Lock()
	b.calls = append(
		b.calls,
		fmt.Sprintf("%s @%v", strings.Join(call, " "), time.Since(b.start).Round(time.Millisecond)),
	)
	b.mu.Unlock()
	if latency == 0 {
		return nil
	}
	select {
	case <-time.After(latency):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (b *backends) Slice(ctx context.Context, q feed.Query) (feed.Slice, error) {
	if err := b.note(ctx, b.feed, "feed"); err != nil {
		return feed.Slice{}, err
	}
	return b.slice(q)
}

func (b *backends) Posts(ctx context.Context, ids []string) ([]feed.Post, error) {
	if err := b.note(ctx, b.content, append([]string{"content"}, ids...)...); err != nil {
		return nil, err
	}
	return b.posts(ids)
}

func (b *backends) Like(ctx context.Context, likes feed.Likes) error {
	if err := b.note(ctx, b.content, append([]string{"like"}, likes.Posts...)...); err != nil {
		return err
	}
	return b.like(likes)
}

func (b *backends) Profiles(ctx context.Context, ids []string) ([]feed.Profile, error) {
	if err := b.note(ctx, b.user, append([]string{"user"}, ids...)...); err != nil {
		return nil, err
	}
	return b.profiles(ids)
}

// called returns the sorted calls since its last call.
func (b *backends) called() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	slices.Sort(calls)
	b.calls, b.start = nil, time.Now()
	return calls
}

// mapCache is a Cache that keeps everything fresh until age is called.
type mapCache[V any] struct {
	mu      sync.Mutex
	values  map[string]*V
	stale   map[string]bool
	epoch   uint64
	dropped []string
}

func (c *mapCache[V]) Get(_ context.Context, ids []string) []feed.Entry[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	entries := make([]feed.Entry[V], len(ids))
	for i, id := range ids {
		entries[i] = feed.Entry[V]{
			Value: c.values[id],
			Fresh: c.values[id] != nil && !c.stale[id],
			Lease: feed.Lease{Local: c.epoch},
		}
	}
	return entries
}

func (c *mapCache[V]) Put(_ context.Context, kept []feed.Kept[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range kept {
		if k.Lease.Local != c.epoch {
			continue
		}
		if c.values == nil {
			c.values, c.stale = map[string]*V{}, map[string]bool{}
		}
		c.values[k.ID] = k.Value
		delete(c.stale, k.ID)
	}
}

func (c *mapCache[V]) Drop(_ context.Context, ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	c.dropped = append(c.dropped, ids...)
	for _, id := range ids {
		delete(c.values, id)
	}
}

// age makes ids stale; none: all.
func (c *mapCache[V]) age(ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.values {
		if len(ids) == 0 || slices.Contains(ids, id) {
			c.stale[id] = true
		}
	}
}

func (c *mapCache[V]) keys() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.values {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

// gateway is an Assembler with its own caches.
type gateway struct {
	*feed.Assembler
	*backends
	pages    mapCache[feed.Slice]
	posts    mapCache[feed.Post]
	profiles mapCache[feed.Profile]
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{backends: newBackends()}
	a, err := feed.New(feed.Config{
		Feeds: g.backends, Contents: g.backends, Users: g.backends,
		Pages: &g.pages, Posts: &g.posts, Profiles: &g.profiles,
	})
	if err != nil {
		t.Fatal(err)
	}
	g.Assembler = a
	return g
}

// shown describes a page: "p1/name p2/-", then the cursor, then the faults.
func shown(p feed.Page, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var b strings.Builder
	for i, item := range p.Items {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(item.Post.ID)
		switch {
		case item.Author == nil:
			b.WriteString("/-")
		case item.Author.ID != item.Post.UserID:
			b.WriteString("/another's profile")
		}
	}
	fmt.Fprintf(&b, "; %q %v", p.NextCursor, p.HasMore)
	for _, f := range p.Faults {
		fmt.Fprintf(&b, "; %v", f)
	}
	for _, s := range p.Stale {
		fmt.Fprintf(&b, "; old %s", s)
	}
	return b.String()
}

func ask(limit int) feed.Query { return feed.Query{User: "me", Limit: limit} }
