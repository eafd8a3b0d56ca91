package imagecache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/tiertest"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// fakeTier is a Tier in a map, with configurable faults.
type fakeTier struct {
	tiertest.Map
	broken bool
	onGet  func(held imagecache.Image) // called between the read and its return
}

var errBroken = errors.New("tier is broken")

func (s *fakeTier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	if s.broken {
		return imagecache.Image{}, errBroken
	}
	img, err := s.Map.Get(ctx, key)
	if onGet := s.onGet; err == nil && onGet != nil {
		onGet(img)
	}
	return img, err
}

func (s *fakeTier) Put(ctx context.Context, key imagecache.Key, img imagecache.Image) error {
	if s.broken {
		return errBroken
	}
	return s.Map.Put(ctx, key, img)
}

// fakeFiller is a Filler that does as the test says.
type fakeFiller struct {
	fills atomic.Int32
	fill  func(ctx context.Context, ref imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error)
}

func (k *fakeFiller) Fill(ctx context.Context, ref imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
	k.fills.Add(1)
	return k.fill(ctx, ref, stale)
}

func (k *fakeFiller) Purge(context.Context, imagecache.Original) (imagecache.Removed, error) {
	return imagecache.Removed{Images: 1, Bytes: 100}, nil
}

func serves(body string) func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
	return func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
		return imagecache.Filled{
			Image:  imagecache.Image{Body: []byte(body)},
			Detail: imagecache.FromOrigin,
			Status: 200,
		}, nil
	}
}

func fails(err error) func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
	return func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
		return imagecache.Filled{}, err
	}
}

type fixture struct {
	cache        *imagecache.Cache
	memory, disk *fakeTier
	filler       *fakeFiller
}

func newFixture(k *fakeFiller) fixture {
	b := fixture{memory: &fakeTier{}, disk: &fakeTier{}, filler: k}
	b.cache = imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{
			{Tier: b.memory, Name: imagecache.Memory},
			{Tier: b.disk, Name: imagecache.Disk},
		},
		Filler:      k,
		NegativeTTL: 10 * time.Second,
	})
	return b
}

func ref(t testing.TB, path string) imageurl.Ref {
	t.Helper()
	r, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const cat = "/640x640-cover/v.1/posts/cat.jpg.webp"

func TestCache_Get_FillsOnceThenHitsMemoryAndDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: serves("cat")})
		r := ref(t, cat)
		wants := []imagecache.Outcome{
			{
				Detail:  imagecache.FromOrigin,
				Forward: imagecache.URIMiss,
				Status:  200,
				Stored:  true,
				TTL:     imagecache.PinnedTTL,
			},
			{Detail: imagecache.Memory, TTL: imagecache.PinnedTTL},
		}
		for range 8 { // memory is emptied before each Get; the eighth one copies the image
			wants = append(wants, imagecache.Outcome{Detail: imagecache.Disk, TTL: imagecache.PinnedTTL})
		}
		for i, want := range append(wants, wants[1]) {
			if i == 2 {
				b.memory.Clear()
			}
			synctest.Wait() // for the copy
			img, out, err := b.cache.Get(t.Context(), r)
			if err != nil || string(img.Body) != "cat" || out != want {
				t.Fatalf("step %d: %q, %+v, %v; want %+v", i, img.Body, out, err, want)
			}
		}
		if n := b.filler.fills.Load(); n != 1 {
			t.Errorf("%d fills, want 1", n)
		}
	})
}

func TestCache_Get_SharesOneFillAmongCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		b := newFixture(
			&fakeFiller{
				fill: func(ctx context.Context, r imageurl.Ref, s *imagecache.Image) (imagecache.Filled, error) {
					<-open
					return serves("cat")(ctx, r, s)
				},
			},
		)
		var collapsed, stored atomic.Int32
		for range 500 {
			go func() {
				img, out, err := b.cache.Get(t.Context(), ref(t, cat))
				if err != nil || string(img.Body) != "cat" {
					t.Errorf("%q, %v", img.Body, err)
				}
				if out.Collapsed {
					collapsed.Add(1)
				}
				if out.Stored {
					stored.Add(1)
				}
			}()
		}
		synctest.Wait()
		close(open)
		synctest.Wait()
		if b.filler.fills.Load() != 1 || collapsed.Load() != 499 || stored.Load() != 1 {
			t.Errorf("fills %d, collapsed %d, stored %d; want 1, 499, 1",
				b.filler.fills.Load(), collapsed.Load(), stored.Load())
		}
	})
}

func TestCache_Get_FillOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		b := newFixture(
			&fakeFiller{
				fill: func(ctx context.Context, r imageurl.Ref, s *imagecache.Image) (imagecache.Filled, error) {
					select {
					case <-open:
						return serves("cat")(ctx, r, s)
					case <-ctx.Done():
						return imagecache.Filled{}, ctx.Err()
					}
				},
			},
		)
		first, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, _, err := b.cache.Get(first, ref(t, cat)); left <- err }()
		synctest.Wait()
		got := make(chan error, 1)
		go func() { _, _, err := b.cache.Get(t.Context(), ref(t, cat)); got <- err }()
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left got error %v, want Canceled", err)
		}
		close(open)
		if err := <-got; err != nil {
			t.Errorf("the caller that stayed got error %v", err)
		}
		if n := b.filler.fills.Load(); n != 1 {
			t.Errorf("%d fills, want 1", n)
		}
	})
}

func TestCache_Get_LastCallerCancelsTheFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		b := newFixture(
			&fakeFiller{
				fill: func(ctx context.Context, _ imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
					<-ctx.Done()
					close(stopped)
					return imagecache.Filled{}, ctx.Err()
				},
			},
		)
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			go b.cache.Get(ctx, ref(t, cat))
		}
		synctest.Wait()
		leave()
		<-stopped
	})
}

func TestCache_Get_EndsAHangingFill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(
			&fakeFiller{
				fill: func(ctx context.Context, _ imageurl.Ref, _ *imagecache.Image) (imagecache.Filled, error) {
					<-ctx.Done()
					return imagecache.Filled{}, context.Cause(ctx)
				},
			},
		)
		began := time.Now()
		_, _, err := b.cache.Get(t.Context(), ref(t, cat))
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 20*time.Second {
			t.Errorf("%v after %v, want a deadline after 20s", err, time.Since(began))
		}
	})
}

func TestCache_Get_AnswersEveryWaiterAfterAPanic(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open := make(chan struct{})
				b := newFixture(
					&fakeFiller{
						fill: func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
							<-open
							end()
							return imagecache.Filled{}, nil
						},
					},
				)
				errs := make(chan error, 10)
				for range cap(errs) {
					go func() { _, _, err := b.cache.Get(t.Context(), ref(t, cat)); errs <- err }()
				}
				synctest.Wait()
				close(open)
				for range cap(errs) {
					if err := <-errs; !errors.Is(err, resize.ErrFailed) {
						t.Errorf("got %v, want ErrFailed", err)
					}
				}
				b.filler.fill = serves("cat")
				if _, _, err := b.cache.Get(t.Context(), ref(t, cat)); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		})
	}
}

func TestCache_Get_FillsWhenATierFails(t *testing.T) {
	b := newFixture(&fakeFiller{fill: serves("cat")})
	b.disk.broken, b.memory.broken = true, true
	img, out, err := b.cache.Get(t.Context(), ref(t, cat))
	if err != nil || string(img.Body) != "cat" || out.Stored {
		t.Errorf("%q, %+v, %v; want the image, not stored", img.Body, out, err)
	}
}

func TestCache_Get_CachesRefusalsButNotFaults(t *testing.T) {
	for _, c := range []struct {
		err   error
		fills int32
	}{
		{origin.ErrNotFound, 2}, {origin.ErrChanged, 2}, {resize.ErrCorrupt, 2},
		{origin.ErrUnavailable, 3}, {resize.ErrBusy, 3}, {resize.ErrTimeout, 3},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newFixture(&fakeFiller{fill: fails(c.err)})
				get := func() imagecache.Outcome {
					_, out, err := b.cache.Get(t.Context(), ref(t, cat))
					if !errors.Is(err, c.err) {
						t.Fatalf("got %v", err)
					}
					return out
				}
				get()
				time.Sleep(3 * time.Second)
				if out := get(); c.fills == 2 &&
					out != (imagecache.Outcome{Detail: imagecache.Negative, TTL: 7 * time.Second}) {
					t.Errorf("second answer %+v, want a negative hit for 7s", out)
				}
				time.Sleep(8 * time.Second)
				get()
				if n := b.filler.fills.Load(); n != c.fills {
					t.Errorf("%d fills, want %d", n, c.fills)
				}
			})
		})
	}
}

// live is fresh for a minute, may be served stale for another while it is renewed, and
// for an hour when it cannot be.
func live(body string, now time.Time) imagecache.Image {
	return imagecache.Image{Body: []byte(body), Fresh: imagecache.Freshness{
		Generated: now, Until: now.Add(time.Minute), StaleWhileRevalidate: time.Minute, StaleIfError: time.Hour,
	}}
}

func TestCache_Get_RevalidatesLiveImagesInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(
			&fakeFiller{
				fill: func(_ context.Context, _ imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
					return imagecache.Filled{
						Image:  live("old", time.Now()),
						Detail: imagecache.FromOrigin,
						Status: 200,
					}, nil
				},
			},
		)
		r := ref(t, "/640x/live/posts/cat.jpg.webp")
		get := func(body string, want imagecache.Outcome) {
			t.Helper()
			img, out, err := b.cache.Get(t.Context(), r)
			if err != nil || string(img.Body) != body || out != want {
				t.Errorf("%q, %+v, %v; want %q, %+v", img.Body, out, err, body, want)
			}
			synctest.Wait()
		}
		get(
			"old",
			imagecache.Outcome{
				Detail:  imagecache.FromOrigin,
				Forward: imagecache.URIMiss,
				Status:  200,
				Stored:  true,
				TTL:     time.Minute,
			},
		)
		time.Sleep(40 * time.Second)
		get("old", imagecache.Outcome{Detail: imagecache.Memory, TTL: 20 * time.Second})
		b.filler.fill = func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
			return imagecache.Filled{Image: live("new", time.Now()), Detail: imagecache.FromOrigin, Status: 200}, nil
		}
		time.Sleep(40 * time.Second)
		get("old", imagecache.Outcome{Detail: imagecache.Stale, TTL: -20 * time.Second})
		get("new", imagecache.Outcome{Detail: imagecache.Memory, TTL: time.Minute})

		b.filler.fill = fails(origin.ErrUnavailable)
		time.Sleep(30 * time.Minute)
		get("new", imagecache.Outcome{Detail: imagecache.Stale, TTL: -29 * time.Minute})

		b.filler.fill = func(_ context.Context, _ imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
			img := *stale
			img.Fresh = live("", time.Now()).Fresh
			return imagecache.Filled{Image: img, Detail: imagecache.FromOrigin, Status: 304, NotModified: true}, nil
		}
		get(
			"new",
			imagecache.Outcome{
				Detail:  imagecache.Memory,
				Forward: imagecache.FwdStale,
				Status:  304,
				Stored:  true,
				TTL:     time.Minute,
			},
		)
		get("new", imagecache.Outcome{Detail: imagecache.Memory, TTL: time.Minute})
	})
}

func TestCache_Get_DoesNotStoreNoStoreImages(t *testing.T) {
	b := newFixture(
		&fakeFiller{fill: func(context.Context, imageurl.Ref, *imagecache.Image) (imagecache.Filled, error) {
			now := time.Now()
			return imagecache.Filled{
				Image: imagecache.Image{
					Body:  []byte("mine"),
					Fresh: imagecache.Freshness{Generated: now, Until: now, NoStore: true},
				},
			}, nil
		}},
	)
	img, out, err := b.cache.Get(t.Context(), ref(t, "/640x/live/posts/cat.jpg.webp"))
	if err != nil || !bytes.Equal(img.Body, []byte("mine")) || out.Stored ||
		len(b.memory.Images())+len(b.disk.Images()) != 0 {
		t.Errorf("%q, %+v, %v, kept %d", img.Body, out, err, len(b.memory.Images())+len(b.disk.Images()))
	}
}

func TestCache_Purge_WinsOverEarlierFillsAndCopies(t *testing.T) {
	t.Run("fill", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			open := make(chan struct{})
			b := newFixture(&fakeFiller{})
			b.filler.fill = func(ctx context.Context, r imageurl.Ref, s *imagecache.Image) (imagecache.Filled, error) {
				if b.filler.fills.Load() == 1 {
					<-open
					return serves("old")(ctx, r, s)
				}
				return serves("new")(ctx, r, s)
			}
			go b.cache.Get(t.Context(), ref(t, cat))
			synctest.Wait()
			target := imagecache.Target{Original: imagecache.Original{Source: "posts", Name: "cat.jpg"}}
			if _, err := b.cache.Purge(t.Context(), target); err != nil {
				t.Fatal(err)
			}
			// A Get after the purge does not join the fill that began before it.
			if img, _, err := b.cache.Get(t.Context(), ref(t, cat)); err != nil || string(img.Body) != "new" {
				t.Errorf("after the purge: %q, %v", img.Body, err)
			}
			close(open)
			synctest.Wait()
			if img, out, _ := b.cache.Get(t.Context(), ref(t, cat)); string(img.Body) != "new" ||
				out.Detail != imagecache.Memory {
				t.Errorf("the old fill was stored: %q, %+v", img.Body, out)
			}
		})
	})
	t.Run("copy", func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: serves("new")})
		key := imagecache.KeyOf(ref(t, cat))
		if err := b.disk.Put(t.Context(), key, imagecache.Image{Body: []byte("old")}); err != nil {
			t.Fatal(err)
		}
		b.disk.onGet = func(imagecache.Image) {
			b.disk.onGet = nil
			receipt, err := b.cache.Purge(t.Context(), imagecache.Target{Original: key.Original()})
			if err != nil || receipt.Variants != 1 || receipt.Originals != 1 || receipt.Bytes != 103 {
				t.Errorf("%+v, %v", receipt, err)
			}
		}
		if img, _, err := b.cache.Get(t.Context(), ref(t, cat)); err != nil || string(img.Body) != "old" {
			t.Fatalf("the reader that began before the purge: %q, %v", img.Body, err)
		}
		if img, _, err := b.cache.Get(t.Context(), ref(t, cat)); err != nil || string(img.Body) != "new" {
			t.Errorf("after the purge: %q, %v: the old image was copied into memory", img.Body, err)
		}
	})
}

func TestCache_Get_Observed(t *testing.T) {
	type marker struct{}
	tier := &fakeTier{}
	var filled, done string
	cache := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: tier, Name: imagecache.Memory}},
		Filler: &fakeFiller{fill: func(
			ctx context.Context, _ imageurl.Ref, _ *imagecache.Image,
		) (imagecache.Filled, error) {
			filled, _ = ctx.Value(marker{}).(string)
			return imagecache.Filled{Image: imagecache.Image{Body: []byte("a")}, Detail: imagecache.FromOrigin}, nil
		}},
		Observe: func(
			ctx context.Context, ref imageurl.Ref,
		) (context.Context, func(imagecache.Image, imagecache.Outcome, error)) {
			ctx = context.WithValue(ctx, marker{}, "observed")
			return ctx, func(img imagecache.Image, out imagecache.Outcome, err error) {
				done = fmt.Sprint(ref.Name(), " ", string(img.Body), " ", out.Detail, " ", err)
			}
		},
	})
	ref, err := imageurl.ParseRef("/640x480/v.1/posts/cat.jpg.webp")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cache.Get(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	if filled != "observed" || done != "cat.jpg a origin <nil>" {
		t.Errorf("the filler's context is %q, done was called with %q", filled, done)
	}
}
