package metrics

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/resize"
)

// WorkerStats are the statistics of a pool of resize processes. The keys of its maps are fixed.
type WorkerStats struct {
	Queued   map[string]int   // waiting jobs by priority: live, page, warm
	Workers  map[string]int   // processes by state: idle, busy, starting
	Restarts map[string]int64 // since the start, by reason
}

type resizes struct {
	*instruments
	jobs  *prometheus.CounterVec
	kept  *prometheus.CounterVec
	early *prometheus.CounterVec
	pool  atomic.Pointer[func() WorkerStats]
}

func newResizes(in *instruments) *resizes {
	r := &resizes{instruments: in}
	r.jobs = in.counters("resize_jobs_total", "Requested variants by format and outcome.", "format", "outcome")
	r.kept = in.counters("mezzanines_total", "Mezzanines by event: made, used for a variant, or not made and why.",
		"event")
	for _, event := range fill.MezzanineEvents {
		r.kept.WithLabelValues(event)
	}
	r.early = in.counters("early_jobs_total",
		"Jobs that were begun while their original arrived, by event: made, or given up and why.", "event")
	for _, event := range fill.EarlyEvents {
		r.early.WithLabelValues(event)
	}
	for f := resize.JPEG; f.Concrete(); f++ {
		r.jobs.WithLabelValues(f.String(), ok)
	}
	for _, label := range labelsOf(resizeOutcomes) { // all formats would give 77 series
		r.jobs.WithLabelValues(resize.JPEG.String(), label)
		r.jobs.WithLabelValues(resize.WebP.String(), label)
	}
	return r
}

// Mezzanines counts events of mezzanines (fill.Config.Mezzanines).
func (r *resizes) Mezzanines(event string, n int) { r.kept.WithLabelValues(event).Add(float64(n)) }

// EarlyJobs counts jobs that were begun while their original arrived (fill.Config.EarlyJobs).
func (r *resizes) EarlyJobs(event string) { r.early.WithLabelValues(event).Inc() }

// Workers exports the state of a pool of resize processes. stats is called for each scrape and each Snapshot.
func (r *resizes) Workers(stats func() WorkerStats) {
	queued := sampledGauge("resize_queue_depth", "Jobs that wait for a resize process, by the priority by which they were admitted.", "lane")
	workers := sampledGauge("resize_workers", "Resize processes by state.", "state")
	restarts := sampledCounter("resize_worker_restarts_total",
		"Resize processes that were replaced, by reason.", "reason")
	r.reg.MustRegister(collect(func(out chan<- prometheus.Metric) {
		s := stats()
		sendEach(queued, out, s.Queued)
		sendEach(workers, out, s.Workers)
		sendEach(restarts, out, s.Restarts)
	}))
	r.pool.Store(&stats)
}

// workers returns the state of the pool, nil without a pool.
func (r *resizes) workers() *WorkerStats {
	stats := r.pool.Load()
	if stats == nil {
		return nil
	}
	s := (*stats)()
	return &s
}

// Resizer wraps next to count each requested Spec, without Optional ones that it leaves out, and to
// time each call until all of its Specs are made. A call that is made again (resize.ErrNotEarly) does
// not count. If next has a queue, the time in it counts for the stage resize as well as for the stage
// queue (Waited).
func (r *resizes) Resizer(next resize.Resizer) resize.Resizer { return &resizer{next, r} }

type resizer struct {
	next resize.Resizer
	set  *resizes
}

func (r *resizer) Resize(ctx context.Context, job resize.Job) error {
	ctx, sp := r.set.span(ctx, "resize",
		attribute.Int("imagetier.specs", len(job.Specs)), attribute.Int("imagetier.bytes", sizeOf(job)))
	start := r.set.now()
	all := job.All()
	made, deliver, missing := make([]bool, len(all)), job.Made, len(job.Specs)
	answered := func(label string, failed bool) {
		r.set.since(start, stageResize)
		sp.end(label, failed)
	}
	job.Made = func(i int, img resize.Image) {
		deliver(i, img)
		made[i] = true
		if i < len(job.Specs) {
			if missing--; missing == 0 {
				answered(ok, false) // nothing waits for the Optional ones
			}
		}
	}
	err := r.next.Resize(ctx, job)
	if errors.Is(err, resize.ErrNotEarly) {
		sp.end("not_early", false)
		return err
	}
	label := labelOf(resizeOutcomes, err)
	if missing > 0 {
		answered(label, err != nil)
	}
	for i, spec := range all {
		switch {
		case made[i]:
			r.set.count(spec, ok)
		case err != nil:
			r.set.count(spec, label)
		}
	}
	return err
}

func sizeOf(job resize.Job) int {
	if job.Early != nil {
		return job.Early.Size()
	}
	return len(job.Original)
}

// count counts a variant.
func (r *resizes) count(s resize.Spec, outcome string) {
	format := other
	if s.Format.Concrete() {
		format = s.Format.String()
	}
	r.jobs.WithLabelValues(format, outcome).Inc()
}
