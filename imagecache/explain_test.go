package imagecache_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
)

func TestCache_Explain_ListsTiersWithoutCopying(t *testing.T) {
	originals := &fakeTier{}
	k := &fakeFiller{fill: serves("cat")}
	b := fixture{memory: &fakeTier{}, disk: &fakeTier{}, filler: k}
	b.cache = imagecache.New(imagecache.Config{
		Layers:    []imagecache.Layer{{Tier: b.memory, Name: imagecache.Memory}, {Tier: b.disk, Name: imagecache.Disk}},
		Originals: originals,
		Filler:    k,
	})
	r, orig := ref(t, cat), ref(t, "/orig/v.1/posts/cat.jpg")
	if held := b.cache.Explain(t.Context(), r); len(held) != 0 {
		t.Fatalf("an empty cache holds %+v", held)
	}
	for _, put := range []struct {
		tier *fakeTier
		key  imagecache.Key
		body string
	}{{b.disk, imagecache.KeyOf(r), "cat"}, {originals, imagecache.KeyOf(orig), "the whole cat"}} {
		img := imagecache.Image{Body: []byte(put.body), ETag: `"t"`}
		if err := put.tier.Put(t.Context(), put.key, img); err != nil {
			t.Fatal(err)
		}
	}
	held := b.cache.Explain(t.Context(), r)
	if len(held) != 2 {
		t.Fatalf("held in %d places, want on disk and as an original: %+v", len(held), held)
	}
	if h := held[0]; h.Where != imagecache.Disk || h.Bytes != 3 || h.Key != imagecache.KeyOf(r) ||
		h.TTL != imagecache.PinnedTTL ||
		h.Image.ETag != `"t"` ||
		h.Image.Body != nil {
		t.Errorf("on disk: %+v", h)
	}
	if h := held[1]; h.Where != imagecache.FromOriginal || h.Bytes != 13 || h.Key != imagecache.KeyOf(orig) {
		t.Errorf("the original: %+v", h)
	}
	if len(b.memory.Images()) != 0 || k.fills.Load() != 0 {
		t.Error("explaining moved or made an image")
	}
	if held := b.cache.Explain(t.Context(), orig); len(held) != 1 || held[0].Where != imagecache.Disk {
		t.Errorf("Explain of the original: %+v, want one entry, on disk", held)
	}
}

func TestCache_Explain_ListsRefusalsAndFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFixture(&fakeFiller{fill: fails(origin.ErrNotFound)})
		r := ref(t, cat)
		if _, _, err := b.cache.Get(t.Context(), r); !errors.Is(err, origin.ErrNotFound) {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		b.disk.broken = true
		held := b.cache.Explain(t.Context(), r)
		if len(held) != 2 {
			t.Fatalf("%+v", held)
		}
		if h := held[0]; h.Where != imagecache.Disk || !errors.Is(h.Err, errBroken) {
			t.Errorf("a broken tier: %+v", h)
		}
		if h := held[1]; h.Where != imagecache.Negative || !errors.Is(h.Err, origin.ErrNotFound) ||
			h.TTL != 6*time.Second {
			t.Errorf("a refusal: %+v", h)
		}
	})
}

// Explain reports an image that a soft purge made stale as Get would serve it.
func TestCache_Explain_SoftPurge(t *testing.T) {
	c := imagecache.New(imagecache.Config{
		Layers: []imagecache.Layer{{Tier: &fakeTier{}, Name: imagecache.Memory}},
		Filler: &fakeFiller{fill: serves("cat")},
	})
	get(t, c, cat)
	held := c.Explain(t.Context(), ref(t, cat))
	if len(held) != 1 || held[0].SoftPurged || held[0].TTL != imagecache.PinnedTTL {
		t.Fatalf("before: %+v", held)
	}
	if _, err := c.SoftPurge(t.Context(), imagecache.Target{Key: imagecache.KeyOf(ref(t, cat))}); err != nil {
		t.Fatal(err)
	}
	if held := c.Explain(t.Context(), ref(t, cat)); len(held) != 1 || !held[0].SoftPurged || held[0].TTL > 0 {
		t.Errorf("after a soft purge: %+v", held)
	}
}
