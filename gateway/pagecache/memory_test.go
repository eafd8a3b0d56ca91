package pagecache_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/gateway/pagecache"
)

// inMemory runs a test of a Cache without Redis, with a clock of its own.
func inMemory(t *testing.T, cfg pagecache.Config, test func(t *testing.T, g *gateway)) {
	synctest.Test(t, func(t *testing.T) { test(t, startGateway(t, cfg)) })
}

// Entries in memory expire after their TTL.
func TestCache_Memory_TTL(t *testing.T) {
	inMemory(t, pagecache.Config{}, func(t *testing.T, g *gateway) {
		ctx := context.Background()
		g.Pages().Put(ctx, []feed.Kept[feed.Slice]{{ID: "k", Value: &feed.Slice{}}})
		g.Posts().Put(ctx, []feed.Kept[feed.Post]{{ID: "k", Value: &feed.Post{ID: "k"}}})
		g.Profiles().Put(ctx, []feed.Kept[feed.Profile]{{ID: "k", Value: &feed.Profile{ID: "k"}}})
		start := time.Now()
		for _, step := range []struct {
			after time.Duration
			want  string
		}{
			{30*time.Second - 1, "fresh fresh fresh"}, {30 * time.Second, "stale fresh fresh"},
			{2*time.Minute - 1, "stale fresh fresh"}, {2 * time.Minute, "stale stale fresh"},
			{5*time.Minute - 1, "stale stale fresh"}, {5 * time.Minute, "stale stale stale"},
			{10*time.Minute + 29*time.Second, "stale stale stale"}, {16 * time.Minute, "none none none"},
		} {
			time.Sleep(time.Until(start.Add(step.after)))
			got := strings.Join([]string{stateOf(g.Pages()), stateOf(g.Posts()), stateOf(g.Profiles())}, " ")
			if got != step.want {
				t.Errorf("after %v: %s, want %s", step.after, got, step.want)
			}
		}
	})
}

func stateOf[V any](c feed.Cache[V]) string {
	switch e := c.Get(context.Background(), []string{"k"})[0]; {
	case e.Fresh:
		return "fresh"
	case e.Value != nil:
		return "stale"
	}
	return "none"
}

func TestCache_Memory_Drop(t *testing.T) {
	inMemory(t, pagecache.Config{PostTTL: time.Second}, func(t *testing.T, g *gateway) {
		keep(g, feed.Post{ID: "p1", Caption: "c"}, feed.Post{ID: "p2", Caption: "c"})
		time.Sleep(2 * time.Second)
		g.Posts().Drop(context.Background(), []string{"p1"})
		if one, two := caption(g, "p1"), caption(g, "p2"); one != "" || two != "old c" {
			t.Errorf("p1 %q, p2 %q", one, two)
		}
	})
}

func TestCache_Memory_PutAfterDrop(t *testing.T) {
	inMemory(t, pagecache.Config{}, func(t *testing.T, g *gateway) {
		post := feed.Post{ID: "p1", Caption: "before the edit"}
		noted := lookUp(g, post)
		g.Posts().Drop(context.Background(), []string{"p1"})
		put(g, noted, post)
		if got := caption(g, "p1"); got != "" {
			t.Errorf("the cache has %q", got)
		}
		keep(g, feed.Post{ID: "p1", Caption: "after the edit"})
		if got := caption(g, "p1"); got != "after the edit" {
			t.Errorf("the cache has %q", got)
		}
	})
}

// TTLs over 5 min are refused for entries that can change.
func TestNew_InvalidTTLs(t *testing.T) {
	_, err := pagecache.New(pagecache.Config{
		PageTTL: 6 * time.Minute, PostTTL: -1, ProfileTTL: 5*time.Minute + 1,
		StaleFor: 2 * time.Hour, RedisTimeout: time.Second,
	})
	if err == nil {
		t.Fatal("not refused")
	}
	for _, fault := range []string{"page", "post", "profile", "StaleFor", "RedisTimeout"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%v does not name %s", err, fault)
		}
	}
	if _, err := pagecache.New(pagecache.Config{ProfileTTL: pagecache.MaxTTL}); err != nil {
		t.Errorf("5 min are refused: %v", err)
	}
}

// Hits and misses are counted.
func TestCache_Observed(t *testing.T) {
	inMemory(t, pagecache.Config{}, func(t *testing.T, g *gateway) {
		keep(g, feed.Post{ID: "a"}, feed.Post{ID: "b"})
		g.Posts().Get(context.Background(), []string{"a", "b", "c"})
		stateOf(g.Profiles())
		for outcome, want := range map[pagecache.Outcome]int{
			pagecache.InMemory: 2, pagecache.Miss: 3, pagecache.InRedis: 0, pagecache.Failed: 0,
		} {
			if got := g.count(pagecache.Posts, outcome); got != want {
				t.Errorf("posts: %d times %s, want %d", got, outcome, want)
			}
		}
		if got := g.count(pagecache.Profiles, pagecache.Miss); got != 1 {
			t.Errorf("profiles: %d misses, want 1", got)
		}
	})
}

func TestCache_Memory_Bounded(t *testing.T) {
	const bound = 8 << 20
	g := startGateway(t, pagecache.Config{MemoryBytes: bound})
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range 40_000 { // some 50 MB
		keep(g, feed.Post{ID: fmt.Sprint("p", i), Caption: strings.Repeat("c", 1000)})
	}
	eventually(t, "values over the limit to be evicted", func() bool { return heap() < before+bound })
	if got := caption(g, "p39999"); got == "" {
		t.Log("the last post is not cached") // the cache may choose
	}
	runtime.KeepAlive(g)
}

func TestParseRedis(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:6379":                       "[127.0.0.1:6379]  0",
		"a:1,b:2":                              "[a:1 b:2]  0",
		"/run/redis.sock":                      "[/run/redis.sock]  0",
		"redis://u:secret@a:1/3":               "[a:1] u 3",
		"redis://a:1?addr=b:2&master_set=main": "[a:1 b:2]  0 main",
	} {
		r, err := pagecache.ParseRedis(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := strings.TrimSpace(fmt.Sprint(r.Addresses, " ", r.Username, " ", r.Database, " ", r.SentinelMaster))
		if got != want {
			t.Errorf("%s is read as %s, want %s", text, got, want)
		}
	}
	if r, err := pagecache.ParseRedis("rediss://a:1"); err != nil || r.TLS == nil {
		t.Errorf("rediss: %v, %v", r, err)
	}
	for _, text := range []string{"", "a", "a:1,", ":6379", "http://a:1", "redis://u:secret@[::1"} {
		if _, err := pagecache.ParseRedis(text); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
