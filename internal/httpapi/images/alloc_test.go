//go:build !race

package images

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/metrics"
)

// The values that are an answer's own (its id; its length, date and tag), and the slice that
// holds them; nothing grows with the request or the image.
func TestHandler_Hit_AllocatesThreeTimes(t *testing.T) {
	for _, header := range []string{"", "Surrogate-Key"} {
		hitAllocates(t, header, 3)
	}
}

func hitAllocates(t *testing.T, tagHeader string, most float64) {
	cache := newFakeCache()
	cfg := publicConfig(t, &constant{img: cache.img, out: cache.out})
	cfg.Observe = func(metrics.Observation) {}
	cfg.TagHeader = tagHeader
	h := New(cfg)
	r := httptest.NewRequest(
		http.MethodGet,
		apitest.SignBytes(t, "/640x640-cover-q70/v.1/posts/2026/11/abc.jpg.webp"),
		nil,
	)
	w := &sink{header: http.Header{}}
	got := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		h.ServeHTTP(w, r)
	})
	if w.status != http.StatusOK || got > most {
		t.Errorf("tag header %q: %d with %v allocations, want at most %v", tagHeader, w.status, got, most)
	}
	if tags := w.header[tagHeader]; tagHeader != "" &&
		(len(tags) != 1 || tags[0] != (imagecache.Original{Source: "posts", Name: "2026/11/abc.jpg"}).CDNTag()) {
		t.Errorf("%s: %q", tagHeader, tags)
	}
}
