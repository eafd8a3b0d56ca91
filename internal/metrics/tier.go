package metrics

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/imagecache"
)

// TierStats is what a tier says of itself.
type TierStats struct {
	Bytes   int64 // held, as its budget counts them
	Budget  int64 // 0: none is known
	Entries int64
	// Evictions by reason, since the start. Reasons are few and fixed, and all of them
	// are there from the start.
	Evictions map[string]int64
	// Faults by operation, since the start, that the tier keeps to itself: a record that
	// does not verify is a miss to its callers. They are counted in cache_errors_total
	// with those that callers see, whose operations are get, put and purge; of an operation
	// that stands here too, this number is the one that counts. Operations are few, fixed,
	// and there from the start.
	Faults map[string]int64
	// State is "" while all is well, else a word for people: "off", "read-only".
	State string
}

// tierMetrics are the vectors that the tiers share.
type tierMetrics struct {
	hits, misses                                *prometheus.CounterVec
	bytes, entries, evictions, errors, degraded *prometheus.Desc
}

func (s *Set) newTiers() {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return s.auto.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	s.tiers = tierMetrics{
		hits:   counter("cache_hits_total", "Lookups that a tier answered.", "tier"),
		misses: counter("cache_misses_total", "Lookups that a tier did not answer, faults included.", "tier"),

		bytes:     desc("cache_bytes", "Bytes that a tier holds, as its budget counts them.", "tier"),
		entries:   desc("cache_entries", "Images that a tier holds.", "tier"),
		evictions: desc("cache_evictions_total", "Images that a tier dropped, by reason.", "tier", "reason"),
		errors:    desc("cache_errors_total", "Faults of a tier by operation.", "tier", "op"),
		degraded:  desc("cache_degraded", "1 while a tier cannot do all of its work: its disk is full or read-only, or it is off. /v1/stats says which.", "tier"),
	}
	s.reg.MustRegister(tierCollector{s})
}

// Tier returns t, counting and timing what is asked of it under that name: memory, disk,
// derived, originals. stats is called for each scrape and each Snapshot; nil: the tier
// says nothing of itself. It panics if the name is taken.
func (s *Set) Tier(name string, t imagecache.Tier, stats func() TierStats) imagecache.Tier {
	w := &tier{
		Tier: t, set: s, name: name, stats: stats,
		attrs:  []attribute.KeyValue{attribute.String("imagetier.tier", name)},
		hits:   s.tiers.hits.WithLabelValues(name),
		misses: s.tiers.misses.WithLabelValues(name),
	}
	s.seen.addTier(w)
	return w
}

type tier struct {
	imagecache.Tier
	set   *Set
	name  string
	stats func() TierStats
	attrs []attribute.KeyValue // made once: a hit allocates nothing

	hits, misses             prometheus.Counter
	getErr, putErr, purgeErr atomic.Int64
}

// read returns what the tier says of itself, and all of its faults by operation.
func (t *tier) read() (stats TierStats, faults map[string]int64) {
	if t.stats != nil {
		stats = t.stats()
	}
	faults = map[string]int64{"get": t.getErr.Load(), "put": t.putErr.Load(), "purge": t.purgeErr.Load()}
	for op, n := range stats.Faults {
		faults[op] = n // the tier knows better
	}
	return stats, faults
}

// Get counts a fault as a miss too: that is what it is for the caller.
func (t *tier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	ctx, sp := t.set.span(ctx, "tier get", t.attrs...)
	start := t.set.now()
	img, err := t.Tier.Get(ctx, key)
	t.set.stages[stageLookup].Observe(t.set.now().Sub(start).Seconds())
	switch {
	case err == nil:
		t.hits.Inc()
		sp.end("hit", false)
		return img, nil
	case err == imagecache.ErrMiss:
		t.misses.Inc()
		sp.end("miss", false)
		return img, err // as it is: it is compared with ==
	}
	t.misses.Inc()
	t.fault(ctx, &t.getErr, err)
	sp.end(unknown, true)
	return img, err
}

func (t *tier) Put(ctx context.Context, key imagecache.Key, img imagecache.Image) error {
	ctx, sp := t.set.span(ctx, "tier put", t.attrs...)
	start := t.set.now()
	err := t.Tier.Put(ctx, key, img)
	t.set.stages[stageStore].Observe(t.set.now().Sub(start).Seconds())
	t.fault(ctx, &t.putErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return err
}

func (t *tier) Purge(ctx context.Context, what imagecache.Target) (imagecache.Removed, error) {
	ctx, sp := t.set.span(ctx, "tier purge", t.attrs...)
	removed, err := t.Tier.Purge(ctx, what)
	t.fault(ctx, &t.purgeErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return removed, err
}

// fault counts err, unless all that failed is a caller who left.
func (t *tier) fault(ctx context.Context, count *atomic.Int64, err error) {
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	count.Add(1)
}

// tierCollector asks each tier once a scrape, so that its numbers are of one moment.
type tierCollector struct{ set *Set }

func (c tierCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.set.tiers.bytes
	out <- c.set.tiers.entries
	out <- c.set.tiers.evictions
	out <- c.set.tiers.errors
	out <- c.set.tiers.degraded
}

func (c tierCollector) Collect(out chan<- prometheus.Metric) {
	vecs := &c.set.tiers
	for _, t := range c.set.seen.allTiers() {
		stats, faults := t.read()
		for op, n := range faults {
			out <- prometheus.MustNewConstMetric(vecs.errors, prometheus.CounterValue, float64(n), t.name, op)
		}
		if t.stats == nil {
			continue
		}
		out <- prometheus.MustNewConstMetric(vecs.bytes, prometheus.GaugeValue, float64(stats.Bytes), t.name)
		out <- prometheus.MustNewConstMetric(vecs.entries, prometheus.GaugeValue, float64(stats.Entries), t.name)
		degraded := 0.0
		if stats.State != "" {
			degraded = 1
		}
		out <- prometheus.MustNewConstMetric(vecs.degraded, prometheus.GaugeValue, degraded, t.name)
		for reason, n := range stats.Evictions {
			out <- prometheus.MustNewConstMetric(vecs.evictions, prometheus.CounterValue, float64(n), t.name, reason)
		}
	}
}
