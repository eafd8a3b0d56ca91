package metrics

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/resize"
)

// newSet returns a Set and a function that scrapes it.
func newSet(t testing.TB, cfg Config) (*Set, func() string) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	cfg.Registerer = reg
	return New(cfg), func() string {
		t.Helper()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		for _, family := range families {
			if _, err := expfmt.MetricFamilyToText(&text, family); err != nil {
				t.Fatal(err)
			}
		}
		return text.String()
	}
}

// wantLines fails the test unless the scrape has each of the lines.
func wantLines(t *testing.T, scrape string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+scrape, "\n"+line+"\n") {
			name, _, _ := strings.Cut(line, "{")
			var near []string
			for have := range strings.Lines(scrape) {
				if strings.HasPrefix(have, name) {
					near = append(near, strings.TrimSpace(have))
				}
			}
			t.Errorf("the scrape has no line\n  %s\nonly\n  %s", line, strings.Join(near, "\n  "))
		}
	}
}

func TestSet_Observe_CountsByStatusCacheAndFormat(t *testing.T) {
	set, scrape := newSet(t, Config{})
	for range 3 {
		set.Observe(Observation{
			Status:   200,
			Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
			Format:   "webp",
			Duration: 80 * time.Microsecond,
			Bytes:    1000,
		})
	}
	set.Observe(Observation{
		Status:   403,
		Outcome:  imagecache.Outcome{Detail: imagecache.None},
		Format:   "none",
		Duration: time.Second,
	})
	wantLines(t, scrape(),
		`imagetier_requests_total{cache="memory",format="webp",status="200"} 3`,
		`imagetier_requests_total{cache="none",format="none",status="403"} 1`,
		`imagetier_request_duration_seconds_bucket{cache="memory",le="5e-05"} 0`,
		`imagetier_request_duration_seconds_bucket{cache="memory",le="0.0001"} 3`,
		`imagetier_request_duration_seconds_count{cache="none"} 1`,
		`imagetier_response_bytes_total{cache="memory"} 3000`,
	)
}

func TestSet_Observe_BoundsLabels(t *testing.T) {
	set, scrape := newSet(t, Config{})
	set.Observe(Observation{
		Status: 299, Outcome: imagecache.Outcome{Detail: imagecache.NumDetails + 7}, Format: `x"} 1`,
	})
	wantLines(t, scrape(), `imagetier_requests_total{cache="none",format="other",status="other"} 1`)
	for status := range 1000 {
		set.Observe(Observation{Status: status, Format: fmt.Sprint(status)})
	}
	if n := strings.Count(scrape(), "\nimagetier_requests_total{"); n > 100 {
		t.Errorf("a thousand odd requests made %d series", n)
	}
}

func TestNew_SeriesExistFromTheStart(t *testing.T) {
	set, scrape := newSet(t, Config{Version: "1.2.3"})
	set.Source("posts", nil)
	set.Tier("disk", nil, nil)
	text := scrape()
	wantLines(t, text,
		`imagetier_requests_total{cache="none",format="none",status="503"} 0`,
		`imagetier_requests_total{cache="stale",format="webp",status="200"} 0`,
		`imagetier_origin_requests_total{outcome="timeout",source="posts"} 0`,
		`imagetier_origin_duration_seconds_count{source="posts"} 0`,
		`imagetier_cache_hits_total{tier="disk"} 0`,
		`imagetier_cache_errors_total{op="put",tier="disk"} 0`,
		`imagetier_resize_jobs_total{format="avif",outcome="ok"} 0`,
		`imagetier_resize_jobs_total{format="jpg",outcome="corrupt"} 0`,
		`imagetier_stage_duration_seconds_count{stage="queue"} 0`,
		`imagetier_purges_total{kind="original"} 0`,
		`imagetier_coalesced_total 0`,
	)
	if !strings.Contains(text, `version="1.2.3"`) || !strings.Contains(text, `revision="unknown"`) {
		t.Error("build_info does not say which build this is")
	}
}

func TestSet_PassesPromlint(t *testing.T) {
	set, scrape := newSet(t, Config{})
	set.Source("posts", nil)
	set.Breaker("posts", func() circuit.State { return circuit.Closed })
	set.Tier("memory", nil, func() TierStats { return TierStats{Evictions: map[string]int64{"space": 1}} })
	set.Workers(func() WorkerStats {
		return WorkerStats{
			Queued:   map[string]int{"live": 1},
			Workers:  map[string]int{"idle": 2},
			Restarts: map[string]int64{"recycled": 3},
		}
	})
	problems, err := promlint.New(strings.NewReader(scrape())).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestNew_PanicsWithoutRegisterer(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("New made a Set that counts nothing")
		}
	}()
	New(Config{})
}

// fakePurger answers every call with its error.
type fakePurger struct{ err error }

func (c fakePurger) Count(context.Context, imagecache.Target) (imagecache.Receipt, error) {
	return imagecache.Receipt{}, nil
}

func (c fakePurger) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return c.Purge(ctx, target)
}

func (c fakePurger) Purge(context.Context, imagecache.Target) (imagecache.Receipt, error) {
	return imagecache.Receipt{Variants: 2}, c.err
}

func testRef(t testing.TB) imageurl.Ref {
	t.Helper()
	ref, err := imageurl.NewRef(
		"posts",
		"cat.jpg",
		imageurl.Version{},
		resize.Spec{Width: 64, Height: 64, Format: resize.WebP},
	)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func TestSet_ObserveGet_CountsCoalesced(t *testing.T) {
	set, scrape := newSet(t, Config{})
	for _, out := range []imagecache.Outcome{{Collapsed: true}, {}, {Collapsed: true}} {
		_, done := set.ObserveGet(t.Context(), testRef(t))
		done(imagecache.Image{}, out, nil)
	}
	wantLines(t, scrape(), `imagetier_coalesced_total 2`)
}

func TestSet_Purger_CountsPurgesByKind(t *testing.T) {
	set, scrape := newSet(t, Config{})
	c := set.Purger(fakePurger{})
	key := imagecache.KeyOf(testRef(t))
	if receipt, err := c.Purge(t.Context(), imagecache.Target{Key: key}); err != nil || receipt.Variants != 2 {
		t.Fatal(receipt, err)
	}
	for range 2 {
		_, _ = c.Purge(t.Context(), imagecache.Target{Original: key.Original()})
	}
	wantLines(t, scrape(), `imagetier_purges_total{kind="variant"} 1`, `imagetier_purges_total{kind="original"} 2`)
}

func TestSet_HitAllocatesNothing(t *testing.T) {
	set, _ := newSet(t, Config{})
	o := Observation{
		Status:   200,
		Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
		Format:   "webp",
		Duration: 80 * time.Microsecond,
		Bytes:    25_000,
	}
	set.Observe(o)
	if n := testing.AllocsPerRun(100, func() { set.Observe(o) }); n > 0 {
		t.Errorf("Observe allocates %.0f times", n)
	}
	tier := set.Tier("memory", fakeTier{}, nil)
	key := imagecache.KeyOf(testRef(t))
	ctx := t.Context()
	ref := testRef(t)
	get := func() {
		_, done := set.ObserveGet(ctx, ref)
		done(imagecache.Image{}, imagecache.Outcome{}, nil)
	}
	if n := testing.AllocsPerRun(100, get); n > 0 {
		t.Errorf("ObserveGet allocates %.0f times", n)
	}
	if n := testing.AllocsPerRun(100, func() { _, _ = tier.Get(ctx, key) }); n > 0 {
		t.Errorf("Get of a tier allocates %.0f times", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	set, _ := newSet(b, Config{})
	o := Observation{
		Status:   200,
		Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
		Format:   "webp",
		Duration: 80 * time.Microsecond,
		Bytes:    25_000,
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			set.Observe(o)
		}
	})
}

func BenchmarkTierGet(b *testing.B) {
	set, _ := newSet(b, Config{})
	tier := set.Tier("memory", fakeTier{}, nil)
	key := imagecache.KeyOf(testRef(b))
	b.ReportAllocs()
	for b.Loop() {
		_, _ = tier.Get(b.Context(), key)
	}
}
