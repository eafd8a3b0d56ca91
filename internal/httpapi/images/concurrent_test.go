package images

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/tiertest"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/resize"
)

// stuck is a Cache that blocks until the request is cancelled.
type stuck struct{ entered chan struct{} }

func (s *stuck) Get(ctx context.Context, _ imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	s.entered <- struct{}{}
	<-ctx.Done()
	return imagecache.Image{}, imagecache.Outcome{Forward: imagecache.URIMiss}, fmt.Errorf("wait: %w", ctx.Err())
}

// fakeFiller is a Filler with cap(slots) concurrent fills, each blocked until the test releases it.
type fakeFiller struct {
	slots   chan struct{}
	entered chan struct{} // receives once for each fill that begins; may be nil
	leave   chan struct{}
	fills   atomic.Int32
}

func (k *fakeFiller) Fill(ctx context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	select {
	case k.slots <- struct{}{}:
		defer func() { <-k.slots }()
	default:
		return imagecache.Filled{}, fmt.Errorf("queue for %s: %w", ref, resize.ErrBusy)
	}
	k.fills.Add(1)
	if k.entered != nil {
		k.entered <- struct{}{}
	}
	select {
	case <-k.leave:
	case <-ctx.Done():
		return imagecache.Filled{}, ctx.Err()
	}
	return imagecache.Filled{
		Image: imagecache.Image{
			Body:         []byte("made of " + ref.Name()),
			ContentType:  "image/webp",
			ETag:         `"t"`,
			LastModified: apitest.Noon,
		},
		Detail: imagecache.FromOrigin, Status: 200,
	}, nil
}

func (k *fakeFiller) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

func signedPath(t testing.TB, name string) string {
	return apitest.SignBytes(t, "/640x480/v.1/posts/"+name+".webp")
}

type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func fetch(client *http.Client, url string) reply {
	resp, err := client.Get(url)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(body), err}
}

func TestHandler_ColdVariant_IsFilledOnce(t *testing.T) {
	k := &fakeFiller{slots: make(chan struct{}, 1), entered: make(chan struct{}, 1), leave: make(chan struct{})}
	cache := imagecache.New(
		imagecache.Config{Layers: []imagecache.Layer{{Tier: &tiertest.Map{}, Name: imagecache.Memory}}, Filler: k},
	)
	asked := &counting{Cache: cache, all: make(chan struct{}), n: 500}
	addr := serve(t, New(publicConfig(t, asked)))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	url := "http://" + addr + signedPath(t, "cat.jpg")

	replies := make(chan reply, 500)
	for range 500 {
		go func() { replies <- fetch(client, url) }()
	}
	<-k.entered
	<-asked.all // all of them are in the cache, and nothing has been made yet
	close(k.leave)
	stored, collapsed, hits := 0, 0, 0
	for range 500 {
		got := <-replies
		if got.err != nil || got.status != 200 || got.body != "made of cat.jpg" {
			t.Fatalf("%+v", got)
		}
		switch status := got.header.Get("Cache-Status"); {
		case strings.Contains(status, "; stored"):
			stored++
		case strings.Contains(status, "; collapsed"):
			collapsed++
		case strings.Contains(status, "; hit"):
			hits++
		}
	}
	// A request may have been counted just before it checked for a running fill, and then come too
	// late to join.
	if k.fills.Load() != 1 || stored != 1 || collapsed+hits != 499 || collapsed == 0 {
		t.Errorf("%d fills; %d stored, %d collapsed, %d hits", k.fills.Load(), stored, collapsed, hits)
	}
}

// counting reports when a number of requests have arrived.
type counting struct {
	Cache
	asked atomic.Int32
	n     int32
	all   chan struct{}
}

func (c *counting) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	if c.asked.Add(1) == c.n {
		close(c.all)
	}
	return c.Cache.Get(ctx, ref)
}

func TestHandler_BusyFills_HitsAreServed(t *testing.T) {
	k := &fakeFiller{slots: make(chan struct{}, 2), entered: make(chan struct{}, 3), leave: make(chan struct{})}
	cache := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: &tiertest.Map{}, Name: imagecache.Memory}},
		Filler: k, NegativeTTL: time.Minute,
	})
	addr := serve(t, New(publicConfig(t, cache)))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	get := func(name string) reply { return fetch(client, "http://"+addr+signedPath(t, name)) }

	go func() { k.leave <- struct{}{} }() // for the first
	if got := get("warm.jpg"); got.status != 200 {
		t.Fatalf("%+v", got)
	}
	<-k.entered
	// Two fills that never end take every slot.
	slow := make(chan reply, 2)
	for i := range 2 {
		go func() { slow <- get(fmt.Sprintf("slow%d.jpg", i)) }()
	}
	<-k.entered
	<-k.entered
	for i := range 50 {
		if got := get(fmt.Sprintf("cold%d.jpg", i)); got.status != 503 || got.header.Get("Retry-After") == "" ||
			got.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("a miss beyond the queue: %+v", got)
		}
		if got := get("warm.jpg"); got.status != 200 || !strings.Contains(got.header.Get("Cache-Status"), "; hit") {
			t.Fatalf("a hit meanwhile: %+v", got)
		}
	}
	close(k.leave)
	for range 2 {
		if got := <-slow; got.status != 200 {
			t.Errorf("%+v", got)
		}
	}
	// A 503 for a busy tier is not cached for the variant.
	if got := get("cold0.jpg"); got.status != 200 {
		t.Errorf("once there is room: %+v", got)
	}
}
