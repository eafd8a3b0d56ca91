package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Under about 500 requests per second, no request that begins after the receipt of a purge by tag
// gets the old bytes.
func TestTier_PurgeByTag_UnderLoad(t *testing.T) {
	dir := t.TempDir()
	pictures := []string{"phone-srgb.jpg", "phone-android.jpg"}
	var bodies [2][]byte
	for i, name := range pictures {
		copyPhoto(t, dir, name)
		body, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		bodies[i] = body
	}
	const originals = 3
	replace := func(with int) {
		t.Helper()
		for i := range originals {
			err := os.WriteFile(filepath.Join(dir, "new"), bodies[with], 0o644)
			if err == nil {
				err = os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, fmt.Sprintf("now%d.jpg", i)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	replace(0)
	x := start(
		t,
		"--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token,
		"--webhook-secrets", hookSecret, "--warm", "none",
	)
	var paths []string
	var made [2][]string
	var posts []string
	for i := range originals {
		posts = append(
			posts,
			fmt.Sprintf(`{"id":"p1","image":{"source":"posts","name":"now%d.jpg","version":"live"}}`, i),
		)
		for _, spec := range []string{"60x", "100x"} {
			paths = append(paths, signedPath(t, fmt.Sprintf("/%s/live/posts/now%d.jpg.jpg", spec, i)))
			for which, name := range pictures {
				made[which] = append(made[which], string(x.get(signedPath(t, "/"+spec+"/v.1/posts/"+name+".jpg")).body))
			}
		}
	}
	body := `{"type":"post.published","timestamp":"2026-11-22T10:00:00Z","data":{"profile":"feed","posts":[` +
		strings.Join(posts, ",") + `]}}`
	x.mustPostEvent("msg_1", body)
	eventually(
		t,
		20*time.Second,
		"the tags are known",
		func() bool { return metric(t, x, "imagetier_prefetch_queue_jobs") == "0" },
	)

	// clock is even between a receipt and the next purge, and then identifies the current picture.
	var clock, acknowledged, asked atomic.Int64
	var stop atomic.Bool
	var readers sync.WaitGroup
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	began := time.Now()
	tick := time.NewTicker(time.Millisecond) // slow ticks are dropped
	defer tick.Stop()
	for range 16 {
		readers.Go(func() {
			for i := 0; !stop.Load(); i++ {
				<-tick.C
				at := clock.Load()
				n := int(asked.Add(1)) % len(paths)
				resp, err := client.Get(x.public + paths[n])
				if err != nil {
					t.Error(err)
					return
				}
				var body bytes.Buffer
				_, err = body.ReadFrom(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s, %v", resp.Status, err)
					return
				}
				if at%2 != 0 || clock.Load() != at {
					continue // during a purge: either picture is right
				}
				acknowledged.Add(1)
				left, other := made[at/2%2][n], made[1-at/2%2][n]
				if got := body.String(); got != left && difference(t, got, left) >= difference(t, got, other) {
					t.Errorf("after purge %d: %s of the picture before it, %s",
						at/2, paths[n], resp.Header.Get("Cache-Status"))
				}
			}
		})
	}
	const rounds, each = 10, 30
	for round := range rounds {
		for late := time.Now().Add(20 * time.Second); acknowledged.Load() < int64((round+1)*each) &&
			time.Now().Before(late); {
			time.Sleep(time.Millisecond) // keep the load until enough answers had this picture
		}
		clock.Add(1)
		replace((round + 1) % 2)
		status, r := x.ask("POST", "/v1/purge", `{"tag":"post:p1"}`)
		if status != http.StatusOK || r.Variants == 0 {
			t.Fatalf("%d %+v", status, r)
		}
		clock.Add(1)
	}
	stop.Store(true)
	readers.Wait()
	t.Logf("%d requests in %v", asked.Load(), time.Since(began).Round(time.Millisecond))
	if n := acknowledged.Load(); n < rounds*each {
		t.Errorf("%d requests: too few to tell", n)
	}
	if n := metric(t, x, `imagetier_purges_total{kind="tag"}`); n != fmt.Sprint(rounds) {
		t.Errorf("%s purges by tag are counted, want %d", n, rounds)
	}
	// With the command, and with an unknown tag.
	x.get(paths[0]) // may not be cached since the last purge
	tell := []string{"--private-listen", strings.TrimPrefix(x.private, "http://"), "--admin-token", token}
	if output := run(t, append([]string{"purge", "--tag", "post:p1"}, tell...)...); !strings.HasPrefix(
		output,
		"post:p1: purged: ",
	) ||
		strings.Contains(output, " 0 variants") {
		t.Errorf("purge says %q", output)
	}
	if output := run(t, append([]string{"purge", "--tag", "post:unknown"}, tell...)...); !strings.Contains(
		output,
		"0 variants, 0 originals",
	) {
		t.Errorf("purge says %q", output)
	}
}

// difference returns the mean difference of two JPEGs in luma, 0 to 255. Variants of one original may
// differ in bytes: they depend on which others are made in the same job.
func difference(t *testing.T, a, b string) float64 {
	t.Helper()
	var luma [2]*image.YCbCr
	for i, body := range []string{a, b} {
		img, err := jpeg.Decode(strings.NewReader(body))
		if err != nil {
			t.Error(err)
			return math.Inf(1)
		}
		var ok bool
		if luma[i], ok = img.(*image.YCbCr); !ok {
			t.Errorf("a JPEG of %T", img)
			return math.Inf(1)
		}
	}
	area := luma[0].Rect.Intersect(luma[1].Rect)
	sum := 0.0
	for y := range area.Dy() {
		for x := range area.Dx() {
			sum += math.Abs(float64(luma[0].Y[luma[0].YOffset(x, y)]) - float64(luma[1].Y[luma[1].YOffset(x, y)]))
		}
	}
	return sum / float64(area.Dx()*area.Dy())
}

// Tags survive the process that learned them.
func TestTier_Tags_SurviveKill(t *testing.T) {
	t.Parallel()
	dir, cache := t.TempDir(), t.TempDir()
	copyPhoto(t, dir, "phone-android.jpg")
	flags := []string{
		"--keys", key, "--source", "posts=dir://" + dir, "--cache-dir", cache, "--admin-token", token,
		"--webhook-secrets", hookSecret, "--warm", "none",
	}
	x := start(t, flags...)
	path := signedPath(t, "/100x/v.1/posts/phone-android.jpg.jpg")
	x.get(path).want(t, 200, "origin")
	x.mustPostEvent("msg_1", published("p1", "phone-android.jpg", "v.1"))
	eventually(
		t,
		20*time.Second,
		"the tag is known",
		func() bool { return metric(t, x, "imagetier_prefetch_queue_jobs") == "0" },
	)
	x.kill()
	x = start(t, flags...)
	if status, r := x.ask("POST", "/v1/takedown", `{"tag":"post:p1"}`); status != http.StatusOK || r.Variants != 1 {
		t.Fatalf("%d %+v", status, r)
	}
	if got := x.get(path); got.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("taken down by tag, it is %s", got.Status)
	}
	if status, _ := x.ask("DELETE", "/v1/takedown", `{"tag":"post:p1"}`); status != http.StatusOK {
		t.Errorf("lifting by tag: %d", status)
	}
	x.get(path).want(t, 200, "origin")
}
