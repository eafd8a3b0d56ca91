// Package tiertest is the conformance suite of imagecache.Tier, with the fixtures that tests of
// tiers share.
package tiertest

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Key returns the key of one of many variants of one of many originals.
func Key(t testing.TB, original, width int) imagecache.Key {
	t.Helper()
	return KeyAt(t, fmt.Sprintf("/%dx/v.1/posts/2026/%d.jpg.webp", 1+width, original))
}

// KeyAt returns the key with the given path.
func KeyAt(t testing.TB, path string) imagecache.Key {
	t.Helper()
	ref, err := imageurl.ParseRef(path)
	if err != nil {
		t.Fatal(err)
	}
	return imagecache.KeyOf(ref)
}

// Image returns an image of n bytes that differs for each seed.
func Image(seed uint64, n int) imagecache.Image {
	body := make([]byte, n)
	random := rand.New(rand.NewPCG(seed, 0))
	for i := 0; i < n; i += 8 {
		v := random.Uint64()
		for j := i; j < min(i+8, n); j++ {
			body[j] = byte(v >> (8 * (j - i)))
		}
	}
	return imagecache.Image{
		Body: body, ContentType: "image/webp", ETag: fmt.Sprintf(`"%032x"`, seed),
		LastModified: time.Unix(1_700_000_000+int64(seed%1000), 0).UTC(),
	}
}

// Run runs the suite. newTier returns a new and empty Tier with room for at least 8 MiB.
func Run(t *testing.T, newTier func(t *testing.T) imagecache.Tier) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, imagecache.Tier)
	}{
		{"Get_Miss", testMiss},
		{"Get_AllFields", testAllFields},
		{"Get_Freshness", testFreshness},
		{"Put_Replaces", testReplace},
		{"Put_DoesNotAlias", testNoAlias},
		{"Put_DifferentKeys", testDifferentKeys},
		{"Purge_Variant", testPurgeVariant},
		{"Purge_Original", testPurgeOriginal},
		{"Purge_Missing", testPurgeMissing},
		{"Purge_CountsOnce", testPurgeCountsOnce},
		{"Put_AfterPurge", testPutAfterPurge},
		{"Concurrent", testConcurrent},
		{"Purge_Concurrent", testConcurrentPurge},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, newTier(t)) })
	}
}

func put(t *testing.T, tier imagecache.Tier, key imagecache.Key, img imagecache.Image) {
	t.Helper()
	if err := tier.Put(context.Background(), key, img); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

// has fails the test unless Get returns img.
func has(t *testing.T, tier imagecache.Tier, key imagecache.Key, img imagecache.Image) {
	t.Helper()
	got, err := tier.Get(context.Background(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if diff := difference(got, img); diff != "" {
		t.Fatalf("get %s: %s", key, diff)
	}
}

func misses(t *testing.T, tier imagecache.Tier, key imagecache.Key) {
	t.Helper()
	if img, err := tier.Get(context.Background(), key); err != imagecache.ErrMiss {
		t.Fatalf("get %s: %d bytes, %v; want a plain ErrMiss", key, len(img.Body), err)
	}
}

// difference says how a and b differ; "" if they do not.
func difference(a, b imagecache.Image) string {
	switch {
	case !bytes.Equal(a.Body, b.Body):
		return fmt.Sprintf("%d bytes that are not the %d that were put", len(a.Body), len(b.Body))
	case a.ContentType != b.ContentType || a.ETag != b.ETag:
		return fmt.Sprintf("%s %s, want %s %s", a.ContentType, a.ETag, b.ContentType, b.ETag)
	case !a.LastModified.Equal(b.LastModified):
		return fmt.Sprintf("modified %s, want %s", a.LastModified, b.LastModified)
	case a.Origin.ETag != b.Origin.ETag || !a.Origin.LastModified.Equal(b.Origin.LastModified):
		return fmt.Sprintf("validators %v, want %v", a.Origin, b.Origin)
	case !a.Fresh.Generated.Equal(b.Fresh.Generated) || !a.Fresh.Date.Equal(b.Fresh.Date) ||
		!a.Fresh.Until.Equal(b.Fresh.Until) ||
		a.Fresh.StaleWhileRevalidate != b.Fresh.StaleWhileRevalidate || a.Fresh.StaleIfError != b.Fresh.StaleIfError ||
		a.Fresh.MustRevalidate != b.Fresh.MustRevalidate:
		return fmt.Sprintf("freshness %+v, want %+v", a.Fresh, b.Fresh)
	}
	return ""
}

func testMiss(t *testing.T, tier imagecache.Tier) { misses(t, tier, Key(t, 1, 1)) }

func testAllFields(t *testing.T, tier imagecache.Tier) {
	for i, n := range []int{1, 7, 1000, 25_000, 200_000} {
		img := Image(uint64(i), n)
		put(t, tier, Key(t, i, 1), img)
		has(t, tier, Key(t, i, 1), img)
	}
}

func testFreshness(t *testing.T, tier imagecache.Tier) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 123_000_000, time.UTC)
	img := Image(1, 1000)
	img.Origin = imagecache.Validator{ETag: `W/"a"`, LastModified: now.Truncate(time.Second)}
	img.Fresh = imagecache.Freshness{
		Generated:            now,
		Date:                 now.Truncate(time.Second),
		Until:                now.Add(time.Minute),
		StaleWhileRevalidate: time.Hour,
		StaleIfError:         24 * time.Hour,
		MustRevalidate:       true,
	}
	put(t, tier, KeyAt(t, "/10x/live/posts/a.jpg.webp"), img)
	has(t, tier, KeyAt(t, "/10x/live/posts/a.jpg.webp"), img)
}

func testReplace(t *testing.T, tier imagecache.Tier) {
	key := Key(t, 1, 1)
	for i := range uint64(20) {
		img := Image(i, 500+100*int(i%5))
		put(t, tier, key, img)
		has(t, tier, key, img)
	}
}

func testNoAlias(t *testing.T, tier imagecache.Tier) {
	key, img := Key(t, 1, 1), Image(1, 5000)
	given := img
	given.Body = bytes.Clone(img.Body)
	put(t, tier, key, given)
	clear(given.Body)
	has(t, tier, key, img)
}

func testDifferentKeys(t *testing.T, tier imagecache.Tier) {
	var paths []string
	encode := func(name string) string { return "~" + base64.RawURLEncoding.EncodeToString([]byte(name)) }
	for _, name := range []string{"a", "b", "a/b", "a.jpg", "x/a.jpg", encode("ä ö?"), encode("a b")} {
		for _, spec := range []string{"10x", "x10", "10x10-cover", "10x10-cover-top"} {
			for _, version := range []string{"v.1", "e.1", "s.1", "live"} {
				for _, source := range []string{"posts", "avatars"} {
					paths = append(paths, "/"+spec+"/"+version+"/"+source+"/"+name+".webp")
				}
			}
		}
	}
	for i, path := range paths {
		put(t, tier, KeyAt(t, path), Image(uint64(i), 300))
	}
	for i, path := range paths {
		has(t, tier, KeyAt(t, path), Image(uint64(i), 300))
	}
}

// purges fails the test unless a purge removes exactly the images in want, and Count, before it, counts
// the same without removing anything.
func purges(t *testing.T, tier imagecache.Tier, target imagecache.Target, want imagecache.Sizes) {
	t.Helper()
	var bytes int64
	for _, size := range want {
		bytes += size
	}
	for range 2 {
		held, err := tier.Count(context.Background(), target)
		if err != nil || held.Images != len(want) || held.Bytes != bytes || !maps.Equal(held.Sizes, want) {
			t.Errorf("counted %+v, %v; want %v", held, err, want)
		}
	}
	removed, err := tier.Purge(context.Background(), target)
	if err != nil || removed.Images != len(want) || removed.Bytes != bytes || !maps.Equal(removed.Sizes, want) {
		t.Errorf("removed %+v, %v; want %v", removed, err, want)
	}
}

// A purge counts an image once even if it was put repeatedly and the tier has several copies.
func testPurgeCountsOnce(t *testing.T, tier imagecache.Tier) {
	key := Key(t, 1, 1)
	for i := range uint64(3) {
		put(t, tier, key, Image(i, 1000))
		has(t, tier, key, Image(i, 1000))
	}
	purges(t, tier, imagecache.Target{Original: key.Original()}, imagecache.Sizes{key.Digest(): 1000})
}

func testPurgeVariant(t *testing.T, tier imagecache.Tier) {
	for i := range 3 {
		put(t, tier, Key(t, 1, i), Image(uint64(i), 1000))
	}
	purges(
		t,
		tier,
		imagecache.Target{Key: Key(t, 1, 1), Original: Key(t, 1, 1).Original()},
		imagecache.Sizes{Key(t, 1, 1).Digest(): 1000},
	)
	has(t, tier, Key(t, 1, 0), Image(0, 1000))
	misses(t, tier, Key(t, 1, 1))
	has(t, tier, Key(t, 1, 2), Image(2, 1000))
}

func testPurgeOriginal(t *testing.T, tier imagecache.Tier) {
	var gone []imagecache.Key
	want := make(imagecache.Sizes)
	for i, path := range []string{
		"/10x/v.1/posts/a.jpg.webp", "/20x/v.1/posts/a.jpg.webp", "/20x/v.2/posts/a.jpg.jpg",
		"/20x/live/posts/a.jpg.jpg", "/20x20-cover/e.9f/posts/a.jpg.avif",
	} {
		gone = append(gone, KeyAt(t, path))
		put(t, tier, gone[i], Image(uint64(i), 1000+i))
		want[gone[i].Digest()] = int64(1000 + i)
	}
	stay := []imagecache.Key{
		KeyAt(t, "/10x/v.1/posts/b.jpg.webp"),
		KeyAt(t, "/10x/v.1/avatars/a.jpg.webp"),
		KeyAt(t, "/10x/v.1/posts/x/a.jpg.webp"),
	}
	for i, key := range stay {
		put(t, tier, key, Image(uint64(100+i), 1000))
	}
	purges(t, tier, imagecache.Target{Original: gone[0].Original()}, want)
	for _, key := range gone {
		misses(t, tier, key)
	}
	for i, key := range stay {
		has(t, tier, key, Image(uint64(100+i), 1000))
	}
}

func testPurgeMissing(t *testing.T, tier imagecache.Tier) {
	put(t, tier, Key(t, 1, 1), Image(1, 1000))
	for _, target := range []imagecache.Target{
		{Original: Key(t, 2, 1).Original()},
		{Key: Key(t, 2, 1), Original: Key(t, 2, 1).Original()},
		{Key: Key(t, 1, 2), Original: Key(t, 1, 2).Original()},
	} {
		purges(t, tier, target, nil)
	}
	has(t, tier, Key(t, 1, 1), Image(1, 1000))
}

func testPutAfterPurge(t *testing.T, tier imagecache.Tier) {
	key := Key(t, 1, 1)
	for i := range uint64(5) {
		put(t, tier, key, Image(i, 1000))
		if _, err := tier.Purge(context.Background(), imagecache.Target{Original: key.Original()}); err != nil {
			t.Fatal(err)
		}
		misses(t, tier, key)
	}
	put(t, tier, key, Image(9, 1000))
	has(t, tier, key, Image(9, 1000))
}

// Get returns an image that was put under its key, even during concurrent evictions and
// replacements. Each body identifies its key.
func testConcurrent(t *testing.T, tier imagecache.Tier) {
	const keys = 200
	var all sync.WaitGroup
	for worker := range uint64(8) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(worker, 1))
			for range 400 {
				n := random.IntN(keys)
				key := Key(t, n/4, n%4)
				if random.IntN(3) == 0 {
					img := Image(uint64(n)<<8|uint64(random.IntN(4)), 200+random.IntN(20_000))
					if err := tier.Put(context.Background(), key, img); err != nil {
						t.Errorf("put: %v", err)
					}
					continue
				}
				img, err := tier.Get(context.Background(), key)
				if err == imagecache.ErrMiss {
					continue
				}
				if err != nil {
					t.Errorf("get: %v", err)
					continue
				}
				var seed uint64
				if _, err := fmt.Sscanf(img.ETag, `"%x"`, &seed); err != nil || seed>>8 != uint64(n) ||
					difference(img, Image(seed, len(img.Body))) != "" {
					t.Errorf("key %d answered with %s of %d bytes", n, img.ETag, len(img.Body))
				}
			}
		})
	}
	all.Wait()
}

// Each image has a generation. After a purge has returned, no image of a generation that was
// put before it began may be found.
func testConcurrentPurge(t *testing.T, tier imagecache.Tier) {
	var all sync.WaitGroup
	for original := range 4 {
		all.Go(func() {
			for generation := range uint64(60) {
				var puts sync.WaitGroup
				for width := range 4 {
					puts.Go(func() {
						key, img := Key(t, original, width), Image(generation, 3000)
						if err := tier.Put(context.Background(), key, img); err != nil {
							t.Errorf("put: %v", err)
						}
					})
				}
				puts.Wait()
				target := imagecache.Target{Original: Key(t, original, 0).Original()}
				if _, err := tier.Purge(context.Background(), target); err != nil {
					t.Errorf("purge: %v", err)
				}
				for width := range 4 {
					if img, err := tier.Get(context.Background(), Key(t, original, width)); err != imagecache.ErrMiss {
						t.Errorf("generation %d: %s after the purge, %v", generation, img.ETag, err)
					}
				}
			}
		})
	}
	all.Wait()
}
