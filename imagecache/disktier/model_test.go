package disktier_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
)

// A Tier is compared with a map: it returns the image that was put last, and never a purged one.
// With a budget that holds everything, no image is missing.
func TestTier_BehavesLikeAMap(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, test := range []struct {
		name    string
		budget  int64
		forgets bool
	}{{"with room", 64 << 20, false}, {"without", 1 << 20, true}} {
		t.Run(test.name, func(t *testing.T) {
			for seed := range 30 {
				synctest.Test(t, func(t *testing.T) {
					compareWithAMap(t, uint64(seed), test.budget, test.forgets)
				})
			}
		})
	}
}

func compareWithAMap(t *testing.T, seed uint64, budget int64, forgets bool) {
	random := rand.New(rand.NewPCG(seed, 9))
	disk := newMemDisk()
	cfg := disktier.Config{Dir: "/c", MaxBytes: budget, SegmentBytes: 64 << 10, OpenFiles: 1 + random.IntN(4)}.On(disk)
	tier := start(t, cfg)
	defer func() { tier.end() }()
	model := make(map[int]int) // size of the body that was put last
	const keys = 120
	purge := func(target imagecache.Target, of ...int) {
		removed, err := tier.Purge(context.Background(), target)
		if err != nil {
			t.Fatal(err)
		}
		want := imagecache.Removed{}
		for _, key := range of {
			if size, ok := model[key]; ok {
				want.Images++
				want.Bytes += int64(size)
			}
			delete(model, key)
		}
		if !forgets && (removed.Images != want.Images || removed.Bytes != want.Bytes) || removed.Images > want.Images {
			t.Fatalf("seed %d: purge of %v removed %+v, want %+v", seed, target, removed, want)
		}
	}
	for range 1500 {
		key := random.IntN(keys)
		switch op := random.IntN(100); {
		case op < 45:
			size := random.IntN(20_000)
			if random.IntN(20) == 0 {
				size = random.IntN(200_000) // larger than a segment
			}
			tier.put(keyOf(key), imageOf(key, size))
			model[key] = size
		case op < 90:
			img, err := tier.Get(context.Background(), keyOf(key))
			size, ok := model[key]
			switch {
			case err == nil && !ok:
				t.Fatalf("seed %d: image %d was purged or never put", seed, key)
			case err == nil && len(img.Body) != size:
				t.Fatalf("seed %d: image %d has %d bytes, not %d", seed, key, len(img.Body), size)
			case err != nil && ok && !forgets:
				t.Fatalf("seed %d: image %d: %v", seed, key, err)
			}
			tier.has(key) // compares every byte
		case op < 92:
			purge(imagecache.Target{Key: keyOf(key)}, key)
		case op < 94:
			first := key / 4 * 4
			purge(imagecache.Target{Original: originalOf(key)}, first, first+1, first+2, first+3)
		case op < 98:
			tier.sync()
			if used := disk.used(); used > budget {
				t.Fatalf("seed %d: %d bytes of %d", seed, used, budget)
			}
		default:
			tier.end()
			tier = start(t, cfg)
			if random.IntN(3) > 0 || !forgets {
				recovered(t, tier)
			}
		}
	}
	if st := tier.Stats(); st.Damaged != 0 {
		t.Errorf("seed %d: %d damaged", seed, st.Damaged)
	}
}
