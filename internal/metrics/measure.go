// Package metrics counts and times what the tier does. It wraps each seam (Cache, Tier,
// Source, Resizer) with a thing of the same kind that adds to the metrics of CONTRACT 6
// and, where a request is traced, a span; what cannot be wrapped is told to a Set
// (Observe, Waited) or read by it when somebody asks (Tier, Breaker, Workers).
//
// It is the only place that knows Prometheus' instruments and OpenTelemetry's spans, and
// holds the only table error → label (label.go). The registry and the exporter are made
// and closed in package telemetry.
//
// Label values are those of the configuration and of fixed lists: nothing that a client
// or an origin sends becomes one. They exist from the start, so that a rate over a
// restart is right and a dashboard shows 0 and not a gap.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"

	"github.com/novasocial/imagetier/imagecache"
)

const namespace = "imagetier"

// Config of a Set.
type Config struct {
	// Registerer takes the metrics; needed. A Set claims its names, so there is one Set
	// to a registry.
	Registerer prometheus.Registerer
	// Version and Revision of the program, for build_info; "" is "unknown".
	Version, Revision string
	// Tracer makes spans; nil: none are made, and none are paid for.
	Tracer trace.Tracer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Set is the metrics of one tier. It is safe for concurrent use.
type Set struct {
	auto   promauto.Factory
	reg    prometheus.Registerer
	tracer trace.Tracer
	now    func() time.Time

	requests  requests
	durations [imagecache.NumDetails]prometheus.Observer
	answered  [imagecache.NumDetails]prometheus.Counter // bytes
	stages    [numStages]prometheus.Observer
	coalesced prometheus.Counter
	purges    *prometheus.CounterVec
	resizes   *prometheus.CounterVec
	origins   originMetrics
	tiers     tierMetrics
	prefetch  prefetchMetrics
	seen      seen // what Snapshot reads
}

// New registers the metrics that need no part of the tier to be known, and returns the
// Set. It panics if cfg has no Registerer, or one that has these names already.
func New(cfg Config) *Set {
	if cfg.Registerer == nil {
		panic("measure.New: Config.Registerer is needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Set{
		auto:   promauto.With(cfg.Registerer),
		reg:    cfg.Registerer,
		tracer: cfg.Tracer,
		now:    cfg.Now,
	}
	s.newRequests()
	s.newStages()
	s.newOrigins()
	s.newTiers()
	s.newResizes()
	s.newPrefetch()
	s.coalesced = s.auto.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "coalesced_total",
		Help: "Requests that joined another caller's fill instead of starting one.",
	})
	s.purges = s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "purges_total",
		Help: "Purges by kind of target, failed ones included.",
	}, []string{"kind"})
	for _, kind := range []string{purgeVariant, purgeOriginal, purgeTag, purgeSoft} {
		s.purges.WithLabelValues(kind)
	}
	s.auto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info",
		Help: "Always 1; the labels say which build this is.",
	}, []string{"version", "revision", "goversion"}).
		WithLabelValues(orUnknown(cfg.Version), orUnknown(cfg.Revision), runtime.Version()).Set(1)
	return s
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// histogram is the options that all durations share. Classic buckets suit hits of some
// 50 µs as well as an AVIF of seconds; a Prometheus that scrapes native histograms gets
// those, of at most 10 % error, instead.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// buckets are upper bounds in seconds.
var buckets = []float64{
	.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}
