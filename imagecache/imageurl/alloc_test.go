//go:build !race

package imageurl

import "testing"

// Not under the race detector, where sync.Pool drops objects at random on purpose.

func TestSigner_Parse_DoesNotAllocate(t *testing.T) {
	s := signer(t, key("k1"))
	path := sign(key("k1"), examplePath)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := s.Parse(path); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 { // a garbage collection may empty the pool
		t.Errorf("%v allocations", n)
	}
}

func TestNewRef_AllocatesItsPathOnly(t *testing.T) {
	ref, err := ParseRef(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := NewRef(ref.Source(), ref.Name(), ref.Version(), ref.Spec()); err != nil {
			t.Fatal(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
