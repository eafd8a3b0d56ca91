package imagecache_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
)

// farTier is a fakeTier that counts Gets.
type farTier struct {
	fakeTier
	gets atomic.Int32
}

func (s *farTier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	s.gets.Add(1)
	return s.fakeTier.Get(ctx, key)
}

func TestCache_Get_ReadsAFarTierOnceAndCopiesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far, near := &farTier{}, &fakeTier{}
		c := imagecache.New(imagecache.Config{
			Layers: []imagecache.Layer{
				{Tier: near, Name: imagecache.Memory},
				{Tier: far, Name: imagecache.Derived, Far: true},
			},
			Filler: &fakeFiller{fill: fails(origin.ErrUnavailable)},
		})
		r := ref(t, cat)
		held := make(chan struct{})
		_ = far.Put(t.Context(), imagecache.KeyOf(r), imagecache.Image{Body: []byte("cat")})
		far.onGet = func(imagecache.Image) { <-held }
		for range 300 {
			go func() {
				img, out, err := c.Get(t.Context(), r)
				if err != nil || string(img.Body) != "cat" || out.Detail != imagecache.Derived ||
					out.Forward != imagecache.Hit {
					t.Errorf("%q %+v %v", img.Body, out, err)
				}
			}()
		}
		synctest.Wait()
		close(held)
		synctest.Wait()
		if n := far.gets.Load(); n != 1 {
			t.Errorf("gets %d times", n)
		}
		if _, out, err := c.Get(t.Context(), r); err != nil || out.Detail != imagecache.Memory {
			t.Errorf("%+v %v, want it near by now", out, err)
		}
	})
}
