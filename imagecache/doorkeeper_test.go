package imagecache

import (
	"fmt"
	"testing"
)

func TestDoorkeeper_LetsInEveryEighthRequest(t *testing.T) {
	var d doorkeeper
	key := Key{path: "a"}
	for i := 1; i <= 24; i++ {
		if got := d.letsIn(key); got != (i%8 == 0) {
			t.Errorf("time %d: %t", i, got)
		}
	}
	rival := Key{}
	for i := 0; rival.path == ""; i++ {
		other := Key{path: fmt.Sprint("b", i)}
		if other.Hash()%uint64(len(d.marks)) == key.Hash()%uint64(len(d.marks)) {
			rival = other
		}
	}
	for range 7 {
		d.letsIn(key)
	}
	d.letsIn(rival)
	if d.letsIn(key) {
		t.Error("the doorkeeper remembers a key whose slot another key took")
	}
}
