package imagecache

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// fakeTier is a Tier in a map. onPut is called before each Put.
type fakeTier struct {
	images sync.Map
	onPut  func()
}

func (f *fakeTier) Get(_ context.Context, key Key) (Image, error) {
	if img, ok := f.images.Load(key); ok {
		return img.(Image), nil
	}
	return Image{}, ErrMiss
}

func (f *fakeTier) Put(_ context.Context, key Key, img Image) error {
	if f.onPut != nil {
		f.onPut()
	}
	f.images.Store(key, img)
	return nil
}

func (f *fakeTier) Purge(_ context.Context, target Target) (removed Removed, _ error) {
	f.images.Range(func(k, v any) bool {
		if key := k.(Key); key == target.Key || target.Key == (Key{}) && key.original == target.Original {
			f.images.Delete(key)
			removed.Add(key, int64(len(v.(Image).Body)))
		}
		return true
	})
	return removed, nil
}

func (*fakeTier) Count(context.Context, Target) (Removed, error) {
	return Removed{}, nil
}

// fakeFiller makes images of one body. onPurge is called by each Purge.
type fakeFiller struct {
	body    string
	onPurge func()
}

func (f *fakeFiller) Fill(context.Context, imageurl.Ref, *Image) (Filled, error) {
	return Filled{Image: Image{Body: []byte(f.body)}, Detail: FromOrigin, Status: 200}, nil
}

func (f *fakeFiller) Purge(context.Context, Original) (Removed, error) {
	if f.onPurge != nil {
		f.onPurge()
	}
	return Removed{}, nil
}

func softCache(f *fakeFiller, memory, disk *fakeTier, log *bytes.Buffer) *Cache {
	return New(Config{
		Layers: []Layer{{Tier: memory, Name: Memory}, {Tier: disk, Name: Disk}}, Filler: f,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

// expect fails the test unless Get returns that body with that Detail.
func expect(t *testing.T, c *Cache, path, body string, at Detail) {
	t.Helper()
	r, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	img, out, err := c.Get(t.Context(), r)
	if err != nil || string(img.Body) != body || out.Detail != at {
		t.Errorf("%q from %s, %v; want %q from %s", img.Body, out.Detail, err, body, at)
	}
}

func nthOriginal(n int) Target {
	return Target{Original: Original{Source: "posts", Name: strconv.Itoa(n) + ".jpg"}}
}

func nthPath(n int) string { return "/64x/v.1/posts/" + strconv.Itoa(n) + ".jpg.webp" }

func softPurge(t *testing.T, c *Cache, target Target) {
	t.Helper()
	if _, err := c.SoftPurge(t.Context(), target); err != nil {
		t.Fatal(err)
	}
}

// The soft purge begins between the store of a fill and its report: see the comment of SoftPurge.
func TestCache_SoftPurge_DuringStore_Holds(t *testing.T) {
	filler, memory, disk := &fakeFiller{body: "old"}, &fakeTier{}, &fakeTier{}
	c := softCache(filler, memory, disk, new(bytes.Buffer))
	purged := make(chan error, 1)
	disk.onPut = func() {
		disk.onPut = nil
		go func() {
			_, err := c.SoftPurge(t.Context(), nthOriginal(1))
			purged <- err
		}()
		for c.softs.of(nthOriginal(1)) == nil {
			runtime.Gosched()
		}
	}
	expect(t, c, nthPath(1), "old", FromOrigin)
	if err := <-purged; err != nil {
		t.Fatal(err)
	}
	filler.body = "new"
	expect(t, c, nthPath(1), "old", Stale)
}

// A fill that begins while the kept original is being removed may still use that original.
func TestCache_SoftPurge_FillBeginsMeanwhile_Holds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler := &fakeFiller{body: "old"}
		c := softCache(filler, &fakeTier{}, &fakeTier{}, new(bytes.Buffer))
		filler.onPurge = func() { expect(t, c, nthPath(1), "old", FromOrigin) }
		softPurge(t, c, nthOriginal(1))
		filler.body = "new"
		expect(t, c, nthPath(1), "old", Stale)
		synctest.Wait()
		expect(t, c, nthPath(1), "new", Memory)
	})
}

func TestCache_SoftPurge_RemovesStaleAfterOneDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler, memory := &fakeFiller{body: "old"}, &fakeTier{}
		c := softCache(filler, memory, &fakeTier{}, new(bytes.Buffer))
		for n := range 2 {
			expect(t, c, nthPath(n), "old", FromOrigin)
			softPurge(t, c, nthOriginal(n))
		}
		filler.body = "new"
		time.Sleep(softFor - time.Second)
		expect(t, c, nthPath(0), "old", Stale)
		synctest.Wait()
		expect(t, c, nthPath(0), "new", Memory)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if c.softs.any.Load() || c.softs.renewed != 0 {
			t.Errorf("%d soft purges and %d renewed keys are left", len(c.softs.byTarget), c.softs.renewed)
		}
		expect(t, c, nthPath(0), "new", Disk)
		expect(t, c, nthPath(1), "new", FromOrigin)
	})
}

func TestCache_SoftPurge_EndsTheOldestAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		filler, memory, log := &fakeFiller{body: "old"}, &fakeTier{}, new(bytes.Buffer)
		c := softCache(filler, memory, &fakeTier{}, log)
		for _, n := range []int{0, maxSofts} {
			expect(t, c, nthPath(n), "old", FromOrigin)
		}
		for n := range maxSofts + 1 {
			softPurge(t, c, nthOriginal(n))
			time.Sleep(time.Millisecond)
		}
		if n := len(c.softs.byTarget); n != maxSofts || strings.Count(log.String(), "soft purges at limit") != 1 {
			t.Errorf("%d soft purges, log %q", n, log)
		}
		filler.body = "new"
		expect(t, c, nthPath(0), "new", FromOrigin)
		expect(t, c, nthPath(maxSofts), "old", Stale)
		synctest.Wait()
	})
}
