package memtier_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/memtier"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

var ctx = context.Background()

func open(t testing.TB, mib int64) *memtier.Tier {
	t.Helper()
	tier, err := memtier.New(memtier.Config{MaxBytes: mib << 20})
	if err != nil {
		t.Fatal(err)
	}
	return tier
}

func TestTier_Conformance(t *testing.T) {
	tiertest.Run(t, func(t *testing.T) imagecache.Tier { return open(t, 64) })
}

func TestNew_RefusesASmallBudget(t *testing.T) {
	if _, err := memtier.New(memtier.Config{MaxBytes: memtier.MinBytes - 1}); err == nil {
		t.Error("no error for a budget below MinBytes")
	}
}

func put(t testing.TB, tier *memtier.Tier, key imagecache.Key, img imagecache.Image) {
	t.Helper()
	if err := tier.Put(ctx, key, img); err != nil {
		t.Fatal(err)
	}
}

func holds(tier *memtier.Tier, key imagecache.Key) bool {
	_, err := tier.Get(ctx, key)
	return err == nil
}

func TestTier_Put_KeepsTheBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, mib := range []int64{4, 20, 64} {
		tier := open(t, mib)
		for i := range 5000 {
			put(t, tier, tiertest.Key(t, i, 1), tiertest.Image(uint64(i), 1+rand.IntN(60_000)))
			if s := tier.Stats(); s.Bytes > mib<<20 {
				t.Fatalf("budget of %d MiB: %d bytes stored", mib, s.Bytes)
			}
		}
		if s := tier.Stats(); s.Bytes < mib<<20*7/10 || s.Entries == 0 {
			t.Errorf("budget of %d MiB: only %d bytes stored", mib, s.Bytes)
		}
	}
}

// bigcache would drop all other images of a shard for one that is larger than the shard.
func TestTier_Put_RefusesTooLargeImages(t *testing.T) {
	tier := open(t, 8)
	for i := range 20 {
		put(t, tier, tiertest.Key(t, i, 1), tiertest.Image(1, 10_000))
	}
	put(t, tier, tiertest.Key(t, 99, 1), tiertest.Image(1, 7<<20))
	if holds(tier, tiertest.Key(t, 99, 1)) || tier.Stats().Refused != 1 {
		t.Error("the image was stored, or not counted as refused")
	}
	for i := range 20 {
		if !holds(tier, tiertest.Key(t, i, 1)) {
			t.Errorf("image %d was evicted", i)
		}
	}
}

// An image that would evict half of the new ones is stored at its second Put.
func TestTier_Put_KeepsLargeImagesFromTheSecondTime(t *testing.T) {
	tier := open(t, 20)
	large := tiertest.Key(t, 99, 1)
	put(t, tier, large, tiertest.Image(1, 1<<20))
	if holds(tier, large) {
		t.Error("the large image was stored at the first Put")
	}
	put(t, tier, large, tiertest.Image(1, 1<<20))
	if !holds(tier, large) {
		t.Error("the large image was not stored at the second Put")
	}
}

// Put of a too large image must remove the older image under its key.
func TestTier_Put_TooLarge_RemovesOldImage(t *testing.T) {
	tier := open(t, 8)
	put(t, tier, tiertest.Key(t, 1, 1), tiertest.Image(1, 10_000))
	put(t, tier, tiertest.Key(t, 1, 1), tiertest.Image(2, 7<<20))
	if holds(tier, tiertest.Key(t, 1, 1)) {
		t.Error("the old image is served")
	}
}

func TestTier_Put_KeepsReadImagesInAScan(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tier := open(t, 20)
	for i := range 200 { // 5 MB that are read repeatedly
		put(t, tier, tiertest.Key(t, i, 1), tiertest.Image(uint64(i), 25_000))
	}
	for flood := range 8000 { // 200 MB that are read once
		put(t, tier, tiertest.Key(t, 1000+flood, 1), tiertest.Image(1, 25_000))
		if flood%10 == 0 {
			for i := range 200 {
				holds(tier, tiertest.Key(t, i, 1))
			}
		}
	}
	kept := 0
	for i := range 200 {
		if holds(tier, tiertest.Key(t, i, 1)) {
			kept++
		}
	}
	if kept < 195 {
		t.Errorf("%d of the 200 hot images are left", kept)
	}
	if s := tier.Stats(); s.Evictions["unread"] == 0 || s.Ghosts == 0 {
		t.Errorf("no image was evicted unread: %+v", s)
	}
}

// An image that is put again soon after its eviction goes to the main queue and stays.
func TestTier_Put_AdmitsGhostsToMain(t *testing.T) {
	tier := open(t, 20)
	fill := func(from, n int) {
		for i := range n {
			put(t, tier, tiertest.Key(t, from+i, 1), tiertest.Image(1, 25_000))
		}
	}
	fill(1000, 2000) // main is full from here on
	probe := tiertest.Key(t, 1, 1)
	put(t, tier, probe, tiertest.Image(7, 25_000))
	fill(5000, 150) // more than small has room for
	if holds(tier, probe) {
		t.Fatal("the image was not evicted")
	}
	put(t, tier, probe, tiertest.Image(7, 25_000))
	fill(9000, 150)
	if !holds(tier, probe) {
		t.Error("the flood of new images evicted the image again")
	}
}

// Storing the same image again, as after a read from disk, takes no space.
func TestTier_Put_SameImage_EvictsNothing(t *testing.T) {
	tier := open(t, 8)
	for i := range 200 {
		put(t, tier, tiertest.Key(t, i, 1), tiertest.Image(uint64(i), 20_000))
	}
	for range 5000 {
		put(t, tier, tiertest.Key(t, 7, 1), tiertest.Image(7, 20_000))
	}
	for i := range 200 {
		if !holds(tier, tiertest.Key(t, i, 1)) {
			t.Errorf("image %d was evicted", i)
		}
	}
}

// Random operations compared with a map: Get misses or returns the last image put.
func TestTier_Get_ReturnsOnlyTheLastPut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tier := open(t, 8)
	last := map[imagecache.Key]uint64{}
	random := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for step := range 60_000 {
		original := int(random.ExpFloat64() * 20) // some are read often enough to be hot
		key := tiertest.Key(t, original, random.IntN(3))
		switch random.IntN(20) {
		case 0, 1, 2, 3, 4, 5:
			seed := uint64(step)
			put(t, tier, key, tiertest.Image(seed, 100+random.IntN(40_000)))
			last[key] = seed
		case 6:
			if _, err := tier.Purge(ctx, imagecache.Target{Original: key.Original()}); err != nil {
				t.Fatal(err)
			}
			for other := range last {
				if other.Original() == key.Original() {
					delete(last, other)
				}
			}
		default:
			img, err := tier.Get(ctx, key)
			if err == imagecache.ErrMiss {
				continue
			}
			hits++
			seed, known := last[key]
			if want := tiertest.Image(seed, len(img.Body)); err != nil || !known || img.ETag != want.ETag ||
				string(img.Body) != string(want.Body) {
				t.Fatalf("step %d: %s answers %s, %v; known %v", step, key, img.ETag, err, known)
			}
		}
	}
	if hits < 10_000 {
		t.Errorf("only %d hits", hits)
	}
}

// A hot image returns the same Body each time.
func hot(t testing.TB, tier *memtier.Tier, key imagecache.Key) bool {
	t.Helper()
	one, err := tier.Get(ctx, key)
	two, err2 := tier.Get(ctx, key)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return &one.Body[0] == &two.Body[0]
}

func TestTier_Get_SharesTheBodyOfHotImages(t *testing.T) {
	tier := open(t, 64)
	key := tiertest.Key(t, 1, 1)
	put(t, tier, key, tiertest.Image(1, 20_000))
	if hot(t, tier, key) {
		t.Fatal("the first two reads share a Body, so the test proves nothing")
	}
	for range 20 {
		holds(tier, key)
	}
	if !hot(t, tier, key) {
		t.Error("reads still copy after 20 reads")
	}
	put(t, tier, key, tiertest.Image(2, 20_000))
	if img, err := tier.Get(ctx, key); err != nil || img.ETag != tiertest.Image(2, 20_000).ETag {
		t.Errorf("after another Put: %s, %v", img.ETag, err)
	}
	for range 20 {
		holds(tier, key)
	}
	if _, err := tier.Purge(ctx, imagecache.Target{Original: key.Original()}); err != nil || holds(tier, key) {
		t.Errorf("found after its purge (%v)", err)
	}
}

func TestTier_Get_BoundsHotCopies(t *testing.T) {
	const images = 400
	tier := open(t, 64) // 2 MiB of copies
	for i := range images {
		put(t, tier, tiertest.Key(t, i, 1), tiertest.Image(uint64(i), 20_000))
	}
	for range 40 {
		for i := range images {
			holds(tier, tiertest.Key(t, i, 1))
		}
	}
	if s := tier.Stats(); s.Hot < 1<<20 || s.Hot > 2<<20 {
		t.Errorf("%d bytes are hot, want 1 to 2 MiB", s.Hot)
	}
	for i := range images {
		if _, err := tier.Purge(ctx, imagecache.Target{Key: tiertest.Key(t, i, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	if s := tier.Stats(); s.Hot != 0 {
		t.Errorf("%d bytes are hot after all were purged", s.Hot)
	}
}

func BenchmarkGet(b *testing.B) {
	tier := open(b, 512)
	keys := make([]imagecache.Key, 4000)
	for i := range keys {
		keys[i] = tiertest.Key(b, i, 1)
		put(b, tier, keys[i], tiertest.Image(uint64(i), 25_000))
	}
	b.SetBytes(25_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := rand.IntN(len(keys)); pb.Next(); i++ {
			if _, err := tier.Get(ctx, keys[i%len(keys)]); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	tier := open(b, 512)
	keys := make([]imagecache.Key, 50_000)
	for i := range keys {
		keys[i] = tiertest.Key(b, i, 1)
	}
	img := tiertest.Image(1, 25_000)
	b.SetBytes(25_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		put(b, tier, keys[i%len(keys)], img)
	}
}

// If all of main was read since the last Put, looking for an image that was not read would
// copy all of it three times.
func TestTier_Put_BoundsMoves(t *testing.T) {
	const bytes = 20_000
	tier := open(t, 8)
	read := func(i int) bool {
		for range 3 {
			if !holds(tier, tiertest.Key(t, i, 1)) {
				return false
			}
		}
		return true
	}
	n := 0
	for ; n < 600; n++ { // more than there is room for
		put(t, tier, tiertest.Key(t, n, 1), tiertest.Image(uint64(n), bytes))
		read(n)
	}
	var before []int // all stored images, all of them read: main in its order, then small
	for i := range n {
		if read(i) {
			before = append(before, i)
		}
	}
	aged := tier.Stats().Evictions["aged"]
	for ; tier.Stats().Evictions["aged"] == aged; n++ {
		put(t, tier, tiertest.Key(t, n, 1), tiertest.Image(uint64(n), bytes)) // moves one image of small to main
	}
	for at, i := range before {
		if !holds(tier, tiertest.Key(t, i, 1)) {
			if at != 64 {
				t.Errorf("entry %d was evicted, want entry 64 of %d", at, len(before))
			}
			return
		}
	}
	t.Error("nothing was evicted")
}
