package images

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/origin"
)

// No cache keeps an answer longer than its URL is valid.
func TestHandler_ServeHTTP_ExpiringURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache := newFakeCache()
		cfg := publicConfig(t, cache)
		cfg.Now = time.Now
		h := New(cfg)
		ref, err := imageurl.ParseRef("/640x/v.1/posts/2026/11/abc.jpg.webp")
		if err != nil {
			t.Fatal(err)
		}
		path, err := cfg.Signer.Sign(ref, imageurl.SignOptions{Expires: time.Now().Add(time.Minute)})
		if err != nil {
			t.Fatal(err)
		}
		call := func(name string, status int, control string) {
			t.Helper()
			got := apitest.Call(h, http.MethodGet, path, nil)
			if got.Code != status || got.Header().Get("Cache-Control") != control {
				t.Errorf("%s: %d, Cache-Control: %s; want %d, %s",
					name, got.Code, got.Header().Get("Cache-Control"), status, control)
			}
		}
		call("pinned", 200, "public, max-age=60")
		if cache.asked != ref {
			t.Errorf("the cache was asked for %s, want %s", cache.asked, ref)
		}
		time.Sleep(50 * time.Second)
		call("pinned, 50 s later", 200, "public, max-age=10")
		cache.img.Fresh = imagecache.Freshness{
			Generated: time.Now(), Until: time.Now().Add(time.Hour), StaleIfError: time.Hour,
		}
		call("live", 200, "public, max-age=10")
		cache.img.Fresh.Until, cache.img.Fresh.MustRevalidate = time.Now().Add(5*time.Second), true
		call("live for 5 s", 200, "public, max-age=5, must-revalidate")
		cache.err = origin.ErrTooLarge
		call("a refusal", 413, "public, max-age=10")
		time.Sleep(10 * time.Second)
		call("expired", 403, "no-store")
	})
}
