package e2e

import (
	"bytes"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

// Notifications of a bucket warm and purge, without a feed service. Senders spell these names
// differently.
func TestTier_S3Notices_WarmAndPurge(t *testing.T) {
	t.Parallel()
	// versitygw posts a test event when it starts and needs an answer, but the tier starts after it: the
	// relay answers. versitygw can authenticate only with a user and password in the URL.
	var private atomic.Pointer[url.URL]
	relay := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := private.Load(); to != nil {
			httputil.NewSingleHostReverseProxy(to).ServeHTTP(w, r)
		}
	}))
	s3 := s3server.Start(
		t,
		"--event-webhook-url", strings.Replace(relay, "http://", "http://bucket:"+s3Token+"@", 1)+"/v1/events/s3",
	)
	s3.Bucket(t, "photos", false)
	cdn := newCDNAdapter(t)
	env := []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	x := startWith(
		t,
		env,
		"--keys", key, "--cache-dir", t.TempDir(), "--admin-token", token, "--webhook-secrets", hookSecret,
		"--s3-events-token", s3Token, "--warm", "all",
		"--source", "posts=s3://photos/2026?region="+s3.Region+"&endpoint="+s3.Endpoint+"&path-style=true",
		"--image-prefix", "https://cdn.app.example/=posts", "--purge-hook", cdn.url,
		"--purge-secrets", cdnSecret,
	)
	at, err := url.Parse(x.private)
	if err != nil {
		t.Fatal(err)
	}
	private.Store(at)
	first, err := os.ReadFile(filepath.Join(photos(t), "phone-android.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := os.ReadFile(filepath.Join(photos(t), "phone-srgb.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{ // as it is stored → as URLs spell it
		"a.jpg":        "a.jpg",
		"b c+d%20.jpg": "~YiBjK2QlMjAuanBn",
	}
	for name := range names {
		s3.Put(t, "photos", "2026/"+name, first)
	}
	s3.Put(t, "photos", "other/x.jpg", first) // in the bucket, but outside the source's prefix
	x.waitWarm(len(names))
	made := make(map[string][]byte)
	for name, spelled := range names {
		got := x.get(signedPath(t, "/440x/v.0/posts/"+spelled+".webp"))
		got.want(t, 200, "memory")
		made[name] = got.body
	}
	// Replacing an object replaces its live variants.
	live := signedPath(t, "/100x/live/posts/a.jpg.webp")
	was := x.get(live).body
	s3.Put(t, "photos", "2026/a.jpg", second)
	eventually(t, 30*time.Second, "the live variant is of the new original", func() bool {
		return !bytes.Equal(x.get(live).body, was)
	})
	// Deleting an object purges its variants.
	for name, spelled := range names {
		before := cdn.times("image.purged " + name)
		s3.Delete(t, "photos", "2026/"+name)
		eventually(t, 30*time.Second, name+" is purged", func() bool {
			return x.get(signedPath(t, "/440x/v.0/posts/"+spelled+".webp")).StatusCode == http.StatusNotFound
		})
		eventually(t, 30*time.Second, "a CDN hook for "+name, func() bool {
			return cdn.times("image.purged "+name) > before
		})
	}
	for label, change := range map[string]func(*http.Request){
		"nothing":            func(*http.Request) {},
		"the webhook secret": func(r *http.Request) { r.SetBasicAuth("bucket", hookSecret) },
	} {
		req, err := http.NewRequestWithContext(
			t.Context(),
			http.MethodPost,
			x.private+"/v1/events/s3",
			strings.NewReader(`{"Records":[]}`),
		)
		if err != nil {
			t.Fatal(err)
		}
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("with %s: %s, want 401", label, resp.Status)
		}
	}
	x.stop()
}

// s3Token is the token of S3 notifications.
const s3Token = "0123456789abcdef-s3-events"
