package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/imagecache"
)

// TierStats are the statistics of a tier. The keys of its maps are few and fixed, and exist from the start.
type TierStats struct {
	Bytes     int64 // held, as its budget counts them
	Budget    int64 // in bytes; 0 is unknown
	Entries   int64
	Evictions map[string]int64 // by reason, since the start
	// Faults counts errors that callers of the tier do not see, by operation, since the start: a record that does
	// not verify is a miss for them. They are added to cache_errors_total, whose other operations are get, put and
	// purge; if one of those is here too, this number replaces the wrapper's own.
	Faults map[string]int64
	// State is "" while the tier works, else "off", "read-only", "full", "closed" or "left alone".
	State string
}

// TierSnapshot is one tier.
type TierSnapshot struct {
	Name                 string
	Hits, Misses, Errors int64 // Errors includes Faults
	TierStats
}

type tiers struct {
	*instruments
	hits, misses *prometheus.CounterVec

	mu  sync.Mutex
	all []*tier
}

func newTiers(in *instruments) *tiers {
	t := &tiers{
		instruments: in,
		hits:        in.counters("cache_hits_total", "Lookups that a tier answered.", "tier"),
		misses:      in.counters("cache_misses_total", "Lookups that a tier did not answer, faults included.", "tier"),
	}
	bytes := sampledGauge("cache_bytes", "Bytes that a tier holds, as its budget counts them.", "tier")
	entries := sampledGauge("cache_entries", "Images that a tier holds.", "tier")
	evictions := sampledCounter("cache_evictions_total", "Images that a tier dropped, by reason.", "tier", "reason")
	faults := sampledCounter("cache_errors_total", "Faults of a tier by operation.", "tier", "op")
	degraded := sampledGauge("cache_degraded", "1 while a tier cannot do all of its work: "+
		"its disk is full or read-only, or it is off. /v1/stats says which.", "tier")
	in.reg.MustRegister(collect(func(out chan<- prometheus.Metric) {
		for _, one := range t.list() {
			stats, errs := one.state()
			sendEach(faults, out, errs, one.name)
			if one.stats == nil {
				continue
			}
			bytes.send(out, float64(stats.Bytes), one.name)
			entries.send(out, float64(stats.Entries), one.name)
			degraded.send(out, gaugeOf(stats.State != ""), one.name)
			sendEach(evictions, out, stats.Evictions, one.name)
		}
	}))
	return t
}

func (ts *tiers) list() []*tier {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return slices.Clone(ts.all)
}

func (ts *tiers) snapshot() (all []TierSnapshot) {
	for _, t := range ts.list() {
		stats, faults := t.state()
		one := TierSnapshot{Name: t.name, Hits: count(t.hits), Misses: count(t.misses), TierStats: stats}
		for _, n := range faults {
			one.Errors += n
		}
		all = append(all, one)
	}
	return all
}

// Tier wraps t to count and time it under a name: memory, disk, derived, originals. stats is called for each scrape
// and each Snapshot; if it is nil, there are no cache_bytes and the like. Tier panics if the name is taken.
func (ts *tiers) Tier(name string, t imagecache.Tier, stats func() TierStats) imagecache.Tier {
	w := &tier{
		Tier: t, tiers: ts, name: name, stats: stats,
		attrs:  []attribute.KeyValue{attribute.String("imagetier.tier", name)},
		hits:   ts.hits.WithLabelValues(name),
		misses: ts.misses.WithLabelValues(name),
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if slices.ContainsFunc(ts.all, func(t *tier) bool { return t.name == name }) {
		panic(fmt.Sprintf("metrics: tier %q was added twice", name))
	}
	ts.all = append(ts.all, w)
	return w
}

type tier struct {
	imagecache.Tier
	tiers *tiers
	name  string
	stats func() TierStats
	attrs []attribute.KeyValue // made once: a hit allocates nothing

	hits, misses             prometheus.Counter
	getErr, putErr, purgeErr atomic.Int64
}

// state returns the tier's stats, and all of its faults by operation.
func (t *tier) state() (stats TierStats, faults map[string]int64) {
	if t.stats != nil {
		stats = t.stats()
	}
	faults = map[string]int64{"get": t.getErr.Load(), "put": t.putErr.Load(), "purge": t.purgeErr.Load()}
	for op, n := range stats.Faults {
		faults[op] = n
	}
	return stats, faults
}

// Get counts a fault as a miss too, as the caller does.
func (t *tier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	ctx, sp := t.tiers.span(ctx, "tier get", t.attrs...)
	start := t.tiers.now()
	img, err := t.Tier.Get(ctx, key)
	t.tiers.since(start, stageLookup)
	switch {
	case err == nil:
		t.hits.Inc()
		sp.end("hit", false)
		return img, nil
	case err == imagecache.ErrMiss:
		t.misses.Inc()
		sp.end("miss", false)
		return img, err // not wrapped: callers compare it with ==
	}
	t.misses.Inc()
	countFault(ctx, &t.getErr, err)
	sp.end(unknown, true)
	return img, err
}

func (t *tier) Put(ctx context.Context, key imagecache.Key, img imagecache.Image) error {
	ctx, sp := t.tiers.span(ctx, "tier put", t.attrs...)
	start := t.tiers.now()
	err := t.Tier.Put(ctx, key, img)
	t.tiers.since(start, stageStore)
	countFault(ctx, &t.putErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return err
}

func (t *tier) Purge(ctx context.Context, target imagecache.Target) (imagecache.Removed, error) {
	ctx, sp := t.tiers.span(ctx, "tier purge", t.attrs...)
	removed, err := t.Tier.Purge(ctx, target)
	countFault(ctx, &t.purgeErr, err)
	sp.end(labelOf(nil, err), err != nil)
	return removed, err
}

// countFault counts err, unless it only says that the caller gave up.
func countFault(ctx context.Context, faults *atomic.Int64, err error) {
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	faults.Add(1)
}
