package tier_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/prefetch/profile"
)

// Facts of a page are requested from /v1/info in one call, and cached.
func TestClient_Facts_Cached(t *testing.T) {
	var asked log[int]
	run(t, infos(t, &asked, func(string) string { return "" }), func(c *tier.Client, _ *counts) {
		for range 3 {
			if facts := c.Facts(context.Background(), names(20)); len(facts) != 20 ||
				facts[0].Width != 4 || facts[19].Height != 3 {
				t.Errorf("%+v", facts)
			}
		}
		if fmt.Sprint(asked.all()) != "[20]" {
			t.Errorf("images asked for per call: %v", asked.all())
		}
		c.Facts(context.Background(), names(25)) // five are new
		pass(24 * time.Hour)                     // pinned bytes never change
		c.Facts(context.Background(), names(25))
		if fmt.Sprint(asked.all()) != "[20 5]" {
			t.Errorf("images asked for per call: %v", asked.all())
		}
		if facts := c.Facts(context.Background(), nil); len(facts) != 0 {
			t.Errorf("%v", facts)
		}
	})
}

// A page waits at most 20 ms for facts; those that arrive later are there for the next page.
func TestClient_Facts_HangingTier(t *testing.T) {
	var asked log[int]
	works := infos(t, &asked, func(string) string { return "" })
	var release chan struct{} // made in the synctest bubble
	run(t, func(r *http.Request) (*http.Response, error) {
		<-release
		return works(r)
	}, func(c *tier.Client, _ *counts) {
		release = make(chan struct{})
		started := time.Now()
		if facts := c.Facts(context.Background(), names(20)); facts[0].Width != 0 ||
			time.Since(started) != 20*time.Millisecond {
			t.Errorf("%v after %s", facts[0], time.Since(started))
		}
		// The next page with the same images does not wait again.
		started = time.Now()
		if c.Facts(context.Background(), names(20)); time.Since(started) != 0 {
			t.Errorf("waited %s again", time.Since(started))
		}
		// Many pages during that time: a bounded number of requests, and no page waits longer than
		// 20 ms.
		for i := range 100 {
			started = time.Now()
			c.Facts(context.Background(), []profile.Image{pinned(fmt.Sprint("other", i))})
			if waited := time.Since(started); waited > 20*time.Millisecond || i > 10 && waited > 0 {
				t.Errorf("page %d waited %s", i, waited)
			}
		}
		close(release)
		synctest.Wait()
		started = time.Now()
		if facts := c.Facts(context.Background(), names(20)); facts[0].Width != 4 || time.Since(started) != 0 {
			t.Errorf("%v after %s", facts[0], time.Since(started))
		}
		if n := len(asked.all()); n > 8 {
			t.Errorf("%d questions", n)
		}
	})
}

func TestClient_Facts_Backoff(t *testing.T) {
	var calls atomic.Int32
	refuse := func(*http.Request) (*http.Response, error) { calls.Add(1); return answer(503, ""), nil }
	run(t, refuse, func(c *tier.Client, _ *counts) {
		for range 100 {
			c.Facts(context.Background(), names(1))
		}
		if calls.Load() != 1 {
			t.Errorf("the tier was asked %d times", calls.Load())
		}
		pass(2 * time.Second)
		c.Facts(context.Background(), names(1))
		if calls.Load() != 2 {
			t.Errorf("the tier was asked %d times", calls.Load())
		}
	})
}

func TestClient_Facts_LiveImage(t *testing.T) {
	var width atomic.Int32
	var calls atomic.Int32
	width.Store(1)
	live := []profile.Image{{Source: "posts", Name: "a.jpg"}}
	missing := []profile.Image{pinned("missing.jpg")}
	run(t, func(r *http.Request) (*http.Response, error) {
		calls.Add(1)
		if width.Load() == 0 {
			return answer(200, `{"infos":[{"error":{"status":404,"title":"Not Found"}}]}`), nil
		}
		return answer(200, fmt.Sprintf(`{"infos":[{"width":%d}]}`, width.Load())), nil
	}, func(c *tier.Client, _ *counts) {
		c.Facts(context.Background(), live)
		width.Store(2)
		pass(31 * time.Second)
		started := time.Now()
		if facts := c.Facts(context.Background(), live); facts[0].Width != 1 || time.Since(started) != 0 {
			t.Errorf("%v after %s", facts, time.Since(started))
		}
		synctest.Wait()
		if facts := c.Facts(context.Background(), live); facts[0].Width != 2 || calls.Load() != 2 {
			t.Errorf("%v", facts)
		}
		// Facts that the tier does not have are not requested again at once, but later.
		width.Store(0)
		for range 5 {
			if facts := c.Facts(context.Background(), missing); facts[0].Width != 0 {
				t.Errorf("%v", facts)
			}
		}
		if calls.Load() != 3 {
			t.Errorf("the tier was asked %d times", calls.Load())
		}
		width.Store(3)
		pass(31 * time.Second)
		c.Facts(context.Background(), missing)
		synctest.Wait()
		if facts := c.Facts(context.Background(), missing); facts[0].Width != 3 {
			t.Errorf("%v", facts)
		}
	})
}
