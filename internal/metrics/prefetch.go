package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Types and outcomes of events, and outcomes of jobs, whose series exist from the start. Any other is counted as
// "other".
var (
	eventTypes = []string{
		"post.published", "post.updated", "post.deleted", "feed.page", "user.updated",
		"s3.created", "s3.removed", "warm", "unknown",
	}
	eventOutcomes = []string{
		"accepted", "repeated", "ignored", "forged", "invalid", "too_large", "full", "unavailable",
	}
	pathOutcomes = []string{"made", "hit", "busy", "late", "failed"}
	jobOutcomes  = []string{ok, "skipped", "again", "dead", "invalid"}
)

// PrefetchStats is the state of the queue and of the images that were made early.
type PrefetchStats struct {
	Lag          time.Duration // how long the oldest job of the queue has waited; 0 if the queue is empty
	Waiting      int           // jobs in the queue, those being worked on included
	DeadLetters  int           // dead letters that are kept
	Available    bool          // the queue can be used
	Used, Wasted PrefetchAmount
}

// PrefetchAmount is how much was made early: variants, CPU time of resize processes, bytes.
type PrefetchAmount struct {
	Variants int64
	CPU      time.Duration
	Bytes    int64
}

// PrefetchCounts counts events, jobs and paths of pages by outcome. Zeros are left out.
type PrefetchCounts struct{ Events, Jobs, Paths map[string]int64 }

type prefetch struct {
	reg    prometheus.Registerer
	events *prometheus.CounterVec
	jobs   *prometheus.CounterVec
	paths  *prometheus.CounterVec
	dead   prometheus.Counter
	lead   prometheus.Histogram
}

func newPrefetch(in *instruments) *prefetch {
	p := &prefetch{
		reg: in.reg,
		events: in.counters("prefetch_events_total",
			"Events of feed services, notifications of buckets and requests to warm, by type and outcome.",
			"type", "outcome"),
		jobs:  in.counters("prefetch_jobs_total", "Attempts at jobs of the queue by outcome.", "outcome"),
		paths: in.counters("prefetch_paths_total", "Paths that pages handed out, by outcome.", "outcome"),
		dead: in.counter("prefetch_dead_total",
			"Jobs that failed too often, or for good, and became dead letters."),
	}
	for _, kind := range eventTypes {
		p.events.WithLabelValues(kind, "accepted")
	}
	for _, outcome := range eventOutcomes {
		p.events.WithLabelValues("unknown", outcome)
	}
	for _, outcome := range jobOutcomes {
		p.jobs.WithLabelValues(outcome)
	}
	for _, outcome := range pathOutcomes {
		p.paths.WithLabelValues(outcome)
	}
	lead := histogram("prefetch_lead_seconds", "Time from when an image was made early to its first request.")
	lead.Buckets = []float64{.1, .5, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600}
	p.lead = in.auto.NewHistogram(lead)
	return p
}

func (p *prefetch) snapshot() PrefetchCounts {
	return PrefetchCounts{
		Events: sumBy(p.events, "outcome"), Jobs: sumBy(p.jobs, "outcome"), Paths: sumBy(p.paths, "outcome"),
	}
}

// Event counts an event by type (post.published, …, s3.created, s3.removed, warm; unknown if it could not be read)
// and outcome: accepted, repeated, ignored, forged, invalid, too_large, full, unavailable.
func (p *prefetch) Event(kind, outcome string) {
	p.events.WithLabelValues(oneOf(eventTypes, kind), oneOf(eventOutcomes, outcome)).Inc()
}

// Job counts an attempt at a job by outcome: ok, skipped (there was nothing to do), again (it will be retried),
// dead, invalid.
func (p *prefetch) Job(outcome string) {
	p.jobs.WithLabelValues(oneOf(jobOutcomes, outcome)).Inc()
	if outcome == "dead" || outcome == "invalid" {
		p.dead.Inc()
	}
}

// Path counts a path of a page by outcome: made, hit (it was held), busy (there was no room), late (it waited
// too long), failed.
func (p *prefetch) Path(outcome string) { p.paths.WithLabelValues(oneOf(pathOutcomes, outcome)).Inc() }

// Lead records the time from when an image was made early to its first request.
func (p *prefetch) Lead(d time.Duration) { p.lead.Observe(d.Seconds()) }

// Prefetch exports the state of the queue. stats is called for each scrape.
func (p *prefetch) Prefetch(stats func() PrefetchStats) {
	used := sampledCounter("prefetch_used_total", "Images made early that were requested afterwards.")
	wasted := sampledCounter("prefetch_wasted_total", "Images made early that were not requested in time.")
	usedCPU := sampledCounter("prefetch_used_cpu_seconds_total", "CPU time of images made early that were requested.")
	wastedCPU := sampledCounter("prefetch_wasted_cpu_seconds_total",
		"CPU time of images made early that were not requested in time.")
	usedBytes := sampledCounter("prefetch_used_bytes_total", "Bytes of images made early that were requested.")
	wastedBytes := sampledCounter("prefetch_wasted_bytes_total",
		"Bytes of images made early that were not requested in time.")
	lag := sampledGauge("prefetch_lag_seconds", "How long the oldest job of the queue has waited.")
	waiting := sampledGauge("prefetch_queue_jobs", "Jobs in the queue, those being worked on included.")
	letters := sampledGauge("prefetch_dead_letters", "Dead letters that are kept.")
	up := sampledGauge("prefetch_queue_up", "1 if the queue can be used.")
	p.reg.MustRegister(collect(func(out chan<- prometheus.Metric) {
		s := stats()
		used.send(out, float64(s.Used.Variants))
		wasted.send(out, float64(s.Wasted.Variants))
		usedCPU.send(out, s.Used.CPU.Seconds())
		wastedCPU.send(out, s.Wasted.CPU.Seconds())
		usedBytes.send(out, float64(s.Used.Bytes))
		wastedBytes.send(out, float64(s.Wasted.Bytes))
		lag.send(out, s.Lag.Seconds())
		waiting.send(out, float64(s.Waiting))
		letters.send(out, float64(s.DeadLetters))
		up.send(out, gaugeOf(s.Available))
	}))
}
