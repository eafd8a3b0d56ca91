package proxy

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/rewrite"
)

// Malicious clients cannot fill the memory with different queries of many aliases each.
func TestAliasCache_BoundedMemory(t *testing.T) {
	c := aliasCache{}
	c.known.Max = maxQueries
	base := rewrite.Fields{"imageUrl": {Name: "imageUrl"}}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 50 {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, "a%d_%d:imageUrl ", n, i)
		}
		p := c.parse(base, []operation{{Query: "{" + b.String() + "}"}})
		if len(p.fields) < 5000 || !p.queries {
			t.Fatalf("%d fields, queries %v", len(p.fields), p.queries)
		}
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("50 queries of 90 KB left %d MiB", grown>>20)
	}
	runtime.KeepAlive(&c)
}
