//go:build !race

package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// The values that are an answer's own (its id, length and date) and the slice that holds
// them; nothing grows with the request or the image.
func TestAHitAllocatesFourTimes(t *testing.T) {
	cache := newFakeCache()
	cfg := publicConfig(t, &constant{img: cache.img, out: cache.out})
	cfg.Observe = func(Observation) {}
	h := Public(cfg)
	r := httptest.NewRequest(http.MethodGet, signBytes(t, "/640x640-cover-q70/v.1/posts/2026/11/abc.jpg.webp"), nil)
	w := &sink{header: http.Header{}}
	got := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || got > 4 {
		t.Errorf("%d with %v allocations, want at most 4", w.status, got)
	}
}
