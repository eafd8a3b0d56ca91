package disktier_test

import (
	"testing"

	"github.com/novasocial/imagetier/imagecache/disktier"
)

// A disk that was not mounted when the caches were emptied still has images that were purged.
func TestTier_Open_RemovesImagesOfAnotherGeneration(t *testing.T) {
	disk := newMemDisk()
	for i, test := range []struct {
		generation string
		hits       int
	}{{"", 0}, {"", 20}, {"a", 0}, {"a", 20}, {"b", 0}, {"", 20}} {
		tier := recovered(t, start(t,
			disktier.Config{Dir: "/c", MaxBytes: 8 << 20, Generation: test.generation}.On(disk)))
		if hits := tier.hits(20); hits != test.hits {
			t.Errorf("start %d, generation %q: %d of 20 are served, want %d", i, test.generation, hits, test.hits)
		}
		tier.fill(20, 5000)
		tier.sync()
		tier.end()
	}
}
