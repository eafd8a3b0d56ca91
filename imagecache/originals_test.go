package imagecache_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
)

const (
	orig     = "/orig/v.1/posts/cat.jpg"
	liveOrig = "/orig/live/posts/cat.jpg"
)

// diskOfOriginals is a Tier that has every key, with a new body for each Get.
type diskOfOriginals struct {
	fakeTier
	bytes int
	gets  atomic.Int32
}

func (d *diskOfOriginals) Get(ctx context.Context, _ imagecache.Key) (imagecache.Image, error) {
	d.gets.Add(1)
	if err := inflight.Grow(ctx, int64(d.bytes)); err != nil {
		return imagecache.Image{}, err
	}
	return imagecache.Image{Body: bytes.Repeat([]byte{1}, d.bytes)}, nil
}

func cacheOfOriginals(d imagecache.Tier, budget *inflight.Budget) *imagecache.Cache {
	return imagecache.New(imagecache.Config{
		Originals: d, InFlight: budget,
		Filler: &fakeFiller{fill: fails(errors.New("nothing is to be filled"))},
	})
}

func TestCache_Get_ReadersOfAnOriginalShareItsBody(t *testing.T) {
	d := &diskOfOriginals{bytes: 100}
	budget := inflight.New(1000)
	c := cacheOfOriginals(d, budget)
	images := make([]imagecache.Image, 20)
	var all sync.WaitGroup
	for i := range images {
		all.Go(func() {
			var err error
			if images[i], _, err = c.Get(t.Context(), ref(t, orig)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, img := range images {
		if len(img.Body) != 100 || &img.Body[0] != &images[0].Body[0] {
			t.Fatalf("a body of its own, of %d bytes", len(img.Body))
		}
	}
	if n := d.gets.Load(); n != 1 {
		t.Errorf("%d reads of the disk, want 1", n)
	}
	if n := budget.Stats().Bytes; n != 100 {
		t.Errorf("%d bytes in flight, want 100", n)
	}
	of := imagecache.KeyOf(ref(t, orig)).Original()
	if _, err := c.Purge(t.Context(), imagecache.Target{Original: of}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Get(t.Context(), ref(t, orig)); err != nil || d.gets.Load() != 2 {
		t.Errorf("after a purge: %v and %d reads, want another read", err, d.gets.Load())
	}
	runtime.KeepAlive(images)
}

// Package fill reads a kept original into a pooled buffer, and returns that when the origin confirms it.
func TestCache_Get_RevalidatedOriginalHasNoBuffer(t *testing.T) {
	c := imagecache.New(imagecache.Config{
		Originals: &fakeTier{},
		Filler: &fakeFiller{fill: func(
			context.Context, imageurl.Ref, *imagecache.Image,
		) (imagecache.Filled, error) {
			img, buffer := live("", time.Now()), imagecache.NewBuffer(8<<10)
			img.Body, img.Buffer, img.Hold = buffer.Bytes(), buffer, (*inflight.Budget)(nil).Hold()
			return imagecache.Filled{Image: img, Status: 304}, nil
		}},
	})
	first, _, err := c.Get(t.Context(), ref(t, liveOrig))
	second, _, err2 := c.Get(t.Context(), ref(t, liveOrig))
	if err != nil || err2 != nil || &second.Body[0] != &first.Body[0] {
		t.Fatalf("%v, %v; want one body for both", err, err2)
	}
	if first.Buffer != nil || second.Buffer != nil {
		t.Error("a reader may recycle the body of the other one")
	}
	runtime.KeepAlive(first)
}

func TestCache_Get_DoesNotShareNoStoreOriginals(t *testing.T) {
	filler := &fakeFiller{fill: func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
		now := time.Now()
		return imagecache.Filled{Image: imagecache.Image{
			Body: []byte("mine"), Hold: (*inflight.Budget)(nil).Hold(),
			Fresh: imagecache.Freshness{Generated: now, Until: now, NoStore: true},
		}}, nil
	}}
	c := imagecache.New(imagecache.Config{Originals: &fakeTier{}, Filler: filler, StaleIfError: time.Hour})
	first, _, err := c.Get(t.Context(), ref(t, liveOrig))
	if err != nil {
		t.Fatal(err)
	}
	filler.fill = fails(origin.ErrUnavailable)
	if img, _, err := c.Get(t.Context(), ref(t, liveOrig)); !errors.Is(err, origin.ErrUnavailable) {
		t.Errorf("%q, %v; want the error of the origin", img.Body, err)
	}
	runtime.KeepAlive(first)
}

func TestCache_Get_WaitsForRoomForAnOriginal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := inflight.New(1000)
		c := cacheOfOriginals(&diskOfOriginals{bytes: 400}, budget)
		first, _, err := c.Get(t.Context(), ref(t, orig))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = c.Get(t.Context(), ref(t, "/orig/v.1/posts/dog.jpg"))
		if !errors.Is(err, inflight.ErrFull) {
			t.Errorf("%v, want ErrFull: answers have half of the budget", err)
		}
		if s := budget.Stats(); s.Waits != 1 || s.Refusals != 1 || s.Bytes != 400 {
			t.Errorf("%+v, want one wait and one refusal", s)
		}
		runtime.KeepAlive(first)
		time.Sleep(time.Second) // the budget stops waiting for the garbage collector
	})
}
