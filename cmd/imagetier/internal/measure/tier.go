package measure

import (
	"context"
	"errors"

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
	// State is "" while all is well, else a word for people: "off", "read-only".
	State string
}

// tierMetrics are the vectors that the tiers share.
type tierMetrics struct {
	hits, misses, errors      *prometheus.CounterVec
	bytes, entries, evictions *prometheus.Desc
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
		errors: counter("cache_errors_total", "Faults of a tier by operation.", "tier", "op"),

		bytes:     desc("cache_bytes", "Bytes that a tier holds, as its budget counts them.", "tier"),
		entries:   desc("cache_entries", "Images that a tier holds.", "tier"),
		evictions: desc("cache_evictions_total", "Images that a tier dropped, by reason.", "tier", "reason"),
	}
	s.reg.MustRegister(tierCollector{s})
}

// Tier returns t, counting and timing what is asked of it under that name: memory, disk,
// derived, originals. stats is called for each scrape and each Snapshot; nil: the tier
// says nothing of itself. It panics if the name is taken.
func (s *Set) Tier(name string, t imagecache.Tier, stats func() TierStats) imagecache.Tier {
	w := &tier{
		Tier: t, set: s, name: name, stats: stats,
		attrs:    []attribute.KeyValue{attribute.String("imagetier.tier", name)},
		hits:     s.tiers.hits.WithLabelValues(name),
		misses:   s.tiers.misses.WithLabelValues(name),
		getErr:   s.tiers.errors.WithLabelValues(name, "get"),
		putErr:   s.tiers.errors.WithLabelValues(name, "put"),
		purgeErr: s.tiers.errors.WithLabelValues(name, "purge"),
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

	hits, misses, getErr, putErr, purgeErr prometheus.Counter
}

// Get counts a fault as a miss too: that is what it is for the caller.
func (t *tier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	ctx, sp := t.set.span(ctx, "tier get", t.attrs...)
	start := t.set.now()
	img, err := t.Tier.Get(ctx, key)
	t.set.stages[Lookup].Observe(t.set.now().Sub(start).Seconds())
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
	t.fault(ctx, t.getErr, err)
	sp.end(unknown, true)
	return img, err
}

func (t *tier) Put(ctx context.Context, key imagecache.Key, img imagecache.Image) error {
	ctx, sp := t.set.span(ctx, "tier put", t.attrs...)
	start := t.set.now()
	err := t.Tier.Put(ctx, key, img)
	t.set.stages[Store].Observe(t.set.now().Sub(start).Seconds())
	t.fault(ctx, t.putErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return err
}

func (t *tier) Purge(ctx context.Context, what imagecache.Target) (imagecache.Removed, error) {
	ctx, sp := t.set.span(ctx, "tier purge", t.attrs...)
	removed, err := t.Tier.Purge(ctx, what)
	t.fault(ctx, t.purgeErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return removed, err
}

// fault counts err, unless all that failed is a caller who left.
func (t *tier) fault(ctx context.Context, count prometheus.Counter, err error) {
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	count.Inc()
}

// tierCollector asks each tier once a scrape, so that its numbers are of one moment.
type tierCollector struct{ set *Set }

func (c tierCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.set.tiers.bytes
	out <- c.set.tiers.entries
	out <- c.set.tiers.evictions
}

func (c tierCollector) Collect(out chan<- prometheus.Metric) {
	vecs := &c.set.tiers
	for _, t := range c.set.seen.allTiers() {
		if t.stats == nil {
			continue
		}
		stats := t.stats()
		out <- prometheus.MustNewConstMetric(vecs.bytes, prometheus.GaugeValue, float64(stats.Bytes), t.name)
		out <- prometheus.MustNewConstMetric(vecs.entries, prometheus.GaugeValue, float64(stats.Entries), t.name)
		for reason, n := range stats.Evictions {
			out <- prometheus.MustNewConstMetric(vecs.evictions, prometheus.CounterValue, float64(n), t.name, reason)
		}
	}
}
