package service

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// pageRefs returns n paths of a page.
func pageRefs(t *testing.T, page string, n int) []imageurl.Ref {
	t.Helper()
	var paths []string
	for i := range n {
		paths = append(paths, fmt.Sprintf("/440x/v.1/posts/%s%d.jpg.webp", page, i))
	}
	return refsOf(t, paths...)
}

// First screens are made before the rest of any page, in the order of the page. Paths that have
// waited too long are dropped.
func TestPages_Run_FirstScreensFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made []string
		counts := map[string]int{}
		p := newPages(func(_ context.Context, ref imageurl.Ref) string {
			time.Sleep(2 * time.Second)
			made = append(made, strings.TrimSuffix(ref.Name(), ".jpg"))
			return "made"
		}, func(outcome string) { counts[outcome]++ }, 1)
		if !p.put(pageRefs(t, "a", firstScreen+3)) || !p.put(pageRefs(t, "b", 2)) {
			t.Error("the queue refused a page that fits")
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { _ = p.run(ctx) })
		time.Sleep(time.Minute)
		cancel()
		done.Wait()
		want := []string{"a0", "a1", "a2", "a3", "a4", "a5", "b0", "b1", "a6", "a7"}
		if !slices.Equal(made, want) || counts["late"] != 1 || counts["made"] != len(want) {
			t.Errorf("made %v, %v", made, counts)
		}
	})
}

func TestPages_Put_RefusesWhenFull(t *testing.T) {
	p := newPages(nil, nil, 1)
	for range maxPathsWaiting / 200 {
		if !p.put(pageRefs(t, "a", 200)) {
			t.Fatal("the queue refused a page that fits")
		}
	}
	if p.put(pageRefs(t, "a", 200)) || !p.put(pageRefs(t, "a", maxPathsWaiting%200)) || p.put(pageRefs(t, "a", 1)) {
		t.Errorf("%d paths wait", p.waiting())
	}
}

// priorityCache records the priority of each request.
type priorityCache struct {
	Cache
	mu    sync.Mutex
	asked map[string]resize.Priority
}

func (c *priorityCache) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[ref.String()] = resize.PriorityOf(ctx)
	return imagecache.Image{}, imagecache.Outcome{Forward: imagecache.URIMiss}, nil
}

// A page with paths needs no queue: exactly its paths are made, before clients request them.
func TestService_Event_PagePaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer, err := imageurl.NewDevSigner()
		if err != nil {
			t.Fatal(err)
		}
		links, err := profile.NewLinks()
		if err != nil {
			t.Fatal(err)
		}
		for _, mode := range []warmer.Mode{warmer.Adaptive, warmer.None} {
			cache := &priorityCache{asked: map[string]resize.Priority{}}
			s, err := New(Config{
				Bus: &jetstream.Bus{}, Metrics: fakeMetrics{}, Dir: t.TempDir(),
				Profiles: profile.BuiltIn(), Links: links,
				Dev: true, Signer: signer, Cache: cache, Mode: mode, WastedAfter: time.Hour,
				Sources: map[string]origin.Source{"posts": nil},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = s.pages.run(ctx) }()
			body := []byte(`{"type":"feed.page","data":{"paths":["/i/_/440x/v.1/posts/a.jpg.webp"],` +
				`"posts":[{"image":{"source":"posts","name":"b.jpg","version":"v.1"}}]}}`)
			taken, err := s.Event(ctx, http.Header{}, func() ([]byte, error) { return body, nil })
			if err != nil || taken.Kind != "feed.page" {
				t.Errorf("%s, %v", taken.Kind, err)
			}
			synctest.Wait()
			cancel()
			priority, made := cache.asked["/440x/v.1/posts/a.jpg.webp"]
			if mode == warmer.None {
				if made {
					t.Error("a path was made although warming is off")
				}
				continue
			}
			if len(cache.asked) != 1 || !made || priority != resize.PriorityPage {
				t.Errorf("requested %v", cache.asked)
			}
			s.Requested(refsOf(t, "/440x/v.1/posts/a.jpg.webp")[0], imagecache.Outcome{}, resize.PriorityLive)
			if used, _ := s.watch.Counts(); used.Variants != 1 {
				t.Errorf("%d used", used.Variants)
			}
		}
	})
}
