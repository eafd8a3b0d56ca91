package disktier

import (
	"math/rand/v2"
	"testing"
)

func TestIndex_BehavesLikeAMap(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	random := rand.New(rand.NewPCG(1, 1))
	var x index
	model := make(map[name]location)
	var names []name
	for i := range 200_000 {
		n := name{mix(uint64(i)), mix(uint64(i / 8))}
		names = append(names, n)
		at := locationOf(uint16(1+i%100), int64(i%1000)*unit, unit)
		x.put(n, at)
		model[n] = at
		if i%3 == 0 { // removes, so that holes are closed
			victim := names[random.IntN(len(names))]
			if got, ok := x.removeKey(victim); ok != (model[victim] != 0) || got != model[victim] {
				t.Fatalf("removed %x, %v; want %x", got, ok, model[victim])
			}
			delete(model, victim)
		}
	}
	for _, n := range names {
		if at, ok := x.at(n); ok != (model[n] != 0) || at != model[n] {
			t.Fatalf("at %x, %v; want %x", at, ok, model[n])
		}
	}
	entries := x.entries.Load()
	if int(entries) != len(model) {
		t.Errorf("%d entries, want %d", entries, len(model))
	}
	if per := float64(x.bytes()) / float64(entries); per > 40 {
		t.Errorf("%.1f bytes an entry", per)
	}
	removed := x.removeSegment(5)
	for n, at := range model {
		if at.segment() == 5 {
			removed--
			delete(model, n)
		}
	}
	if removed != 0 {
		t.Errorf("removeSegment was off by %d", removed)
	}
	for range 20 {
		original := names[random.IntN(len(names))].original
		got := len(x.removeOriginal(original))
		for n := range model {
			if n.original == original {
				got--
				delete(model, n)
			}
		}
		if got != 0 {
			t.Fatalf("removeOriginal was off by %d", got)
		}
	}
	for n, at := range model {
		if got, _ := x.hit(n); got != at {
			t.Fatalf("%x, want %x", got, at)
		}
	}
	x.clear()
	if x.entries.Load() != 0 {
		t.Error("not empty")
	}
}
