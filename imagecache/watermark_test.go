package imagecache_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

const marked = "/640x640-cover-wm.logo-q70/v.1/posts/cat.jpg.webp"

// After a restart with another watermark, images with the old one are not served, and images
// without a watermark stay cached.
func TestCache_Get_DistinguishesWatermarksByDigest(t *testing.T) {
	memory := &fakeTier{}
	caches := make(map[string]*imagecache.Cache)
	for _, digest := range []string{"aaaa", "bbbb"} {
		caches[digest] = imagecache.New(imagecache.Config{
			Layers:     []imagecache.Layer{{Tier: memory, Name: imagecache.Memory}},
			Filler:     &fakeFiller{fill: serves("with " + digest)},
			Watermarks: imagecache.NewWatermarks(map[string]string{"logo": digest}),
		})
	}
	for _, path := range []string{marked, cat} {
		get(t, caches["aaaa"], path)
	}
	if body, out := get(t, caches["bbbb"], marked); body != "with bbbb" || out.Forward == imagecache.Hit {
		t.Errorf("%s, %+v", body, out)
	}
	if body, out := get(t, caches["aaaa"], marked); body != "with aaaa" || out.Detail != imagecache.Memory {
		t.Errorf("%s, %+v", body, out)
	}
	if body, out := get(t, caches["bbbb"], cat); body != "with aaaa" || out.Detail != imagecache.Memory {
		t.Errorf("an image without a watermark: %s, %+v", body, out)
	}
}

// Only the options of a path are searched for the name of a watermark, not the rest of it.
func TestCache_Purge_OfAWatermarkedPath(t *testing.T) {
	memory := &fakeTier{}
	c := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: memory, Name: imagecache.Memory}}, Filler: &fakeFiller{fill: serves("cat")},
		Watermarks: imagecache.NewWatermarks(map[string]string{"logo": "aaaa"}),
	})
	const named = "/640x640-cover/v.1/posts/x-wm.logo-y.jpg.webp"
	for _, path := range []string{marked, named} {
		get(t, c, path)
	}
	if held := c.Explain(t.Context(), ref(t, marked)); len(held) != 1 || held[0].Where != imagecache.Memory {
		t.Errorf("explained as %+v", held)
	}
	for _, purge := range []imagecache.Target{
		{Key: imagecache.KeyOf(ref(t, marked))},
		{Key: imagecache.KeyOf(ref(t, named))},
	} {
		if receipt, err := c.Purge(t.Context(), purge); err != nil || receipt.Variants != 1 {
			t.Errorf("%v: %+v, %v", purge.Key, receipt, err)
		}
	}
	get(t, c, marked)
	if _, err := c.SoftPurge(t.Context(), imagecache.Target{Key: imagecache.KeyOf(ref(t, marked))}); err != nil {
		t.Fatal(err)
	}
	if _, out := get(t, c, marked); out.Detail != imagecache.Stale {
		t.Errorf("after a soft purge: %+v", out)
	}
}

// A fill that runs while its watermark is replaced may have either picture: it is answered and not
// stored, whenever it began and ended.
func TestWatermarks_Replace_DuringFills(t *testing.T) {
	memory := &fakeTier{}
	marks := imagecache.NewWatermarks(map[string]string{"logo": "aaaa", "other": "cccc"})
	picture := "a"
	reload := func(digest string) {
		t.Helper()
		err := marks.Replace(map[string]string{"logo": digest, "other": "cccc"}, func() error {
			picture = digest[:1]
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var during func()
	filler := &fakeFiller{}
	filler.fill = func(ctx context.Context, r imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
		made := picture
		if during != nil {
			during()
			during = nil
		}
		return serves(made)(ctx, r, stale)
	}
	c := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: memory, Name: imagecache.Memory}}, Filler: filler, Watermarks: marks,
	})
	during = func() { reload("bbbb") }
	if body, out := get(t, c, marked); body != "a" || out.Stored {
		t.Errorf("a fill that began before the change: %s, %+v", body, out)
	}
	if body, out := get(t, c, marked); body != "b" || !out.Stored {
		t.Errorf("after the change: %s, %+v", body, out)
	}
	// The resizer already has the new pictures, but they are not published yet.
	err := marks.Replace(map[string]string{"logo": "dddd", "other": "cccc"}, func() error {
		picture = "d"
		if body, out := get(t, c, marked); body != "d" || out.Stored {
			t.Errorf("during the change: %s, %+v", body, out)
		}
		if _, out := get(t, c, strings.Replace(marked, "logo", "other", 1)); !out.Stored {
			t.Errorf("another watermark: %+v", out)
		}
		picture = "b"
		return errors.New("a resize process cannot decode it")
	})
	if err == nil {
		t.Error("no error")
	}
	if body, out := get(t, c, marked); body != "b" || out.Detail != imagecache.Memory {
		t.Errorf("after a failed change: %s, %+v", body, out)
	}
	// The digest is the same again when the fill ends.
	again := func(name string, change func()) {
		t.Helper()
		of := imagecache.Target{Original: imagecache.KeyOf(ref(t, marked)).Original()}
		if _, err := c.Purge(t.Context(), of); err != nil {
			t.Fatal(err)
		}
		during = change
		if _, out := get(t, c, marked); out.Stored {
			t.Errorf("%s: stored", name)
		}
	}
	again("changed and changed back", func() {
		reload("dddd")
		reload("bbbb")
	})
	again("change failed", func() {
		if marks.Replace(map[string]string{"logo": "dddd"}, func() error { return errors.New("not decoded") }) == nil {
			t.Error("no error")
		}
	})
	if _, out := get(t, c, marked); !out.Stored {
		t.Errorf("after all changes: %+v", out)
	}
}
