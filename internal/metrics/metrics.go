// Package metrics counts and times what the tier does. [Set] wraps each interface of the read path (Cache, Tier,
// Source, Resizer) with one of the same kind that updates Prometheus metrics and, where a request is traced, makes
// an OpenTelemetry span. Other packages report the rest (Observe, Waited), or it is read at each scrape (Workers,
// Breaker, Prefetch).
//
// The registry and the exporter of traces are made and closed in package telemetry.
//
// Label values come from the configuration and from fixed lists, never from a client or an origin. Series exist from
// the start, so that a rate across a restart is right and a dashboard shows 0 instead of a gap.
//
// Start reading at [New]; each file beside this one holds the metrics of one part of the tier.
package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel/trace"
)

// Config of a Set.
type Config struct {
	// Registerer takes the metrics; required. One Set per registry.
	Registerer prometheus.Registerer
	// Version and Revision of the program, for build_info; "" is shown as "unknown".
	Version, Revision string
	// Tracer makes spans. If it is nil, there are none and they cost nothing.
	Tracer trace.Tracer
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Set is the metrics of one tier. It is safe for concurrent use.
type Set struct {
	*instruments
	*requests
	*caches
	*tiers
	*origins
	*resizes
	*prefetch
	*reloads
}

// New registers the metrics and returns the Set. It panics if cfg has no Registerer, or one that has these names
// already.
func New(cfg Config) *Set {
	if cfg.Registerer == nil {
		panic("metrics.New: Config.Registerer is required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	in := &instruments{auto: promauto.With(cfg.Registerer), reg: cfg.Registerer, tracer: cfg.Tracer, now: cfg.Now}
	in.addStages()
	in.auto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels say which build this is.",
	}, []string{"version", "revision", "goversion"}).
		WithLabelValues(orUnknown(cfg.Version), orUnknown(cfg.Revision), runtime.Version()).Set(1)
	return &Set{
		in, newRequests(in), newCaches(in), newTiers(in), newOrigins(in),
		newResizes(in), newPrefetch(in), newReloads(in),
	}
}

func orUnknown(text string) string {
	if text == "" {
		return "unknown"
	}
	return text
}

// Snapshot is the numbers of a Set for the console and GET /v1/stats. Counts are since the start of the process.
type Snapshot struct {
	ByStatus  map[string]int64        // requests by status code
	ByCache   map[string]RequestStats // requests by where the answer came from; has every imagecache.Detail
	Coalesced int64                   // requests that joined another request's fill
	Tiers     []TierSnapshot          // in the order in which they were added
	Origins   []OriginSnapshot        // in the order in which they were added
	Workers   *WorkerStats            // nil if there are no workers
	Resizes   map[string]int64        // requested variants by outcome
	Prefetch  PrefetchCounts
}

// Snapshot reads the Set. The numbers may be of slightly different moments: a request that ends meanwhile can be in
// one of them and not in another.
func (s *Set) Snapshot() Snapshot {
	return Snapshot{
		ByStatus:  sumBy(s.requests.total, "status"),
		ByCache:   s.byCache(),
		Coalesced: count(s.coalesced),
		Tiers:     s.tiers.snapshot(),
		Origins:   s.origins.snapshot(),
		Workers:   s.workers(),
		Resizes:   sumBy(s.resizes.jobs, "outcome"),
		Prefetch:  s.prefetch.snapshot(),
	}
}
