package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Types and outcomes of events, and outcomes of jobs, that there are from the start. Any
// other is counted as "other".
var (
	eventTypes = []string{
		"post.published", "post.updated", "post.deleted", "feed.page", "user.updated", "s3.created", "s3.removed", "warm", "unknown",
	}
	eventOutcomes = []string{
		"accepted", "repeated", "ignored", "forged", "invalid", "too_large", "full", "unavailable",
	}
	jobOutcomes = []string{ok, "skipped", "again", "dead", "invalid"}
)

// prefetchMetrics are those of making images before they are asked for.
type prefetchMetrics struct {
	events *prometheus.CounterVec
	jobs   *prometheus.CounterVec
	dead   prometheus.Counter
	lead   prometheus.Histogram
}

func (s *Set) newPrefetch() {
	p := &s.prefetch
	p.events = s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "prefetch_events_total",
		Help: "Events of feed services, notifications of buckets and requests to warm, by what became of them.",
	}, []string{"type", "outcome"})
	for _, kind := range eventTypes {
		p.events.WithLabelValues(kind, "accepted")
	}
	for _, what := range eventOutcomes {
		p.events.WithLabelValues("unknown", what)
	}
	p.jobs = s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "prefetch_jobs_total",
		Help: "Attempts at jobs of the queue, by what became of them.",
	}, []string{"outcome"})
	for _, what := range jobOutcomes {
		p.jobs.WithLabelValues(what)
	}
	p.dead = s.auto.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Name: "prefetch_dead_total",
		Help: "Jobs that failed too often, or for good, and became dead letters.",
	})
	lead := histogram("prefetch_lead_seconds", "Time from when an image was made early to when it was first asked for.")
	lead.Buckets = []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}
	p.lead = s.auto.NewHistogram(lead)
}

// Event counts an event by its type (post.published, …, s3.created, s3.removed, warm; unknown
// where it was not read so far) and by what became of it: accepted, repeated, ignored, forged,
// invalid, too_large, full, unavailable.
func (s *Set) Event(kind, outcome string) {
	s.prefetch.events.WithLabelValues(oneOf(eventTypes, kind), oneOf(eventOutcomes, outcome)).Inc()
}

// Job counts an attempt at a job by what became of it: ok, skipped (there was nothing to
// do), again (it is tried again), dead, invalid.
func (s *Set) Job(outcome string) {
	s.prefetch.jobs.WithLabelValues(oneOf(jobOutcomes, outcome)).Inc()
	if outcome == "dead" || outcome == "invalid" {
		s.prefetch.dead.Inc()
	}
}

// Lead notes that an image was first asked for so long after it was made early.
func (s *Set) Lead(d time.Duration) { s.prefetch.lead.Observe(d.Seconds()) }

func oneOf(known []string, word string) string {
	if slices.Contains(known, word) {
		return word
	}
	return other
}

// PrefetchStats is what the queue and the tracker of early images say of themselves.
type PrefetchStats struct {
	Lag          time.Duration // how long the oldest job of the queue has waited; 0: none waits
	Waiting      int           // jobs in the queue, those being worked on included
	DeadLetters  int           // that are kept
	Available    bool          // the queue can be used
	Used, Wasted int64         // images made early that were asked for, and that never were
}

// Prefetch exports what they say. stats is called for each scrape.
func (s *Set) Prefetch(stats func() PrefetchStats) {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "prefetch", name), help, nil, nil)
	}
	s.reg.MustRegister(&prefetchCollector{
		stats:   stats,
		used:    desc("used_total", "Images made early that were asked for afterwards."),
		wasted:  desc("wasted_total", "Images made early that nobody asked for while they were watched."),
		lag:     desc("lag_seconds", "How long the oldest job of the queue has waited."),
		waiting: desc("queue_jobs", "Jobs in the queue, those being worked on included."),
		letters: desc("dead_letters", "Dead letters that are kept."),
		up:      desc("queue_up", "1 if the queue can be used."),
	})
}

type prefetchCollector struct {
	stats                                   func() PrefetchStats
	used, wasted, lag, waiting, letters, up *prometheus.Desc
}

func (c *prefetchCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.used, c.wasted, c.lag, c.waiting, c.letters, c.up} {
		out <- desc
	}
}

func (c *prefetchCollector) Collect(out chan<- prometheus.Metric) {
	stats := c.stats()
	up := 0.0
	if stats.Available {
		up = 1
	}
	for _, one := range []struct {
		desc  *prometheus.Desc
		kind  prometheus.ValueType
		value float64
	}{
		{c.used, prometheus.CounterValue, float64(stats.Used)},
		{c.wasted, prometheus.CounterValue, float64(stats.Wasted)},
		{c.lag, prometheus.GaugeValue, stats.Lag.Seconds()},
		{c.waiting, prometheus.GaugeValue, float64(stats.Waiting)},
		{c.letters, prometheus.GaugeValue, float64(stats.DeadLetters)},
		{c.up, prometheus.GaugeValue, up},
	} {
		out <- prometheus.MustNewConstMetric(one.desc, one.kind, one.value)
	}
}
