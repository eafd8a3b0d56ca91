package imagecache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
)

// farTier counts what it is asked.
type farTier struct {
	fakeTier
	asked atomic.Int32
}

func (s *farTier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	s.asked.Add(1)
	return s.fakeTier.Get(ctx, key)
}

func TestCache_Get_ReadsAFarTierOnceAndCopiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := &farTier{}, &fakeTier{}
		c := imagecache.New(imagecache.Config{
			Layers: []imagecache.Layer{{Tier: near, Name: imagecache.Memory}, {Tier: far, Name: imagecache.Derived, Far: true}},
			Filler: &fakeFiller{fill: fails(origin.ErrUnavailable)},
		})
		r := ref(t, cat)
		held := make(chan struct{})
		far.images = map[imagecache.Key]imagecache.Image{imagecache.KeyOf(r): {Body: []byte("cat")}}
		far.onGet = func(imagecache.Image) { <-held }
		for range 300 {
			go func() {
				img, out, err := c.Get(t.Context(), r)
				if err != nil || string(img.Body) != "cat" || out.Detail != imagecache.Derived || out.Forward != imagecache.Hit {
					t.Errorf("%q %+v %v", img.Body, out, err)
				}
			}()
		}
		synctest.Wait()
		close(held)
		synctest.Wait()
		if n := far.asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		if _, out, err := c.Get(t.Context(), r); err != nil || out.Detail != imagecache.Memory {
			t.Errorf("%+v %v, want it near by now", out, err)
		}
	})
}
