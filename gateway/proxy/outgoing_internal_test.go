package proxy

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/prefetch/profile"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A query that was read gets to the transport as a body in memory, which it sends in one write with the headers: such
// a body is an io.WriterTo, unlike the one that ReverseProxy wraps.
func TestProxy_Outgoing_QueryIsInMemory(t *testing.T) {
	linker, err := imagelink.New(imagelink.Config{Base: "https://img.example.com", Links: &profile.Links{}, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(Config{Upstream: &url.URL{Scheme: "http", Host: "service.invalid"}, Linker: linker})
	if err != nil {
		t.Fatal(err)
	}
	const query = `{"query":"{feed{id}}"}`
	requests := 0
	p.forward.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		requests++
		_, inMemory := r.Body.(io.WriterTo)
		if got, err := io.ReadAll(r.Body); err != nil || string(got) != query || !inMemory {
			t.Errorf("%q, %v; in memory: %v", got, err, inMemory)
		}
		return nil, errors.New("no service")
	})
	r := httptest.NewRequest("POST", "/graphql", strings.NewReader(query))
	r.Header.Set("Content-Type", "application/json")
	p.ServeHTTP(httptest.NewRecorder(), r)
	if requests != 1 {
		t.Errorf("%d requests", requests)
	}
}
