package imagecache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// slowBackground is a Filler whose background fills take a minute, and all others a second.
type slowBackground struct{ background, live atomic.Int64 }

func (l *slowBackground) Fill(ctx context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	if resize.PriorityOf(ctx) == resize.PriorityWarm {
		l.background.Add(1)
		time.Sleep(time.Minute)
	} else {
		l.live.Add(1)
		time.Sleep(time.Second)
	}
	return imagecache.Filled{
		Image:  imagecache.Image{Body: []byte(ref.String())},
		Detail: imagecache.FromOrigin,
		Status: 200,
	}, nil
}

func (l *slowBackground) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

// Foreground requests never wait for background ones: a live Get does not join a warm fill; a
// warm Get joins a live one.
func TestCache_Get_LiveDoesNotJoinWarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &slowBackground{}
		c := imagecache.New(
			imagecache.Config{
				Filler:      filler,
				FillTimeout: time.Hour,
				Layers:      []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}},
			},
		)
		ref, err := imageurl.ParseRef("/100x/v.1/posts/a.jpg.webp")
		if err != nil {
			t.Fatal(err)
		}
		warmed := make(chan error)
		go func() {
			_, _, err := c.Get(resize.WithPriority(t.Context(), resize.PriorityWarm), ref)
			warmed <- err
		}()
		synctest.Wait()
		began := time.Now()
		if _, out, err := c.Get(t.Context(), ref); err != nil || out.Collapsed || time.Since(began) != time.Second {
			t.Errorf("after %v: %+v, %v", time.Since(began), out, err)
		}
		if err := <-warmed; err != nil {
			t.Error(err)
		}
		if _, out, err := c.Get(t.Context(), ref); err != nil || out.Detail != imagecache.Memory {
			t.Errorf("%+v, %v", out, err)
		}
		other, err := imageurl.ParseRef("/100x/v.1/posts/b.jpg.webp")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _, _ = c.Get(t.Context(), other) }()
		synctest.Wait()
		began = time.Now()
		if _, out, err := c.Get(resize.WithPriority(t.Context(), resize.PriorityWarm), other); err != nil ||
			!out.Collapsed ||
			time.Since(began) != time.Second {
			t.Errorf("in the background, after %v: %+v, %v", time.Since(began), out, err)
		}
		if filler.background.Load() != 1 || filler.live.Load() != 2 {
			t.Errorf("%d fills in the background, %d live, want 1 and 2", filler.background.Load(), filler.live.Load())
		}
	})
}

// pageFiller makes a page's images in a minute; the first time it has no room.
type pageFiller struct{ page, live atomic.Int64 }

func (l *pageFiller) Fill(ctx context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	switch resize.PriorityOf(ctx) {
	case resize.PriorityPage:
		time.Sleep(time.Minute)
		if l.page.Add(1) == 1 {
			return imagecache.Filled{}, resize.ErrBusy
		}
	default:
		l.live.Add(1)
	}
	return imagecache.Filled{Image: imagecache.Image{Body: []byte(ref.String())}, Status: 200}, nil
}

func (l *pageFiller) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

// A live Get joins the fill of a page, and begins its own if that one found no room.
func TestCache_Get_LiveJoinsPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &pageFiller{}
		c := imagecache.New(imagecache.Config{
			Filler: filler, FillTimeout: time.Hour,
			Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}},
		})
		for i, path := range []string{"/100x/v.1/posts/a.jpg.webp", "/100x/v.1/posts/b.jpg.webp"} {
			ref, err := imageurl.ParseRef(path)
			if err != nil {
				t.Fatal(err)
			}
			go func() { _, _, _ = c.Get(resize.WithPriority(t.Context(), resize.PriorityPage), ref) }()
			synctest.Wait()
			if _, out, err := c.Get(t.Context(), ref); err != nil || out.Collapsed != (i == 1) {
				t.Errorf("%s: %+v, %v", path, out, err)
			}
		}
		if filler.page.Load() != 2 || filler.live.Load() != 1 {
			t.Errorf("%d fills of pages, %d live, want 2 and 1", filler.page.Load(), filler.live.Load())
		}
	})
}
