package e2e

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestPurgesAndTakedownsAtAShell(t *testing.T) {
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-android.jpg")
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token)
	path := sign(t, "phone-android.jpg", "v.1", "200x", "jpg")
	x.get(path).want(t, 200, "origin")
	x.get(path).want(t, 200, "memory")
	tell := []string{"--private-listen", strings.TrimPrefix(x.private, "http://"), "--admin-token", token}
	if said := run(t, append([]string{"purge", x.public + path}, tell...)...); !strings.Contains(said, "2 variants") {
		t.Errorf("purge says %q", said)
	}
	x.get(path).want(t, 200, "original")
	what := append([]string{"--source", "posts", "--name", "phone-android.jpg"}, tell...)
	run(t, append([]string{"takedown"}, what...)...)
	if got := x.get(path); got.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("taken down, it is %s", got.Status)
	}
	run(t, append([]string{"takedown", "--lift"}, what...)...)
	x.get(path).want(t, 200, "origin")
}

// More is asked than can be made: hits are all served, and what cannot be made is refused
// at once with word on when to come again.
func TestUnderOverloadHitsAreServedAndTheRestIsRefusedAtOnce(t *testing.T) {
	x := start(t, "--keys", key, "--source", "posts=dir://"+photos(t), "--cache-dir", t.TempDir(), "--workers", "2")
	warm := sign(t, "phone-android.jpg", "v.1", "200x", "jpg")
	x.get(warm).want(t, 200, "origin")
	want := x.get(warm).body
	var hits, made, refused atomic.Int64
	var stop atomic.Bool
	var readers, crowd sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !stop.Load() {
				got := x.get(warm)
				if got.StatusCode != 200 || !bytes.Equal(got.body, want) {
					t.Errorf("a hit is %s", got.Status)
					return
				}
				hits.Add(1)
				time.Sleep(time.Millisecond) // the machine has work to do beside
			}
		})
	}
	const asked = 120
	paths := make([]string, asked)
	for i := range paths {
		paths[i] = signedPath(t, "/300x/v."+strconv.Itoa(i)+"/posts/photo.heic.webp")
	}
	for _, path := range paths {
		crowd.Go(func() {
			resp, err := http.Get(x.public + path)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == 200 && len(body) > 1000:
				made.Add(1)
			case resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != "":
				refused.Add(1)
			default:
				t.Errorf("%s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
			}
		})
	}
	crowd.Wait()
	eventually(t, 5*time.Second, "it makes images again", func() bool {
		return x.get(signedPath(t, "/100x/v.after/posts/phone-android.jpg.jpg")).StatusCode == 200
	})
	stop.Store(true)
	readers.Wait()
	t.Logf("of %d: %d made, %d refused; %d hits meanwhile", asked, made.Load(), refused.Load(), hits.Load())
	if made.Load() < 3 || refused.Load() < 40 || made.Load()+refused.Load() != asked || hits.Load() < 100 {
		t.Errorf("of %d: %d made, %d refused; %d hits meanwhile", asked, made.Load(), refused.Load(), hits.Load())
	}
}
