package e2e

import (
	"bytes"
	"io/fs"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin/origintest/s3server"
)

// objects returns the files of a bucket.
func objects(t testing.TB, s3 *s3server.Server, bucket string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s3.Dir, bucket), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return ignoreMissing(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestTier_SharedStore_WarmsNewNode(t *testing.T) {
	t.Parallel()
	s3 := s3server.Start(t)
	s3.Bucket(t, "derived", false)
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	env := []string{"AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey}
	node := func() *tier {
		return startWith(
			t,
			env,
			"--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token,
			"--derived", "s3://derived/tier?region="+s3.Region+"&endpoint="+s3.Endpoint+"&path-style=true",
		)
	}
	path, live := sign(t, "phone-srgb.jpg", "v.1", "200x", "jpg"), sign(t, "phone-srgb.jpg", "live", "200x", "jpg")
	first := node()
	made := first.get(path)
	made.want(t, 200, "origin")
	first.get(live).want(t, 200, "origin")
	eventually(t, 10*time.Second, "it is written behind", func() bool { return len(objects(t, s3, "derived")) == 1 })
	second := node()
	got := second.get(path)
	got.want(t, 200, "derived")
	if !bytes.Equal(got.body, made.body) || got.Header.Get("ETag") != made.Header.Get("ETag") ||
		got.Header.Get("Last-Modified") != made.Header.Get("Last-Modified") {
		t.Error("the answers of the two nodes differ")
	}
	second.get(path).want(t, 200, "memory")
	// Only the pinned one.
	eventually(t, 10*time.Second, "nothing waits to be written", func() bool {
		return metric(t, first, `imagetier_cache_entries{tier="derived"}`) == "0"
	})
	if n := len(objects(t, s3, "derived")); n != 1 {
		t.Errorf("%d objects, want 1: a live image was stored too", n)
	}
	// One bit.
	file := objects(t, s3, "derived")[0]
	edit(t, file, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	third := node()
	got = third.get(path)
	got.want(t, 200, "origin")
	if !bytes.Equal(got.body, made.body) {
		t.Error("the image made again differs from the first")
	}
	if n := metric(t, third, `imagetier_cache_errors_total{op="verify",tier="derived"}`); n != "1" {
		t.Errorf("%s damaged objects are counted", n)
	}
	// A purge deletes it.
	if status, r := third.ask("POST", "/v1/purge", `{"source":"posts","name":"phone-srgb.jpg"}`); status != 200 ||
		r.Variants != 1 {
		t.Errorf("%d %+v", status, r)
	}
	if left := objects(t, s3, "derived"); len(left) != 0 {
		t.Errorf("%q is left", left)
	}
	for _, x := range []*tier{first, second, third} {
		x.stop()
	}
}

// A store that accepts connections and never answers.
func TestTier_SharedStore_HangingStoreTimesOut(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-srgb.jpg")
	x := startWith(
		t,
		[]string{"AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x"},
		"--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(),
		"--derived", "s3://derived/tier?region=us-east-1&endpoint=http://"+l.Addr().String()+"&path-style=true",
	)
	var slowest time.Duration
	for i := range 20 {
		path := signedPath(
			t,
			"/"+[]string{"60x", "80x", "100x", "120x"}[i%4]+"/v."+string(rune('a'+i/4))+"/posts/phone-srgb.jpg.jpg",
		)
		began := time.Now()
		if got := x.get(path); got.StatusCode != 200 {
			t.Fatal(got.Status)
		}
		slowest = max(slowest, time.Since(began))
		if i == 9 {
			slowest = 0 // the breaker is open by now
		}
	}
	if slowest > 2*time.Second {
		t.Errorf("%s with a store that is left alone", slowest)
	}
	if n := metric(t, x, `imagetier_cache_errors_total{op="get",tier="derived"}`); n == "0" || n > "6" {
		t.Errorf("%s reads waited for it", n)
	}
	x.stop()
}
