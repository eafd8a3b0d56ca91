package imagecache

import (
	"fmt"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
)

func TestNegatives_Put_Bounded(t *testing.T) {
	now := time.Now()
	ns := negatives{ttl: time.Minute}
	for i := range maxNegatives + 5000 {
		ns.put(Key{path: fmt.Sprint(i)}, 0, origin.ErrNotFound, now)
		if len(ns.byKey) > maxNegatives {
			t.Fatalf("%d refusals are remembered after %d, limit %d", len(ns.byKey), i+1, maxNegatives)
		}
	}
	if last := (Key{path: fmt.Sprint(maxNegatives + 4999)}); len(ns.byKey) < maxNegatives/2 {
		t.Errorf("only %d refusals are remembered", len(ns.byKey))
	} else if _, ok := ns.get(last, 0, now); !ok {
		t.Error("the latest refusal is not remembered")
	}
}

// Refusals of URLs that are not requested again are dropped too.
func TestNegatives_Put_DropsExpired(t *testing.T) {
	now := time.Now()
	ns := negatives{ttl: time.Minute}
	for i := range 10_000 {
		now = now.Add(time.Second)
		ns.put(Key{path: fmt.Sprint(i)}, 0, origin.ErrNotFound, now)
		if len(ns.byKey) > 2*60 {
			t.Fatalf("%d refusals are held, of which 60 are younger than a minute", len(ns.byKey))
		}
	}
	if _, ok := ns.get(Key{path: fmt.Sprint(9_950)}, 0, now); !ok {
		t.Error("a refusal is forgotten before its time")
	}
}
