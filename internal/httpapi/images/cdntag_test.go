package images

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// `printf %s posts/2026/11/abc.jpg | sha256sum | cut -c1-16` prints the part after o-, so an operator can compute the
// tag in a shell to purge a CDN by hand.
const tagOfABC = "o-17cca502be073b8d"

func TestHandler_CacheTag_OnCacheableResponses(t *testing.T) {
	cache := newFakeCache()
	cfg := publicConfig(t, cache)
	cfg.Catalog.Sources = map[string]httpapi.Source{"posts": {Originals: true}, "shut": {}}
	cfg.TagHeader = "Cache-Tag"
	h := New(cfg)
	path := func(signed string) string { return apitest.SignBytes(t, signed) }
	for _, c := range []struct {
		name   string
		path   string
		header http.Header
		err    error
		status int
		tagged bool
	}{
		{"a variant", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil, nil, 200, true},
		{"another of it", path("/32x32-cover/live/posts/2026/11/abc.jpg.auto"), nil, nil, 200, true},
		{"itself", path("/orig/v.1/posts/2026/11/abc.jpg"), nil, nil, 200, true},
		{"facts", path("/info/v.1/posts/2026/11/abc.jpg.json"), nil, nil, 200, true},
		{"a part", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), http.Header{"Range": {"bytes=0-3"}}, nil, 206, true},
		{"what the CDN has",
			path("/640x/v.1/posts/2026/11/abc.jpg.webp"), http.Header{"If-None-Match": {`"tag"`}}, nil, 304, true},
		{"a missing original", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil, origin.ErrNotFound, 404, true},
		{"a broken original", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil, resize.ErrCorrupt, 422, true},
		{"a takedown", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil, imagecache.ErrTakenDown, 451, true},
		{"a failing origin", path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil, origin.ErrUnavailable, 502, false},
		{"no such bytes",
			path("/640x/v.1/posts/2026/11/abc.jpg.webp"), http.Header{"Range": {"bytes=99-"}}, nil, 416, false},
		{"an original that is not handed out", path("/orig/v.1/shut/2026/11/abc.jpg"), nil, nil, 403, false},
		{"a forged URL", "/i/k1.AAAAAAAAAAAAAAAAAAAAAA/640x/v.1/posts/2026/11/abc.jpg.webp", nil, nil, 403, false},
		{"no such source", path("/640x/v.1/unknown/2026/11/abc.jpg.webp"), nil, nil, 400, false},
		{"health", "/healthz", nil, nil, 200, false},
	} {
		cache.err = c.err
		got := apitest.Call(h, http.MethodGet, c.path, c.header)
		want := "[]"
		if c.tagged {
			want = "[" + tagOfABC + "]"
		}
		if tags := fmt.Sprint(got.Header()["Cache-Tag"]); got.Code != c.status || tags != want {
			t.Errorf("%s: %d with Cache-Tag %s, want %d with %s", c.name, got.Code, tags, c.status, want)
		}
	}
	cfg.TagHeader = ""
	cache.err = nil
	got := apitest.Call(New(cfg), http.MethodGet, path("/640x/v.1/posts/2026/11/abc.jpg.webp"), nil).Header()
	if got["Cache-Tag"] != nil || got[""] != nil {
		t.Errorf("without a configured header: %v", got)
	}
}
