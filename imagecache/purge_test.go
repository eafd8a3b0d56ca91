package imagecache_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
)

func get(t *testing.T, c *imagecache.Cache, path string) (string, imagecache.Outcome) {
	t.Helper()
	img, out, err := c.Get(t.Context(), ref(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(img.Body), out
}

var ofCat = imagecache.Target{Original: imagecache.Original{Source: "posts", Name: "cat.jpg"}}

func TestCache_SoftPurge_ServesStaleWhileItRefills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: serves("old")})
		get(t, b.cache, cat)
		receipt, err := b.cache.SoftPurge(t.Context(), ofCat)
		if err != nil || receipt.Variants != 1 || receipt.Originals != 1 || receipt.Bytes != 103 {
			t.Fatalf("%+v, %v; want what disk and originals held", receipt, err)
		}
		b.filler.fill = serves("new")
		if body, out := get(t, b.cache, cat); body != "old" || out.Detail != imagecache.Stale || out.TTL > 0 {
			t.Errorf("%s %+v, want the old one, stale", body, out)
		}
		synctest.Wait()
		if body, out := get(t, b.cache, cat); body != "new" || out.Detail != imagecache.Memory {
			t.Errorf("%s %+v, want the new one from memory", body, out)
		}
		if n := b.filler.fills.Load(); n != 2 {
			t.Errorf("%d fills, want 2", n)
		}
	})
}

// Otherwise other caches on the way would keep the answer for the rest of its lifetime.
func TestCache_SoftPurge_EndsTheFreshnessOfLiveImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		fresh := imagecache.Freshness{Generated: began, Until: began.Add(time.Hour), StaleWhileRevalidate: time.Minute}
		b := newFixture(
			&fakeFiller{fill: func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
				return imagecache.Filled{
					Image:  imagecache.Image{Body: []byte("old"), Fresh: fresh},
					Detail: imagecache.FromOrigin,
					Status: 200,
				}, nil
			}},
		)
		const live = "/640x640-cover/live/posts/cat.jpg.webp"
		get(t, b.cache, live)
		time.Sleep(time.Minute)
		if _, err := b.cache.SoftPurge(t.Context(), ofCat); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		img, out, err := b.cache.Get(t.Context(), ref(t, live))
		if err != nil || out.Detail != imagecache.Stale || img.Fresh.Until != began.Add(time.Minute) {
			t.Errorf("%+v until %s after it was made, %v; want the minute that it was good for",
				out, img.Fresh.Until.Sub(began), err)
		}
		synctest.Wait()
	})
}

func TestCache_SoftPurge_HoldsWhileTheOriginIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: serves("old")})
		get(t, b.cache, cat)
		if _, err := b.cache.SoftPurge(t.Context(), ofCat); err != nil {
			t.Fatal(err)
		}
		b.filler.fill = fails(origin.ErrUnavailable)
		for range 3 {
			if body, out := get(t, b.cache, cat); body != "old" || out.Detail != imagecache.Stale {
				t.Errorf("%s %+v, want the old one, stale", body, out)
			}
			synctest.Wait()
		}
	})
}

func TestCache_SoftPurge_OfOneVariantKeepsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: serves("old")})
		const sister = "/320x/v.1/posts/cat.jpg.webp"
		get(t, b.cache, cat)
		get(t, b.cache, sister)
		if _, err := b.cache.SoftPurge(t.Context(), imagecache.Target{Key: imagecache.KeyOf(ref(t, cat))}); err != nil {
			t.Fatal(err)
		}
		if _, out := get(t, b.cache, sister); out.Detail != imagecache.Memory {
			t.Errorf("the sister is %+v", out)
		}
		if _, out := get(t, b.cache, cat); out.Detail != imagecache.Stale {
			t.Errorf("outcome %+v, want Stale", out)
		}
	})
}

func TestCache_Purge_AfterASoftPurgeLeavesNothing(t *testing.T) {
	b := newFixture(&fakeFiller{fill: serves("old")})
	get(t, b.cache, cat)
	for _, purge := range []func(context.Context, imagecache.Target) (imagecache.Receipt, error){
		b.cache.SoftPurge, b.cache.Purge,
	} {
		if _, err := purge(t.Context(), ofCat); err != nil {
			t.Fatal(err)
		}
	}
	b.filler.fill = serves("new")
	for _, want := range []imagecache.Detail{imagecache.FromOrigin, imagecache.Memory} {
		if body, out := get(t, b.cache, cat); body != "new" || out.Detail != want {
			t.Errorf("%s %+v, want the new one: %s", body, out, want)
		}
	}
}

func TestCache_Get_RefusesTakenDownImage(t *testing.T) {
	var down atomic.Bool
	k := &fakeFiller{fill: serves("cat")}
	c := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}}, Filler: k,
		TakenDown: func(of imagecache.Original) bool { return down.Load() && of == ofCat.Original },
	})
	get(t, c, cat)
	down.Store(true)
	for range 2 {
		if img, _, err := c.Get(t.Context(), ref(t, cat)); !errors.Is(err, imagecache.ErrTakenDown) ||
			len(img.Body) > 0 {
			t.Errorf("%q, %v; want ErrTakenDown", img.Body, err)
		}
	}
	if n := k.fills.Load(); n != 1 {
		t.Errorf("%d fills: it was made again", n)
	}
	get(t, c, "/640x640-cover/v.1/posts/dog.jpg.webp")
	down.Store(false)
	get(t, c, cat)
}

// A caller that waits for a fill while the original is taken down gets ErrTakenDown.
func TestCache_Get_RefusesWaitersAfterATakedown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		release := make(chan struct{})
		k := &fakeFiller{
			fill: func(ctx context.Context, r imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
				<-release
				return serves("cat")(ctx, r, stale)
			},
		}
		c := imagecache.New(imagecache.Config{
			Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}}, Filler: k,
			TakenDown: func(imagecache.Original) bool { return down.Load() },
		})
		waiter := make(chan error, 1)
		go func() {
			img, _, err := c.Get(t.Context(), ref(t, cat))
			if bytes.Contains(img.Body, []byte("cat")) {
				err = errors.New("it was handed out")
			}
			waiter <- err
		}()
		synctest.Wait()
		down.Store(true)
		close(release)
		if err := <-waiter; !errors.Is(err, imagecache.ErrTakenDown) {
			t.Errorf("%v, want ErrTakenDown", err)
		}
	})
}
