package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/resize"
)

func (s *Set) newResizes() {
	s.resizes = s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "resize_jobs_total",
		Help: "Variants that were to be made, by format and outcome.",
	}, []string{"format", "outcome"})
	for f := resize.JPEG; f.Concrete(); f++ {
		s.resizes.WithLabelValues(f.String(), ok)
	}
	for _, label := range labelsOf(resizeOutcomes) { // those of all formats would be 77 series
		s.resizes.WithLabelValues(resize.JPEG.String(), label)
		s.resizes.WithLabelValues(resize.WebP.String(), label)
	}
}

// Resizer returns r, counting each Spec that it is asked for and timing each call. The
// stage resize is the whole call: where r has a queue, the time in it is also part of
// the stage queue (Waited).
func (s *Set) Resizer(r resize.Resizer) resize.Resizer { return &resizer{r, s} }

type resizer struct {
	next resize.Resizer
	set  *Set
}

func (r *resizer) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	ctx, sp := r.set.span(ctx, "resize", attribute.Int("imagetier.specs", len(specs)), attribute.Int("imagetier.bytes", len(original)))
	start := r.set.now()
	images, err := r.next.Resize(ctx, original, specs...)
	r.set.stages[stageResize].Observe(r.set.now().Sub(start).Seconds())
	label := labelOf(resizeOutcomes, err)
	for _, spec := range specs {
		r.set.resizes.WithLabelValues(concrete(spec.Format), label).Inc()
	}
	sp.end(label, err != nil)
	return images, err
}

// concrete bounds the label: a Spec of another format is a fault of the caller.
func concrete(f resize.Format) string {
	if !f.Concrete() {
		return other
	}
	return f.String()
}

// WorkerStats is what a pool of resize processes says of itself.
type WorkerStats struct {
	Queued   map[string]int   // jobs waiting, by lane: live, warm
	Workers  map[string]int   // processes, by state: idle, busy, starting
	Restarts map[string]int64 // since the start, by reason
}

// Workers exports what a pool says of itself. stats is called for each scrape and each
// Snapshot; its maps hold every lane, state and reason from the start, and no others later.
func (s *Set) Workers(stats func() WorkerStats) {
	desc := func(name, help, label string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, []string{label}, nil)
	}
	s.reg.MustRegister(&workerCollector{
		stats:    stats,
		queued:   desc("resize_queue_depth", "Jobs that wait for a resize process, by lane.", "lane"),
		workers:  desc("resize_workers", "Resize processes by state.", "state"),
		restarts: desc("resize_worker_restarts_total", "Resize processes that were replaced, by reason.", "reason"),
	})
	s.seen.setWorkers(stats)
}

type workerCollector struct {
	stats                     func() WorkerStats
	queued, workers, restarts *prometheus.Desc
}

func (c *workerCollector) Describe(out chan<- *prometheus.Desc) {
	out <- c.queued
	out <- c.workers
	out <- c.restarts
}

func (c *workerCollector) Collect(out chan<- prometheus.Metric) {
	stats := c.stats()
	for lane, n := range stats.Queued {
		out <- prometheus.MustNewConstMetric(c.queued, prometheus.GaugeValue, float64(n), lane)
	}
	for state, n := range stats.Workers {
		out <- prometheus.MustNewConstMetric(c.workers, prometheus.GaugeValue, float64(n), state)
	}
	for reason, n := range stats.Restarts {
		out <- prometheus.MustNewConstMetric(c.restarts, prometheus.CounterValue, float64(n), reason)
	}
}
