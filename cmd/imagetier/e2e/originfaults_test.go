package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin/origintest/faulty"
)

// entries returns the number of images in each tier of x.
func entries(x *tier) (n [3]float64) {
	for i, name := range []string{"memory", "disk", "originals"} {
		n[i] = x.number(fmt.Sprintf("imagetier_cache_entries{tier=%q}", name))
	}
	return n
}

// Every fault of package faulty has its own source, so that no breaker hides another fault, and all
// occur at once. Incomplete images are neither answered nor stored.
func TestTier_FaultyOrigin_StoresNothing(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // of the origin
	origin := faulty.Start(t, picture(1))
	a := newAlbum(t)
	faults := map[faulty.Fault][]int{
		faulty.None: {
			200,
		}, faulty.IgnoresIfMatch: {200}, faulty.FlippingTag: {200}, // for a version that the caller guarantees
		faulty.TooLong: {200}, // the promised bytes came, and no more are read
		faulty.Cut:     {502}, faulty.CutChunked: {502}, faulty.Reset: {502}, faulty.ResetBody: {502},
		faulty.WrongKind: {415}, faulty.Unavailable: {503}, faulty.Failed: {502}, faulty.BadGateway: {502},
		faulty.Hang: {504}, faulty.HangHeaders: {504}, faulty.HangBody: {504}, faulty.Trickle: {504},
		faulty.Endless: {413, 504}, faulty.EndlessHeaders: {502}, faulty.EndlessInterim: {502, 504},
		faulty.Gzip: {200}, faulty.Partial: {502}, faulty.Switching: {502, 504},
		faulty.NoContent: {502}, faulty.NotModified: {502},
		faulty.TwoLengths: {
			502,
		}, faulty.Garbage: {502}, faulty.ToPrivate: {502}, faulty.ToMetadata: {502}, faulty.ToElsewhere: {502},
		faulty.ToFile: {502}, faulty.RedirectLoop: {502}, faulty.RedirectNowhere: {502},
	}
	flags := []string{
		"--log-level", "error", "--origin-timeout", timeout.String(), "--negative-ttl", "0s",
		"--max-original-bytes", "1MiB",
	}
	for fault := range faults {
		flags = append(flags, "--source", fmt.Sprintf("f-%s=%s/", fault, origin.URL))
	}
	cache := t.TempDir()
	x := a.start(cache, flags...)
	var kept atomic.Int64
	var all sync.WaitGroup
	for fault, want := range faults {
		path := signedPath(t, fmt.Sprintf("/240x-q95/v.1/f-%s/%s/a.png.jpg", fault, fault))
		all.Go(func() {
			for range 2 { // an answer must not depend on the previous one
				began := time.Now()
				got, err := a.getPath(t.Context(), x, 1, path)
				if got.Response == nil {
					t.Errorf("%s: %v", fault, err)
					return
				}
				late := got.StatusCode == 504 && time.Since(began) >= timeout &&
					!slices.Contains(want, 200) // a busy machine may cause it
				if !slices.Contains(want, got.StatusCode) && !late {
					t.Errorf("%s: %s, want one of %v: %s", fault, got.Status, want, firstBytes(got.body))
				}
				if kind := got.Header.Get("Content-Type"); got.StatusCode != 200 && kind != "application/problem+json" {
					t.Errorf("%s: %s of type %s", fault, got.Status, kind)
				}
				if took := time.Since(began); took > timeout+5*time.Second { // resizing may wait, as may this machine
					t.Errorf("%s: answered after %v, the origin has %v", fault, took, timeout)
				}
			}
			if slices.Equal(want, []int{200}) {
				kept.Add(1)
			}
		})
		if slices.Equal(want, []int{502}) { // a single failure is retried
			once := signedPath(t, fmt.Sprintf("/240x-q95/v.1/f-ok/once/%s/a.png.jpg", fault))
			all.Go(func() {
				if got, err := a.getPath(t.Context(), x, 1, once); err == nil {
					kept.Add(1)
				} else if got.Response == nil || got.StatusCode != 502 && got.StatusCode != 504 {
					// Redirects and the like are not retried: they are permanent.
					t.Errorf("%s, once: %v", fault, err)
				}
			})
		}
	}
	all.Wait()
	want := float64(kept.Load())
	eventually(t, 10*time.Second, "the right images to be on disk", func() bool { return entries(x)[1] >= want })
	if got := entries(x); got != [3]float64{want, want, want} {
		t.Errorf("memory, disk and originals hold %v, %g were right", got, want)
	}

	// The origin and the memory tier are gone: these answers come from disk.
	x.stop()
	for i, flag := range flags {
		if strings.HasPrefix(flag, "f-") {
			name, _, _ := strings.Cut(flag, "=")
			flags[i] = name + "=http://" + freePort(t) + "/"
		}
	}
	x = a.start(cache, flags...)
	waitRecovered(x, int(want))
	for fault, want := range faults {
		path := signedPath(t, fmt.Sprintf("/240x-q95/v.1/f-%s/%s/a.png.jpg", fault, fault))
		got, err := a.getPath(t.Context(), x, 1, path)
		if got.Response == nil {
			t.Fatal(err)
		}
		if right := slices.Equal(want, []int{200}); right != (got.StatusCode == 200) {
			t.Errorf("%s: %s from a tier whose origin is gone", fault, got.Status)
		}
	}
}

// An origin returns other bytes each time and ignores conditions. Requests that pin an entity tag
// get those bytes or an error, and all others get complete pictures.
func TestTier_FlippingOrigin_ETagVersionsNeverMix(t *testing.T) {
	t.Parallel()
	a := newAlbum(t)
	pictures := [2][]byte{picture(0), picture(1)}
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := rand.IntN(2) // alternating could synchronize with the requests
		w.Header().Set("ETag", fmt.Sprintf(`"of-%d"`, n))
		w.Header().Set("Cache-Control", "max-age=0")
		w.Header().Set("Content-Length", strconv.Itoa(len(pictures[n])))
		w.Write(pictures[n])
	}))
	x := a.start(t.TempDir(), "--source", "flips="+origin+"/", "--negative-ttl", "0s")
	var right, refused [2]atomic.Int64
	var all sync.WaitGroup
	for reader := range 4 {
		all.Go(func() {
			for i := range 30 {
				n := (reader + i) % 2
				path := signedPath(t, fmt.Sprintf("/%dx-q95/e.of-%d/flips/%d-%d.png.jpg", 100+i, n, reader, i))
				got, err := a.getPath(t.Context(), x, n, path)
				switch {
				case err == nil:
					right[n].Add(1)
				case got.Response != nil && got.StatusCode == 404:
					refused[n].Add(1)
				default:
					t.Error(err)
				}
				live, err := a.client.Get(
					x.public + signedPath(t, fmt.Sprintf("/%dx-q95/live/flips/live.png.jpg", 100+i%3)),
				)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(live.Body)
				live.Body.Close()
				if err != nil || live.StatusCode != 200 || isPicture(0, body) != nil && isPicture(1, body) != nil {
					t.Errorf("live: %s, %d bytes, %v", live.Status, len(body), err)
				}
			}
		})
	}
	all.Wait()
	for n := range 2 {
		if right[n].Load() == 0 || refused[n].Load() == 0 {
			t.Errorf("of-%d was answered %d times and refused %d times: it did not flip",
				n, right[n].Load(), refused[n].Load())
		}
	}
}

// The origin has only a truncated upload, with a matching length. Every kind of file is refused and
// not stored.
func TestTier_TruncatedOriginal_AnyFormatRefused(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(photos(t), "*.*"))
	if err != nil {
		t.Fatal(err)
	}
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(photos(t), filepath.Base(r.URL.Path)))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		b = b[:len(b)/2]
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Header().Set("ETag", `"half"`)
		w.Write(b)
	}))
	x := start(t, "--keys", key, "--source", "posts="+origin+"/", "--allow-private-origins", "--cache-dir", t.TempDir())
	tried := 0
	for _, file := range files {
		name := filepath.Base(file)
		if ext := filepath.Ext(name); ext == ".md" || ext == ".tsv" {
			continue
		}
		tried++
		for _, shape := range []string{"64x-still", "200x-still"} { // one may need fewer bytes than the other
			if got := x.get(signedPath(t, fmt.Sprintf("/%s/v.1/posts/%s.webp", shape, name))); got.StatusCode != 422 {
				t.Errorf("%s of half of %s: %s", shape, name, got.Status)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d files to test with", tried)
	}
	if got := entries(x); got != [3]float64{} {
		t.Errorf("memory, disk and originals hold %v", got)
	}
}

// Hundreds of requests wait for an origin that hangs. Hits of the same source and misses of another
// are answered meanwhile, and the waiting ones when the origin recovers.
func TestTier_HangingOrigin_DoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	a := newAlbum(t)
	hanging, released := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	t.Cleanup(release)
	var hung atomic.Int64
	origin := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/"), ".png"))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if n >= 100 {
			if hung.Add(1) == 1 {
				close(hanging)
			}
			select {
			case <-released:
			case <-r.Context().Done():
				return
			}
		}
		w.Write(picture(n))
	}))
	x := a.start(t.TempDir(), "--source", "slow="+origin+"/", "--origin-timeout", "60s")
	slow := func(n int) string { return signedPath(t, fmt.Sprintf("/240x-q95/v.1/slow/%d.png.jpg", n)) }
	const kept = 20
	for n := range kept {
		if _, err := a.getPath(t.Context(), x, n, slow(n)); err != nil {
			t.Fatal(err)
		}
	}

	const waiting = 200
	var answered, right atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for i := range waiting {
		path := slow(100 + i)
		all.Go(func() {
			got, err := a.getPath(ctx, x, 100+i, path)
			answered.Add(1)
			switch {
			case err == nil:
				right.Add(1)
			case got.Response == nil || got.StatusCode != 503: // the queue is full
				t.Errorf("picture %d: %v", 100+i, err)
			}
		})
	}
	<-hanging
	eventually(t, 20*time.Second, "the origin to have all that it may have", func() bool { return hung.Load() >= 50 })
	for round := range 20 {
		for n := range kept {
			got, err := a.getPath(t.Context(), x, n, slow(n))
			if err != nil || !isHit(got) {
				t.Fatalf("a hit while an origin hangs: %v, Cache-Status: %s", err, got.Header.Get("Cache-Status"))
			}
		}
		if _, err := a.get(t.Context(), x, round); err != nil {
			t.Fatalf("a miss of another source: %v", err)
		}
	}
	if got := right.Load(); got != 0 {
		t.Errorf("%d got an image of an origin that hangs", got)
	}
	release()
	all.Wait()
	if right.Load() == 0 {
		t.Errorf("none of %d got an image once the origin was back", waiting)
	}
	eventually(t, 60*time.Second, "everything refused to be answered when asked again", func() bool {
		for i := range waiting {
			if _, err := a.getPath(t.Context(), x, 100+i, slow(100+i)); err != nil {
				return false
			}
		}
		return true
	})
}
