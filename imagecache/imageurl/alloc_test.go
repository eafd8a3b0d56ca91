//go:build !race

package imageurl

import "testing"

// Under the race detector sync.Pool drops what it is given at random, on purpose.

func TestTheReadPathAllocatesNothingForAPlainName(t *testing.T) {
	s := signer(t, key("k1"))
	path := sign(key("k1"), contractPath)
	if n := testing.AllocsPerRun(200, func() {
		if _, err := s.Parse(path); err != nil {
			t.Fatal(err)
		}
	}); n >= 1 { // a collection may empty the pool once in a while
		t.Errorf("%v allocations", n)
	}
}
