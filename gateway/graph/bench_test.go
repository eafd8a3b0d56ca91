package graph_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/graph"
)

// discarding is a client that reads nothing, so that the handler is what is measured.
type discarding struct{ h http.Header }

func (d discarding) Header() http.Header         { return d.h }
func (d discarding) Write(b []byte) (int, error) { return len(b), nil }
func (d discarding) WriteHeader(int)             {}

// BenchmarkFeed is the load test's query over a page of 20 posts: parsed, checked, 40 URLs
// signed, written. Feed and network are not in it.
func BenchmarkFeed(b *testing.B) {
	h := newHandler(b, graph.Config{Feed: always(twenty())})
	body := query(k6Query, map[string]any{"limit": 20, "cursor": nil})
	reader := strings.NewReader(body)
	r := httptest.NewRequest(http.MethodPost, "/graphql", reader)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", iPhone)
	b.ReportAllocs()
	for b.Loop() {
		reader.Reset(body)
		r.Body = io.NopCloser(reader)
		h.ServeHTTP(discarding{http.Header{}}, r)
	}
}
