package imagecache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// patientFiller makes the image of a warm job in a minute, and others in a second after their priority was raised. The
// first fills fail.
type patientFiller struct {
	fails []error
	fills int
}

func (l *patientFiller) Fill(ctx context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	l.fills++
	urgent := make(chan struct{}, resize.NumPriorities)
	defer resize.OnRaise(ctx, func(p resize.Priority) {
		if p != resize.PriorityWarm {
			urgent <- struct{}{}
		}
	})()
	select {
	case <-urgent:
		time.Sleep(time.Second)
	case <-time.After(time.Minute):
	}
	if l.fills <= len(l.fails) {
		return imagecache.Filled{}, l.fails[l.fills-1]
	}
	return imagecache.Filled{
		Image: imagecache.Image{Body: []byte(ref.String())}, Detail: imagecache.FromOrigin, Status: 200,
	}, nil
}

func (l *patientFiller) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}

func cacheOf(filler imagecache.Filler) *imagecache.Cache {
	return imagecache.New(imagecache.Config{
		Filler: filler, FillTimeout: time.Hour,
		Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}},
	})
}

// A Get that joins a fill of lower priority raises that of the fill, so it does not wait as long as its first caller.
func TestCache_Get_RaisesFill(t *testing.T) {
	for _, c := range []struct {
		first, second resize.Priority
		want          time.Duration
	}{
		{resize.PriorityWarm, resize.PriorityWarm, time.Minute},
		{resize.PriorityWarm, resize.PriorityPage, time.Second},
		{resize.PriorityWarm, resize.PriorityLive, time.Second},
		{resize.PriorityPage, resize.PriorityLive, time.Second},
		{resize.PriorityLive, resize.PriorityWarm, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			filler := &patientFiller{}
			cache, a := cacheOf(filler), ref(t, "/100x/v.1/posts/a.jpg.webp")
			go func() { _, _, _ = cache.Get(resize.WithPriority(t.Context(), c.first), a) }()
			synctest.Wait()
			began := time.Now()
			_, out, err := cache.Get(resize.WithPriority(t.Context(), c.second), a)
			if took := time.Since(began); err != nil || !out.Collapsed || took != c.want || filler.fills != 1 {
				t.Errorf("%d after %d: %+v, %v after %v and %d fills, want the first one after %v",
					c.second, c.first, out, err, took, filler.fills, c.want)
			}
		})
	}
}

// What failed because its priority was low does not fail for a caller of a higher one.
func TestCache_Get_JoinedFillWasTooLow(t *testing.T) {
	for _, c := range []struct {
		err    error
		begins bool // a fill of its own
	}{
		{resize.ErrBusy, true},
		{resize.ErrCorrupt, false},
	} {
		for _, second := range []resize.Priority{resize.PriorityLive, resize.PriorityPage, resize.PriorityWarm} {
			synctest.Test(t, func(t *testing.T) {
				filler := &patientFiller{fails: []error{c.err}}
				cache, a := cacheOf(filler), ref(t, "/100x/v.1/posts/a.jpg.webp")
				go func() { _, _, _ = cache.Get(resize.WithPriority(t.Context(), resize.PriorityWarm), a) }()
				synctest.Wait()
				_, out, err := cache.Get(resize.WithPriority(t.Context(), second), a)
				begins := c.begins && second != resize.PriorityWarm
				if out.Collapsed == begins || begins && err != nil || !begins && !errors.Is(err, c.err) {
					t.Errorf("%v, then a Get of priority %d: %+v, %v", c.err, second, out, err)
				}
			})
		}
	}
}

// A caller whose priority is raised raises the fill that it has joined.
func TestCache_Get_RaisedAfterJoining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &patientFiller{}
		cache, a := cacheOf(filler), ref(t, "/100x/v.1/posts/a.jpg.webp")
		warm := resize.WithPriority(t.Context(), resize.PriorityWarm)
		go func() { _, _, _ = cache.Get(warm, a) }()
		synctest.Wait()
		ctx, raise := resize.WithRaise(warm)
		time.AfterFunc(10*time.Second, func() { raise(resize.PriorityPage) })
		began := time.Now()
		_, out, err := cache.Get(ctx, a)
		if took := time.Since(began); err != nil || !out.Collapsed || took != 11*time.Second {
			t.Errorf("%+v, %v after %v, want the image a second after the raise", out, err, took)
		}
	})
}

// A caller whose own fill is refused gets the error, also if its priority was raised.
func TestCache_Get_RaisedFillIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &patientFiller{fails: []error{resize.ErrBusy}}
		ctx, raise := resize.WithRaise(resize.WithPriority(t.Context(), resize.PriorityWarm))
		time.AfterFunc(time.Second, func() { raise(resize.PriorityPage) })
		_, _, err := cacheOf(filler).Get(ctx, ref(t, "/100x/v.1/posts/a.jpg.webp"))
		if !errors.Is(err, resize.ErrBusy) || filler.fills != 1 {
			t.Errorf("%v after %d fills, want ErrBusy after one", err, filler.fills)
		}
	})
}

// The time of a fill counts from its begin. A caller that joins it late gets a time of its own, if it has waited for a
// job of lower priority.
func TestCache_Get_JoinedFillTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &pageFiller{}
		c := imagecache.New(imagecache.Config{
			Filler: filler, FillTimeout: 10 * time.Second,
			Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}},
		})
		a := ref(t, "/100x/v.1/posts/a.jpg.webp")
		go func() { _, _, _ = c.Get(resize.WithPriority(t.Context(), resize.PriorityPage), a) }()
		time.Sleep(9 * time.Second)
		if _, out, err := c.Get(t.Context(), a); err != nil || out.Collapsed {
			t.Errorf("%+v, %v, want an image of its own fill", out, err)
		}
	})
}

// pageFiller makes the image of a page until its time is over, and others at once.
type pageFiller struct{}

func (*pageFiller) Fill(ctx context.Context, ref imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
	if resize.PriorityOf(ctx) == resize.PriorityPage {
		<-ctx.Done()
		return imagecache.Filled{}, fmt.Errorf("a page: %w", context.Cause(ctx))
	}
	return imagecache.Filled{Image: imagecache.Image{Body: []byte(ref.String())}, Status: 200}, nil
}

func (*pageFiller) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{}, nil
}
