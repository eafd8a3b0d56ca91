package imagecache_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

func TestCache_Purge_CountsAVariantInTwoTiersOnce(t *testing.T) {
	b := newFixture(&fakeFiller{fill: serves("cat")})
	get(t, b.cache, cat) // stored in memory and on disk
	held, err := b.cache.Count(t.Context(), ofCat)
	if err != nil || held.Variants != 1 || held.Bytes != 3 {
		t.Errorf("counted %+v, %v; want one variant of 3 bytes", held, err)
	}
	receipt, err := b.cache.Purge(t.Context(), ofCat)
	if err != nil || receipt.Variants != 1 || receipt.Originals != 1 || receipt.Bytes != 103 {
		t.Errorf("%+v, %v; want one variant of 3 bytes and one original of 100", receipt, err)
	}
}

// receiptOf returns the receipt of a node that held variants first to last, each of 10 bytes.
func receiptOf(t *testing.T, first, last int) (r imagecache.Receipt) {
	t.Helper()
	var removed imagecache.Removed
	for i := first; i <= last; i++ {
		removed.Add(tiertest.Key(t, i, 1), 10)
	}
	return imagecache.Receipt{Variants: removed.Images, VariantSizes: removed.Sizes, Bytes: removed.Bytes}
}

func TestReceipt_Merge_CountsSharedImagesOnce(t *testing.T) {
	text, err := json.Marshal(receiptOf(t, 3, 6))
	if err != nil {
		t.Fatal(err)
	}
	var other imagecache.Receipt
	if err := json.Unmarshal(text, &other); err != nil || !reflect.DeepEqual(other, receiptOf(t, 3, 6)) {
		t.Fatalf("%s reads as %+v, %v", text, other, err)
	}
	var sum imagecache.Receipt
	for _, r := range []imagecache.Receipt{receiptOf(t, 1, 4), other, other, {Originals: 2, Bytes: 7}} {
		sum.Merge(r)
	}
	if sum.Variants != 6 || sum.Originals != 2 || sum.Bytes != 67 {
		t.Errorf("%d variants, %d originals, %d bytes; want 6, 2, 67", sum.Variants, sum.Originals, sum.Bytes)
	}
	if !reflect.DeepEqual(other, receiptOf(t, 3, 6)) {
		t.Errorf("Merge has changed its argument: %+v", other)
	}
}

func TestReceipt_Merge_SumsUnlistedImages(t *testing.T) {
	const n = imagecache.MaxListed + 5
	a := receiptOf(t, 1, n)
	if a.Variants != n || a.Bytes != 10*n || len(a.VariantSizes) != imagecache.MaxListed {
		t.Fatalf("%d variants, %d bytes, %d are listed", a.Variants, a.Bytes, len(a.VariantSizes))
	}
	a.Merge(receiptOf(t, 1, n))
	if a.Variants != n+5 || a.Bytes != 10*(n+5) || len(a.VariantSizes) != imagecache.MaxListed {
		t.Errorf("%d variants, %d bytes, %d are listed; want those that are not listed twice",
			a.Variants, a.Bytes, len(a.VariantSizes))
	}
	if text, err := json.Marshal(a); err != nil || len(text) > 300_000 {
		t.Errorf("%d bytes of JSON, %v", len(text), err)
	}
}

func TestReceipt_Merge_KeepsTheWorstNumberOfNodes(t *testing.T) {
	for _, test := range []struct{ a, b, want imagecache.Receipt }{
		{imagecache.Receipt{}, imagecache.Receipt{Applied: 1, Known: 1}, imagecache.Receipt{Applied: 1, Known: 1}},
		{
			imagecache.Receipt{Applied: 3, Known: 3},
			imagecache.Receipt{Applied: 2, Known: 3},
			imagecache.Receipt{Applied: 2, Known: 3},
		},
		{
			imagecache.Receipt{Applied: 1, Known: 3},
			imagecache.Receipt{Applied: 2, Known: 3},
			imagecache.Receipt{Applied: 1, Known: 3},
		},
		{imagecache.Receipt{Applied: 2, Known: 3}, imagecache.Receipt{}, imagecache.Receipt{Applied: 2, Known: 3}},
	} {
		test.a.Merge(test.b)
		if !reflect.DeepEqual(test.a, test.want) {
			t.Errorf("%+v, want %+v", test.a, test.want)
		}
	}
}
