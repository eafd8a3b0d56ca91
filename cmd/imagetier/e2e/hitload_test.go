package e2e

import (
	"context"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

const (
	hitRounds = 3
	// wantHitP99 is the most that the 99th percentile of hits may take while fills run.
	wantHitP99 = time.Millisecond
	// hitCores is how many cores that needs: client, tier and fills have one each.
	hitCores = 3
)

// Hits at half of their capacity are answered within a millisecond (p99) while fills keep another core busy. The
// capacity is measured beside fills, too: without them it includes the time of that core. Each round has a run with
// fills and one without; requests are sent at the same times in both. Client and tier share the machine, so there is a
// verdict only with hitCores.
func TestLoad_HitsDuringFills(t *testing.T) {
	if !loadFull {
		t.Skip("it measures: make bench-load")
	}
	x := start(t, "--listen", freePort(t), "--private-listen", freePort(t), "--log-level", "error", "--keys", key,
		"--source", "posts=dir://"+photos(t), "--cache-dir", t.TempDir(), "--workers", "1")
	a := newLeanAsker(x)
	hit := a.fill(t, "440x", "phone-srgb.jpg.webp")
	next := func(int) string { return hit }
	if got := a.ask(t.Context(), hit); got.status != http.StatusOK {
		t.Fatalf("the image is answered with %d", got.status)
	}
	made := a.beginFills(t)
	a.throughput(t, 16, *loadTime/10, next)
	rate := a.throughput(t, 16, *loadTime/2, next) / 2
	t.Logf("the capacity is %.0f hits a second with 16 clients during %d fills; half of it is requested", 2*rate, made())
	var with []time.Duration
	var ratios []float64
	for round := range hitRounds {
		var p99 [2]time.Duration
		for k := range 2 {
			fills := k != round%2 // the order takes turns
			made := func() int { return 0 }
			if fills {
				made = a.beginFills(t)
			}
			hits := a.pace(t, rate, *loadTime, uint64(round), next)
			n := made()
			if served := count(hits, http.StatusOK); served != len(hits) || served == 0 {
				t.Errorf("%d of %d hits were served", served, len(hits))
			}
			at := 0
			if fills {
				at = 1
			}
			p99[at] = quantile(hits, http.StatusOK, 0.99)
			t.Logf("round %d, fills %3d: %d hits, p50 %v, p99 %v, p99.9 %v", round+1, n, len(hits),
				quantile(hits, http.StatusOK, 0.5), p99[at], quantile(hits, http.StatusOK, 0.999))
		}
		with, ratios = append(with, p99[1]), append(ratios, float64(p99[1])/float64(max(p99[0], 1)))
	}
	slices.Sort(with)
	slices.Sort(ratios)
	t.Logf("p99 with fills %v (median of %v), %.2f of that without (median of %.2f)",
		with[hitRounds/2], with, ratios[hitRounds/2], ratios)
	if cores := runtime.NumCPU(); cores < hitCores {
		t.Logf("no verdict: client, tier and fills need a core each, and this machine has %d", cores)
	} else if with[hitRounds/2] > wantHitP99 {
		t.Errorf("hits take %v while fills run, wanted is at most %v (p99)", with[hitRounds/2], wantHitP99)
	}
}

// beginFills requests one new variant after the other until end is called, which returns how many were made.
func (a *asker) beginFills(t *testing.T) (end func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	made := 0
	var filling sync.WaitGroup
	filling.Go(func() {
		for ctx.Err() == nil {
			path := a.fill(t, "640x", phoneJPEGs[made%len(phoneJPEGs)]+".jpg")
			if got := a.ask(ctx, path); got.status == http.StatusOK {
				made++
			} else if ctx.Err() == nil {
				t.Errorf("a fill is answered with %d", got.status)
				return
			}
		}
	})
	return func() int {
		cancel()
		filling.Wait()
		return made
	}
}
