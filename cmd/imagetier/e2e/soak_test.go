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

// soakImages is how many answers a soak has at the least.
var soakImages = flag.Int64("soak-images", 10_000, "answers that TestSoak asks for at the least")

// A soak lasts as long as TEST_SOAK says (make soak), and at least 10,000 answers: mixed
// originals to mixed variants, every URL a new one, an eighth of them errors. The memory of
// parent and children may grow by less than 5 % after the first fifth.
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
		"--listen",
		freePort(t),
		"--private-listen",
		freePort(t),
		"--log-level",
		"error",
		"--keys",
		key,
		"--source",
		"posts=dir://"+lay(t, append(whole, bad...)),
		"--cache-dir",
		t.TempDir(),
		"--cache-memory-size",
		"16MiB",
		"--cache-disk-size",
		"128MiB",
		"--cache-originals-size",
		"128MiB",
	)
	a := newAsker(x)
	var asked, made, refused atomic.Int64
	one := func(random *rand.Rand) {
		s := whole[random.IntN(len(whole))]
		if random.IntN(8) == 0 {
			s = bad[random.IntN(len(bad))]
		}
		spec := []string{"320x240", "200x200-cover", "100x", "64x64-cover-smart",
			"300x300-pad", "160x-still"}[random.IntN(6)]
		format := []string{"jpg", "jpg", "webp", "webp", "png", "avif"}[random.IntN(6)]
		if strings.HasSuffix(spec, "-still") {
			format = "webp"
		}
		got := a.ask(t.Context(), a.fill(t, spec, s.name+"."+format))
		asked.Add(1)
		switch {
		case s.whole && got.status == http.StatusOK:
			made.Add(1)
		case !s.whole && got.status >= 400 && got.status < 500:
			refused.Add(1)
		default:
			t.Errorf("%s to %s.%s: %d", s.name, spec, format, got.status)
		}
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for i := range 4 {
		random := rand.New(rand.NewPCG(uint64(i), 2))
		asking.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				one(random)
			}
		})
	}
	var samples []memorySample
	for time.Since(began) < lasts || asked.Load() < *soakImages {
		if !pause(ctx, 200*time.Millisecond) || t.Failed() {
			break
		}
		parent, resizers := rssOf(x)
		samples = append(samples, memorySample{asked.Load(), parent, resizers})
	}
	cancel()
	asking.Wait()
	t.Logf(
		"%d answers in %v: %d images, %d refusals; restarts of children by reason: %s",
		asked.Load(),
		time.Since(began).Round(time.Second),
		made.Load(),
		refused.Load(),
		restarts(t, x),
	)
	t.Log("\n" + memoryTable(samples))
	for what, growth := range growthOf(samples) {
		if growth >= 0.05 {
			t.Errorf("%s: memory has grown by %.1f %% after the first fifth, allowed are 5 %%", what, 100*growth)
		}
	}
}

// memorySample is what parent and children have at a moment, in bytes.
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

// restarts tells the metric of how often children were replaced.
func restarts(t *testing.T, x *tier) string {
	var all []string
	for line := range strings.Lines(string(fetch(t, x.private+"/metrics").body)) {
		if rest, ok := strings.CutPrefix(line, "imagetier_resize_worker_restarts_total"); ok {
			all = append(all, strings.TrimSpace(rest))
		}
	}
	return strings.Join(all, ", ")
}

func TestSoak_GrowthIsDetected(t *testing.T) {
	var flat, growing []memorySample
	for i := range int64(100) {
		flat = append(flat, memorySample{i, 1000 + i%7, 5000 - i%5})
		growing = append(growing, memorySample{i, 1000, 5000 + 10*i})
	}
	if g := growthOf(flat); g["parent"] > 0.01 || g["children"] > 0.01 {
		t.Errorf("what is flat grows: %v", g)
	}
	if g := growthOf(growing); g["children"] < 0.05 || g["parent"] != 0 {
		t.Errorf("what grows does not: %v", g)
	}
}
