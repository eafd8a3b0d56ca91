package e2e

import (
	"bytes"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The main use of the tier: an image is made once, then served from memory, after a restart from
// disk, and also when the origin is down.
func TestTier_Serve_MakesThumbnailOnce(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	copyPhoto(t, dir, "phone-orient6-p3.jpg")
	flags := []string{"--keys", key, "--source", "posts=dir://" + dir, "--cache-dir", cache}
	path := sign(t, "phone-orient6-p3.jpg", "v.1", "640x", "jpg")

	x := start(t, flags...)
	made := x.get(path)
	made.want(t, 200, "origin")
	picture, err := jpeg.Decode(bytes.NewReader(made.body))
	if err != nil {
		t.Fatal(err)
	}
	// 4032x3024 with orientation 6 stands upright at 3024x4032.
	if size := picture.Bounds().Size(); size.X != 640 || size.Y != 853 {
		t.Errorf("size %v, want 640x853 (upright)", size)
	}
	again := x.get(path)
	again.want(t, 200, "memory")
	if !bytes.Equal(again.body, made.body) || again.Header.Get("ETag") != made.Header.Get("ETag") {
		t.Error("memory answers with other bytes")
	}
	x.stop()

	x = start(t, flags...)
	restarted := x.get(path)
	restarted.want(t, 200, "disk")
	if !bytes.Equal(restarted.body, made.body) {
		t.Error("disk answers with other bytes")
	}
	if err := os.Remove(filepath.Join(dir, "phone-orient6-p3.jpg")); err != nil {
		t.Fatal(err)
	}
	for range 7 {
		x.get(path).want(t, 200, "disk")
	}
	eventually(t, 5*time.Second, "the eighth read of the disk copies it", func() bool {
		return strings.HasSuffix(x.get(path).Header.Get("Cache-Status"), "detail=memory")
	})
	// Another size is made from the kept original.
	x.get(sign(t, "phone-orient6-p3.jpg", "v.1", "320x", "webp")).want(t, 200, "original")
}

func TestTier_Serve_ForbidsChangedURLs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir())
	path := sign(t, "phone-srgb.jpg", "v.1", "640x", "jpg")
	forged := strings.Replace(path, "/640x/", "/641x/", 1)
	got := x.get(forged)
	if got.StatusCode != http.StatusForbidden || got.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %s, want an uncacheable 403", got.StatusCode, got.Header.Get("Cache-Control"))
	}
	x.get(path).want(t, 200, "origin")
}

func TestTier_Serve_CoalescesFiveHundredRequests(t *testing.T) {
	photos(t)
	var gets struct {
		sync.Mutex
		n int
	}
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		gets.Lock()
		gets.n++
		gets.Unlock()
		http.ServeFile(w, r, filepath.Join(photos(t), "phone-srgb.jpg"))
	}))
	x := start(t, "--keys", key, "--source", "posts="+origin+"/", "--allow-private-origins", "--cache-dir", t.TempDir())
	url := x.public + sign(t, "a.jpg", "v.1", "640x", "webp")

	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 500}}
	var all sync.WaitGroup
	begin := make(chan struct{})
	bodies := make([][]byte, 500)
	faults := make([]error, 500)
	for i := range bodies {
		all.Go(func() {
			<-begin
			resp, err := client.Get(url)
			if err != nil {
				faults[i] = err
				return
			}
			defer resp.Body.Close()
			if bodies[i], err = io.ReadAll(resp.Body); err == nil && resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("%s", resp.Status)
			}
			faults[i] = err
		})
	}
	close(begin)
	all.Wait()
	for i := range bodies {
		if faults[i] != nil || !bytes.Equal(bodies[i], bodies[0]) {
			t.Fatalf("request %d: %v, %d bytes, the first got %d", i, faults[i], len(bodies[i]), len(bodies[0]))
		}
	}
	gets.Lock()
	defer gets.Unlock()
	if gets.n != 1 {
		t.Errorf("the origin was asked %d times, want once", gets.n)
	}
	eventually(t, 20*time.Second, "exactly one resize is counted, which may be after the responses", func() bool {
		return metric(t, x, `imagetier_resize_jobs_total{format="webp",outcome="ok"}`) == "1"
	})
}
