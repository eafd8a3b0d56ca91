package main

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"io"
	"testing"
)

func TestTrace_IDByteOrder(t *testing.T) {
	raw := []byte{0, 0, 1, 2, 0, 0, 0, 3}
	big := idsOf(raw, binary.BigEndian, 0)
	little := idsOf(raw, binary.LittleEndian, 1)
	if len(big) != 2 || big[0].id != 0x102 || big[1].id != 3 || len(little) != 1 || little[0].id != 0x02010000 {
		t.Errorf("%v %v", big, little)
	}
}

func TestTrace_Sizes(t *testing.T) {
	total, n := 0.0, 20_000
	for id := range n {
		size := sizeOf(uint32(id))
		if size < 1_000 || size > 400_000 || size != sizeOf(uint32(id)) {
			t.Fatalf("object %d has %d bytes", id, size)
		}
		total += float64(size)
	}
	if mean := total / float64(n); mean < 22_000 || mean > 28_000 {
		t.Errorf("the mean is %.0f bytes, want about 25,000", mean)
	}
}

// Three objects in a cache for two, with known outcomes.
func TestReplay_CountsObjectsAndBytes(t *testing.T) {
	a, b, c := request{1, 100}, request{2, 50}, request{3, 50}
	played := trace{"known", []request{a, b, a, c, b, a}} // LRU of 150: miss miss hit miss(b out) miss(a out) miss
	got := played.through(newLRU(150))
	if want := (ratio{100.0 / 6, 100 * 100.0 / 450}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if objects, bytes := played.footprint(); objects != 3 || bytes != 200 {
		t.Errorf("%d objects of %d bytes", objects, bytes)
	}
}

func TestCaches_Get_HitsStoredKeys(t *testing.T) {
	for _, who := range contenders {
		c, err := who.open(32 << 20)
		if err != nil {
			t.Fatal(err)
		}
		r := request{7, 10_000}
		if c.ask(r) || !c.ask(r) {
			t.Errorf("%s: want a miss and then a hit", who.name)
		}
	}
}

func TestFeedTrace_Deterministic(t *testing.T) {
	one, two := feed(10_000), feed(10_000)
	for i := range one.requests {
		if one.requests[i] != two.requests[i] {
			t.Fatal("two traces of one seed differ")
		}
	}
	if objects, _ := one.footprint(); objects < 1_500 || objects > 8_000 {
		t.Errorf("%d objects in 10,000 requests", objects)
	}
}

func TestChart_WellFormed(t *testing.T) {
	svg := chart(
		[]result{{trace: "a<b", ratios: [][]ratio{{{40, 30}, {50, 40}, {60, 50}}, {{41, 30}, {51, 40}, {61, 50}}}}},
	)
	lines := 0
	for dec := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "polyline" {
			lines++
		}
	}
	if lines != 2 {
		t.Errorf("%d lines, want 2", lines)
	}
}
