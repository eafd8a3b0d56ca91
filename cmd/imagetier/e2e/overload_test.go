package e2e

import (
	"context"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

// The tests of this file measure, and need an idle machine: make bench-load.
var (
	loadFull  = os.Getenv("TEST_LOAD") == "full"
	loadPairs = flag.Int("load-pairs", 5, "pairs of runs with and without expensive jobs")
	loadTime  = flag.Duration("load-time", 20*time.Second, "how long one run lasts")
)

// loadTier starts a tier over the real photos and an AVIF of 50 megapixels.
func loadTier(t *testing.T) *tier {
	if !loadFull {
		t.Skip("it measures: make bench-load")
	}
	dir := t.TempDir()
	for _, name := range append([]string{"photo.heic"}, phoneJPEGs...) {
		copyPhoto(t, dir, name)
	}
	large := makeImages(t, photoBytes(t, "phone-android.jpg"), "8192x6144-cover-up-q50.avif")[0]
	if h, err := resize.ReadHeader(large.Body); err != nil || h.Width*h.Height < 50_000_000 {
		t.Fatalf("the large AVIF has %dx%d pixels, %v", h.Width, h.Height, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large.avif"), large.Body, 0o644); err != nil {
		t.Fatal(err)
	}
	return start(
		t,
		"--listen", freePort(t), "--private-listen", freePort(t), "--log-level", "error", "--keys", key,
		"--source", "posts=dir://"+dir, "--cache-dir", t.TempDir(),
	)
}

// makeImages makes variants with the built resize program, with more memory and time for a job than
// a tier allows.
func makeImages(t testing.TB, original []byte, names ...string) []resize.Image {
	t.Helper()
	pool, err := workers.New(workers.Config{
		Command: []string{filepath.Join(bin, "imagetier-resize")},
		Workers: 1, Memory: 8 << 30, Timeout: 3 * time.Minute, Limits: resize.Limits{MaxPixels: 100_000_000},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = pool.Run(ctx) })
	defer running.Wait()
	defer cancel()
	specs := make([]resize.Spec, len(names))
	for i, name := range names {
		if specs[i], err = resize.ParseSpecName(name); err != nil {
			t.Fatal(err)
		}
	}
	images, err := resize.Make(ctx, pool, original, specs...)
	if err != nil {
		t.Fatalf("make %v: %v", names, err)
	}
	return images
}

// photoBytes reads one of the real photos.
func photoBytes(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(photos(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// At half of the capacity, 1 % of jobs that decode an AVIF of 50 megapixels and encode another
// raise the 99th percentile of fills of phone photos by at most half: the median of pairs of runs,
// with and without these jobs, whose requests are sent at the same times.
func TestLoad_ExpensiveJobs_LeaveCheapOnesTime(t *testing.T) {
	x := loadTier(t)
	a := newAsker(x)
	a.capacity(t, 8, *loadTime/10) // warms up the children
	rate := a.capacity(t, 8, *loadTime/2) / 2
	t.Logf("the capacity is %.1f fills a second; half of it is asked for", 2*rate)
	var ratios []float64
	for pair := range *loadPairs {
		var p99 [2]time.Duration
		for k := range 2 {
			with := k == pair%2 // alternates the order
			var expensive []reply
			var beside sync.WaitGroup
			cheap := a.pace(t, rate, *loadTime, uint64(pair), func(i int) string {
				if with && i%100 == 20 {
					beside.Go(
						func() {
							expensive = append(expensive,
								a.ask(t.Context(), a.fill(t, "640x", "large.avif.avif")))
						},
					)
				}
				return a.fill(t, "640x", phoneJPEGs[i%len(phoneJPEGs)]+".jpg")
			})
			beside.Wait()
			if n := count(cheap, http.StatusOK); n != len(cheap) {
				t.Errorf("%d of %d fills were answered at half of the capacity", n, len(cheap))
			}
			if n := count(expensive, http.StatusOK); n != len(expensive) || with && n == 0 {
				t.Errorf("%d of %d expensive jobs were answered", n, len(expensive))
			}
			at := 0
			if with {
				at = 1
			}
			p99[at] = quantile(cheap, http.StatusOK, 0.99)
			t.Logf(
				"pair %d, expensive jobs %2d: %4d fills, p50 %v, p99 %v; an expensive one took %v",
				pair+1,
				len(expensive),
				len(cheap),
				quantile(cheap, http.StatusOK, 0.5).Round(time.Millisecond),
				p99[at].Round(time.Millisecond),
				quantile(expensive, http.StatusOK, 0.5).Round(time.Millisecond),
			)
		}
		ratios = append(ratios, float64(p99[1])/float64(p99[0]))
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	t.Logf("p99 with expensive jobs to p99 without: %.2f (median of %.2f)", median, ratios)
	if median > 1.5 {
		t.Errorf("expensive jobs make p99 %.2f times as long, allowed is 1.5", median)
	}
}

// At four times the capacity all hits are served, the rest is refused at once with Retry-After,
// memory does not grow, and 2 s after the overload a fill takes as long as before.
func TestLoad_FourTimesCapacity(t *testing.T) {
	x := loadTier(t)
	a := newAsker(x)
	hit := a.fill(t, "640x", "phone-srgb.jpg.jpg")
	a.ask(t.Context(), hit)
	a.capacity(t, 8, *loadTime/10)
	capacity := a.capacity(t, 8, *loadTime/2)
	fill := func(i int) string {
		if i%20 == 19 { // among them expensive ones
			return a.fill(t, "640x", "photo.heic.webp")
		}
		return a.fill(t, "640x", phoneJPEGs[i%len(phoneJPEGs)]+".jpg")
	}
	idle := quantile(a.pace(t, capacity/4, *loadTime/2, 1, fill), http.StatusOK, 0.99)

	ctx, cancel := context.WithCancel(t.Context())
	var memory []int64
	var hits []reply
	var beside sync.WaitGroup
	beside.Go(func() {
		for pause(ctx, 10*time.Millisecond) {
			hits = append(hits, a.ask(t.Context(), hit))
		}
	})
	beside.Go(func() {
		for pause(ctx, 100*time.Millisecond) {
			parent, resizers := rssOf(x)
			memory = append(memory, parent+resizers)
		}
	})
	began := time.Now()
	var made []reply
	var asking sync.WaitGroup
	asking.Go(func() { made = a.pace(t, 4*capacity, *loadTime, 2, fill) })
	pause(t.Context(), *loadTime-time.Since(began))
	// The tier has recovered when a fill begins that takes at most 1.5 times as long as without
	// overload.
	ended := time.Now()
	var probes [40]reply
	var probing sync.WaitGroup
	for i := range probes {
		probing.Go(func() { probes[i] = a.ask(t.Context(), a.fill(t, "640x", "phone-srgb.jpg.jpg")) })
		pause(t.Context(), time.Until(ended.Add(time.Duration(i+1)*250*time.Millisecond)))
	}
	probing.Wait()
	recovered := slices.IndexFunc(probes[:], func(r reply) bool {
		return r.status == http.StatusOK && r.took <= idle*3/2
	})
	asking.Wait()
	cancel()
	beside.Wait()

	ok, refused := count(made, http.StatusOK), count(made, http.StatusServiceUnavailable)
	late := count(made, http.StatusGatewayTimeout)
	// The first quarter is the ramp. After it memory must not grow.
	full := memory[len(memory)/4:]
	first, second := median(full[:len(full)/2]), median(full[len(full)/2:])
	t.Logf("capacity %.1f fills a second; asked for %d in %v: %d made (%.1f a second), %d refused, %d too late",
		capacity, len(made), *loadTime, ok, float64(ok)/loadTime.Seconds(), refused, late)
	t.Logf("hits: %d of %d served, p50 %v, p99 %v",
		count(hits, http.StatusOK), len(hits), quantile(hits, http.StatusOK, 0.5), quantile(hits, http.StatusOK, 0.99))
	t.Logf(
		"refusals: p50 %v, p99 %v; fills that were made: p50 %v, p99 %v, without overload p99 %v",
		quantile(made, http.StatusServiceUnavailable, 0.5),
		quantile(made, http.StatusServiceUnavailable, 0.99),
		quantile(made, http.StatusOK, 0.5),
		quantile(made, http.StatusOK, 0.99),
		idle,
	)
	t.Logf(
		"memory of parent and children, MiB: idle %d; under overload, medians of its second and third part, %d and %d; at the most %d",
		memory[0]>>20,
		first>>20,
		second>>20,
		slices.Max(memory)>>20,
	)
	t.Logf("recovered %v after the end", time.Duration(recovered)*250*time.Millisecond)
	if count(hits, http.StatusOK) != len(hits) || len(hits) == 0 {
		t.Errorf("%d of %d hits were served", count(hits, http.StatusOK), len(hits))
	}
	if ok+refused != len(made) || refused < len(made)/2 {
		t.Errorf("of %d images, %d were made and %d refused", len(made), ok, refused)
	}
	noRetryAfter := func(r reply) bool { return r.status == http.StatusServiceUnavailable && !r.retryAfter }
	if slices.ContainsFunc(made, noRetryAfter) {
		t.Error("a refusal has no Retry-After")
	}
	if at := quantile(made, http.StatusServiceUnavailable, 0.99); at > 250*time.Millisecond {
		t.Errorf("refusals came after %v", at)
	}
	if float64(second) > 1.05*float64(first) {
		t.Errorf("memory grew from %d to %d MiB under an overload that stayed the same", first>>20, second>>20)
	}
	if recovered < 0 || recovered > 8 {
		t.Errorf("2 s after the end fills take longer than the %v before", idle)
	}
}

// median returns the median of unsorted values.
func median(values []int64) int64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// rssOf returns the resident memory of the tier and of its children, in bytes.
func rssOf(x *tier) (parent, resizers int64) {
	parent = rss(x.cmd.Process.Pid)
	for _, pid := range childPIDs(x) {
		resizers += rss(pid)
	}
	return parent, resizers
}

func rss(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0 // it has just ended
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
