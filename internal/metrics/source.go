package metrics

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/origin"
)

type originMetrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
}

func (s *Set) newOrigins() {
	s.origins = originMetrics{
		requests: s.auto.NewCounterVec(prometheus.CounterOpts{
			Namespace: namespace, Name: "origin_requests_total",
			Help: "Requests to an origin by how they ended, each try for itself.",
		}, []string{"source", "outcome"}),
		durations: s.auto.NewHistogramVec(
			histogram("origin_duration_seconds", "Time of requests to an origin, from asking to the last byte of the body, each try for itself."),
			[]string{"source"}),
	}
}

// Source returns src, counting and timing each request to it under its alias. It belongs
// right around the source, within origin.Retry, so that it sees each try; what a limit or
// an open breaker keeps from the origin is no request to it.
//
// A request ends with its body: read to the end, failed, or closed.
func (s *Set) Source(name string, src origin.Source) origin.Source {
	w := &source{src: src, set: s, name: name, duration: s.origins.durations.WithLabelValues(name)}
	w.outcomes = make(map[string]prometheus.Counter)
	for _, label := range labelsOf(originOutcomes) {
		w.outcomes[label] = s.origins.requests.WithLabelValues(name, label)
	}
	s.seen.addSource(w)
	return w
}

type source struct {
	src      origin.Source
	set      *Set
	name     string
	duration prometheus.Observer
	outcomes map[string]prometheus.Counter // never changed after it is made
}

func (w *source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	spanned, sp := w.set.span(ctx, "origin open", attribute.String("imagetier.source", w.name))
	req := &originRequest{source: w, span: sp, start: w.set.now()}
	defer req.panicked()
	obj, err := w.src.Open(spanned, name, cond)
	if err != nil {
		req.end(err)
		return nil, err
	}
	req.handed = true
	if body, whole := obj.Whole(); whole {
		req.bytes = int64(len(body))
		req.end(nil)
		return obj, nil
	}
	obj.Body = &measuredBody{ReadCloser: obj.Body, ctx: ctx, req: req}
	return obj, nil
}

// Head is a request without a body: it ends when it returns.
func (w *source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	spanned, sp := w.set.span(ctx, "origin head", attribute.String("imagetier.source", w.name))
	req := &originRequest{source: w, span: sp, start: w.set.now()}
	defer req.panicked()
	meta, err := w.src.Head(spanned, name)
	req.end(err)
	return meta, err
}

// originRequest is one request, counted once.
type originRequest struct {
	*source
	span   span
	start  time.Time
	once   sync.Once
	bytes  int64
	handed bool
}

func (r *originRequest) end(err error) {
	r.once.Do(func() {
		took := r.set.now().Sub(r.start).Seconds()
		r.duration.Observe(took)
		r.set.stages[stageOrigin].Observe(took)
		label := labelOf(originOutcomes, err)
		r.outcomes[label].Inc()
		if r.span.Span != nil {
			r.span.SetAttributes(attribute.Int64("imagetier.bytes", r.bytes))
			r.span.end(label, isFault(label))
		}
	})
}

// panicked is deferred: a request whose Source panicked has ended too.
func (r *originRequest) panicked() {
	if !r.handed {
		r.once.Do(func() { r.outcomes[unknown].Inc(); r.span.end(unknown, true) })
	}
}

// isFault tells what is wrong with an origin from what it merely says.
func isFault(label string) bool {
	switch label {
	case "denied", "busy", "timeout", "unavailable", unknown:
		return true
	}
	return false
}

// measuredBody ends its request when it ends.
type measuredBody struct {
	io.ReadCloser
	ctx context.Context
	req *originRequest
}

func (b *measuredBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.req.bytes += int64(n)
	switch err {
	case nil:
	case io.EOF:
		b.req.end(nil)
	default:
		b.req.end(err)
	}
	return n, err
}

func (b *measuredBody) Close() error {
	err := b.ReadCloser.Close()
	why := errUnread
	if cause := b.ctx.Err(); cause != nil {
		why = cause
	}
	b.req.end(why)
	return err
}

// BreakerState numbers: those of origin_breaker_state.
const (
	BreakerClosed   = 0
	BreakerHalfOpen = 1
	BreakerOpen     = 2
)

// Breaker exports the state of a source's circuit breaker: 0 closed, 1 half open, 2 open,
// the numbers of breaker.State. state is called for each scrape and each Snapshot. The
// Source of that name has been given to the Set before.
func (s *Set) Breaker(source string, state func() int) {
	s.auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "origin_breaker_state",
		Help:        "The circuit breaker before an origin: 0 closed, 1 half open, 2 open.",
		ConstLabels: prometheus.Labels{"source": source},
	}, func() float64 { return float64(state()) })
	s.seen.addBreaker(source, state)
}
