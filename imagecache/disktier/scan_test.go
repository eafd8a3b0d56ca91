package disktier

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
)

// testSegment returns a sealed segment of images with these bodies.
func testSegment(m marker, bodies ...string) (b []byte, slots []footSlot) {
	b = appendHeader(nil, m, 7)
	for i, body := range bodies {
		of := imagecache.Original{Source: "posts", Name: string(rune('a' + i))}
		it := newItem(imagecache.NewKey("/64x/v.1/posts/"+of.Name+".webp", of), imagecache.Image{Body: []byte(body)})
		it.frame.put(it.bytes, m)
		slots = append(slots, footSlot{it.frame.name, int64(len(b)), int64(len(it.bytes))})
		b = append(b, it.bytes...)
	}
	return appendFooter(b, m, slots, int64(len(b))), slots
}

func TestScan_Contents_EqualFooter(t *testing.T) {
	b, slots := testSegment(marker{1, 2, 3}, "one", "", "three")
	sealed, err := readContents(bytes.NewReader(b), 7, int64(len(b)))
	if err != nil || !sealed.sealed || !slices.Equal(sealed.slots, slots) {
		t.Fatalf("sealed: %+v, %v", sealed, err)
	}
	for cut := sealed.end; cut < int64(len(b)); cut++ {
		open, err := readContents(bytes.NewReader(b[:cut]), 7, cut)
		if err != nil || open.sealed || open.damaged(0) != 0 || !slices.Equal(open.slots, slots) ||
			open.end != sealed.end {
			t.Fatalf("cut to %d: %+v, %v", cut, open, err)
		}
	}
}

func TestScan_IgnoresFramesInsideBodies(t *testing.T) {
	m := marker{9, 9, 9}
	foreign, _ := testSegment(marker{6, 6, 6}, "poison")
	body := append(make([]byte, 5*unit), foreign[headerBytes:]...)
	// For one of these shifts, the frames inside the body begin at a multiple of unit, where the
	// scan looks.
	for shift := range unit {
		b, slots := testSegment(m, string(make([]byte, shift))+string(body), "good")
		b[headerBytes+8] ^= 1 // the first frame cannot be read, so the scan looks for the next one
		c, err := readContents(bytes.NewReader(b[:slots[1].offset+slots[1].bytes]), 7, slots[1].offset+slots[1].bytes)
		if err != nil || len(c.slots) != 1 || c.slots[0] != slots[1] || c.gaps != 1 {
			t.Fatalf("shift %d: %+v, %v", shift, c, err)
		}
	}
}

func TestReadContents_RefusesARenamedSegment(t *testing.T) {
	b, _ := testSegment(marker{1}, "one")
	if _, err := readContents(bytes.NewReader(b), 8, int64(len(b))); !errors.Is(err, errUnknownFormat) {
		t.Error(err)
	}
}

// For any file: the records that are read are valid, lie within the file, and do not overlap.
func FuzzReadContents(f *testing.F) {
	whole, slots := testSegment(marker{1, 2, 3, 4, 5, 6, 7, 8}, "one", "two", string(make([]byte, 1000)))
	f.Add(whole)
	f.Add(whole[:slots[2].offset+50])
	f.Add(whole[:headerBytes])
	damaged := bytes.Clone(whole)
	damaged[slots[1].offset+9] ^= 1
	f.Add(damaged)
	flipped := bytes.Clone(whole[:slots[2].offset])
	flipped[slots[1].offset+slots[1].bytes/2] ^= 1
	f.Add(flipped)
	f.Add(append(damaged[:len(damaged)-trailerBytes:len(damaged)-trailerBytes], damaged[headerBytes:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := readContents(bytes.NewReader(b), 7, int64(len(b)))
		if err != nil {
			return
		}
		if c.sealed {
			return // its slots are checked by each read
		}
		end := int64(headerBytes)
		for _, s := range c.slots {
			if s.offset < end || s.offset%unit != 0 || s.bytes%unit != 0 || s.offset+frameBytes > int64(len(b)) {
				t.Fatalf("%+v after %d", s, end)
			}
			end = s.offset + s.bytes
			record := b[s.offset:min(end, int64(len(b)))]
			fr, err := verify(record, c.marker)
			if err != nil || fr.name != s.name {
				t.Fatalf("%+v: %v", s, err)
			}
		}
	})
}

func FuzzPurgeLog(f *testing.F) {
	f.Add(appendTombstone(purgeHeader(), tombstone{1, 2, true}))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, whole, err := parsePurges(bytes.NewReader(b))
		if err != nil || !whole {
			return
		}
		again := b[:purgeHeaderBytes:purgeHeaderBytes]
		for _, e := range entries {
			again = appendTombstone(again, e)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x reads as %v", b, entries)
		}
	})
}
