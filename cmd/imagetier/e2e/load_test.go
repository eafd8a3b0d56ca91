package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestTier_Commands_PurgeAndTakedown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	copyPhoto(t, dir, "phone-android.jpg")
	x := start(t, "--keys", key, "--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(), "--admin-token", token)
	path := sign(t, "phone-android.jpg", "v.1", "200x", "jpg")
	x.get(path).want(t, 200, "origin")
	x.get(path).want(t, 200, "memory")
	tell := []string{"--private-listen", strings.TrimPrefix(x.private, "http://"), "--admin-token", token}
	output := run(t, append([]string{"purge", x.public + path}, tell...)...)
	if !strings.Contains(output, "1 variants") {
		t.Errorf("purge says %q", output)
	}
	x.get(path).want(t, 200, "original")
	args := append([]string{"--source", "posts", "--name", "phone-android.jpg"}, tell...)
	run(t, append([]string{"takedown"}, args...)...)
	if got := x.get(path); got.StatusCode != http.StatusUnavailableForLegalReasons {
		t.Errorf("taken down, it is %s", got.Status)
	}
	run(t, append([]string{"takedown", "--lift"}, args...)...)
	x.get(path).want(t, 200, "origin")
}

// More is requested than can be made: all hits are served, and excess requests are refused at once
// with Retry-After.
func TestTier_Overload_ServesHitsRefusesRest(t *testing.T) {
	x := start(t, "--keys", key, "--source", "posts=dir://"+photos(t), "--cache-dir", t.TempDir(), "--workers", "2")
	warm := sign(t, "phone-android.jpg", "v.1", "200x", "jpg")
	x.get(warm).want(t, 200, "origin")
	want := x.get(warm).body
	var hits, made, refused, late atomic.Int64
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
				time.Sleep(time.Millisecond) // leaves CPU for the tier
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
			began := time.Now()
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
			case resp.StatusCode == http.StatusGatewayTimeout && time.Since(began) > 10*time.Second:
				late.Add(1) // admitted, but slowed down by other processes
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
	summary := fmt.Sprintf("of %d: %d made, %d refused, %d late; %d hits meanwhile",
		asked, made.Load(), refused.Load(), late.Load(), hits.Load())
	t.Log(summary)
	if made.Load() < 3 || refused.Load() < 40 || made.Load()+refused.Load()+late.Load() != asked || late.Load() > 20 ||
		hits.Load() < 100 {
		t.Error(summary)
	}
}

// A job without waiting clients frees its child; one with another waiting client continues.
func TestTier_ClientLeaves_FreesChild(t *testing.T) {
	x := start(
		t,
		"--keys", key, "--source", "posts=dir://"+lay(t, pictures(t)), "--cache-dir", t.TempDir(),
		"--workers", "1", "--resize-timeout", "120s",
	)
	busy := func() bool { return metric(t, x, `imagetier_resize_workers{state="busy"}`) == "1" }
	// A child that has just started for an expensive job has used at most 0.1 s.
	works := func() bool {
		return slices.ContainsFunc(childPIDs(x), func(pid int) bool { return cpuOf(t, pid) > 0.5e9 })
	}
	ask := func(ctx context.Context, path string) <-chan int {
		status := make(chan int, 1)
		go func() { status <- newAsker(x).ask(ctx, path).status }()
		return status
	}
	const long = "/6000x4500-cover-up-q95/v.%s/posts/still.png.webp" // seconds
	alone := signedPath(t, fmt.Sprintf(long, "alone"))
	ctx, leave := context.WithCancel(t.Context())
	left := ask(ctx, alone)
	eventually(t, 30*time.Second, "a child works on it", works)
	leave()
	<-left
	eventually(t, 20*time.Second, "the child is free", func() bool { return !busy() })
	if n := metric(t, x, `imagetier_resize_worker_restarts_total{reason="left"}`); n != "1" {
		t.Errorf("%s children were ended without waiting clients, want 1; %s", n, restarts(t, x))
	}

	shared := signedPath(t, fmt.Sprintf(long, "shared"))
	ctx, leave = context.WithCancel(t.Context())
	stays, left := ask(t.Context(), shared), ask(ctx, shared)
	eventually(t, 30*time.Second, "a child works on it", works)
	leave()
	<-left
	if got := <-stays; got != http.StatusOK {
		t.Errorf("the client that stays got status %d, want 200", got)
	}
	if n := metric(t, x, `imagetier_resize_worker_restarts_total{reason="left"}`); n != "1" {
		t.Errorf("%s children were ended without waiting clients, want 1 still", n)
	}
}
