package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soakImages is the minimum number of answers of a soak.
var soakImages = flag.Int64("soak-images", 10_000, "answers that TestSoak asks for at the least")

// A soak first fills every tier. Then it runs as long as TEST_SOAK says (make soak), for at least
// 10,000 answers: mixed originals and variants, every URL a new one, an eighth of them errors. The
// resident memory of parent and children may grow by less than 5 % after the first fifth, the
// parent's live heap by less than 2 % from beginning to end.
func TestSoak(t *testing.T) {
	if os.Getenv("TEST_SOAK") == "" {
		t.Skip("it takes minutes: make soak")
	}
	lasts, err := time.ParseDuration(os.Getenv("TEST_SOAK"))
	if err != nil {
		t.Fatal(err)
	}
	whole := pictures(t)
	bad := broken(whole)
	x := start(
		t,
		"--listen", freePort(t), "--private-listen", freePort(t), "--log-level", "error", "--keys", key,
		"--source", "posts=dir://"+lay(t, append(whole, bad...)), "--cache-dir", t.TempDir(),
		"--cache-memory-size", "16MiB", "--cache-disk-size", "64MiB", "--cache-originals-size", "64MiB",
		"--origin-timeout", "1m", "--resize-timeout", "2m", // also on busy machines: this test measures memory
	)
	s := &soak{asker: newAsker(x), whole: whole, bad: bad}
	began := time.Now()
	filled := s.during(t, func(samples []memorySample) bool { return len(samples)%25 != 0 || !tiersAreFull(t, x) })
	t.Logf("every tier is full after %d answers in %v", s.asked.Load(), time.Since(began).Round(time.Second))
	if t.Failed() {
		return
	}
	heapBefore := liveHeap(t, x)
	began = time.Now()
	s.asked.Store(0)
	samples := s.during(t, func([]memorySample) bool {
		return time.Since(began) < lasts || s.asked.Load() < *soakImages
	})
	heapAfter := liveHeap(t, x)
	t.Logf("%d answers in %v: %d images, %d refusals; restarts of children by reason: %s",
		s.asked.Load(), time.Since(began).Round(time.Second), s.made.Load(), s.refused.Load(), restarts(t, x))
	t.Log("\n" + memoryTable(samples))
	t.Logf("parent while the tiers were filled: at most %d MiB; live heap before and after: %.1f and %.1f MiB",
		mostOf(filled)>>20, float64(heapBefore)/(1<<20), float64(heapAfter)/(1<<20))
	for process, growth := range growthOf(samples) {
		if growth >= 0.05 {
			t.Errorf("%s: memory has grown by %.1f %% after the first fifth, want at most 5 %%", process, 100*growth)
		}
	}
	if growth := float64(heapAfter)/float64(heapBefore) - 1; growth >= 0.02 {
		t.Errorf("live heap has grown by %.1f %%, want at most 2 %%", 100*growth)
	}
}

// soak requests images.
type soak struct {
	*asker
	whole, bad           []specimen
	asked, made, refused atomic.Int64
}

// during runs four clients while more returns true, and returns samples of the memory, five per
// second.
func (s *soak) during(t *testing.T, more func([]memorySample) bool) (samples []memorySample) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i := range 4 {
		random := rand.New(rand.NewPCG(uint64(i), 2))
		asking.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				s.one(t, random)
			}
		})
	}
	for more(samples) && pause(ctx, 200*time.Millisecond) && !t.Failed() {
		parent, resizers := rssOf(s.x)
		samples = append(samples, memorySample{s.asked.Load(), parent, resizers})
	}
	cancel()
	asking.Wait()
	return samples
}

// one requests one image.
func (s *soak) one(t *testing.T, random *rand.Rand) {
	of := s.whole[random.IntN(len(s.whole))]
	if random.IntN(8) == 0 {
		of = s.bad[random.IntN(len(s.bad))]
	}
	spec := []string{"320x240", "200x200-cover", "100x", "64x64-cover-smart",
		"300x300-pad", "160x-still"}[random.IntN(6)]
	format := []string{"jpg", "jpg", "webp", "webp", "png", "avif"}[random.IntN(6)]
	if strings.HasSuffix(spec, "-still") {
		format = "webp"
	}
	got := s.ask(t.Context(), s.fill(t, spec, of.name+"."+format))
	s.asked.Add(1)
	switch {
	case of.whole && got.status == http.StatusOK:
		s.made.Add(1)
	case !of.whole && got.status >= 400 && got.status < 500:
		s.refused.Add(1)
	default:
		t.Errorf("%s to %s.%s: %d", of.name, spec, format, got.status)
	}
}

// tiersAreFull reports whether every tier has dropped as many images as it holds. A tier whose budget is nearly used
// still grows: its shards and segments are not all allocated.
func tiersAreFull(t *testing.T, x *tier) bool {
	t.Helper()
	families := scrape(t, x)
	dropped, held := make(map[string]float64), make(map[string]float64)
	for _, m := range families["imagetier_cache_evictions_total"].GetMetric() {
		dropped[labelOf(m, "tier")] += m.GetCounter().GetValue()
	}
	for _, m := range families["imagetier_cache_entries"].GetMetric() {
		held[labelOf(m, "tier")] = m.GetGauge().GetValue()
	}
	if len(held) != 3 {
		t.Errorf("metrics of the tiers %v, want three", held)
	}
	for tier, n := range held {
		if n == 0 || dropped[tier] < n {
			return false
		}
	}
	return true
}

// liveHeap returns the reachable bytes of the parent's heap, after a garbage collection while it is
// idle.
func liveHeap(t *testing.T, x *tier) int64 {
	t.Helper()
	for range 2 { // the first runs finalizers whose objects the second frees
		fetch(t, x.private+"/debug/pprof/heap?gc=1")
	}
	live := scrape(t, x)["go_gc_heap_live_bytes"].GetMetric()
	if len(live) != 1 {
		t.Fatal("/metrics does not have the live heap")
	}
	return int64(live[0].GetGauge().GetValue())
}

// mostOf returns the highest resident memory of the parent.
func mostOf(samples []memorySample) (most int64) {
	for _, s := range samples {
		most = max(most, s.parent)
	}
	return most
}

// memorySample is the memory of parent and children at one time, in bytes.
type memorySample struct{ answers, parent, resizers int64 }

// mediansOf returns the medians of the samples between two shares of them.
func mediansOf(samples []memorySample, from, to float64) (m memorySample) {
	part := samples[int(from*float64(len(samples))):int(to*float64(len(samples)))]
	if len(part) == 0 {
		return m
	}
	middle := func(of func(memorySample) int64) int64 {
		var v []int64
		for _, s := range part {
			v = append(v, of(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return memorySample{
		part[len(part)-1].answers,
		middle(func(s memorySample) int64 { return s.parent }),
		middle(func(s memorySample) int64 { return s.resizers }),
	}
}

func memoryTable(samples []memorySample) string {
	var b strings.Builder
	b.WriteString("answers | parent MiB | children MiB\n---|---|---\n")
	for i := range 10 {
		m := mediansOf(samples, float64(i)/10, float64(i+1)/10)
		fmt.Fprintf(&b, "%d | %.1f | %.1f\n", m.answers, float64(m.parent)/(1<<20), float64(m.resizers)/(1<<20))
	}
	return b.String()
}

// growthOf compares the last fifth with the second.
func growthOf(samples []memorySample) map[string]float64 {
	first, last := mediansOf(samples, 0.2, 0.4), mediansOf(samples, 0.8, 1)
	growth := func(a, b int64) float64 { return float64(b)/float64(max(a, 1)) - 1 }
	return map[string]float64{
		"parent": growth(first.parent, last.parent), "children": growth(first.resizers, last.resizers),
		"all": growth(first.parent+first.resizers, last.parent+last.resizers),
	}
}

func TestSoak_GrowthIsDetected(t *testing.T) {
	var flat, growing []memorySample
	for i := range int64(100) {
		flat = append(flat, memorySample{i, 1000 + i%7, 5000 - i%5})
		growing = append(growing, memorySample{i, 1000, 5000 + 10*i})
	}
	if g := growthOf(flat); g["parent"] > 0.01 || g["children"] > 0.01 {
		t.Errorf("growth of constant memory: got %v, want 0", g)
	}
	if g := growthOf(growing); g["children"] < 0.05 || g["parent"] != 0 {
		t.Errorf("growth of the children's memory: got %v, want more than 5 %%", g)
	}
}
