package metrics

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/origin"
)

// OriginSnapshot is one origin.
type OriginSnapshot struct {
	Name     string
	Breaker  string           // name of its circuit.State; "" without a breaker
	Requests map[string]int64 // by outcome; zeros are left out
	Seconds  float64          // sum of their durations
	Buckets  []int64          // as RequestStats.Buckets
}

type origins struct {
	*instruments
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec

	mu       sync.Mutex
	sources  []*source
	breakers map[string]func() circuit.State // by source
}

func newOrigins(in *instruments) *origins {
	return &origins{
		instruments: in,
		requests: in.counters("origin_requests_total",
			"Requests to an origin by outcome; each try is one.", "source", "outcome"),
		durations: in.histograms("origin_duration_seconds",
			"Time of requests to an origin, to the last byte of the body; each try is one.", "source"),
		breakers: make(map[string]func() circuit.State),
	}
}

// Source wraps src to count and time each request to it. It belongs directly around the source, inside origin.Retry,
// so that it sees each try but not what a limit or an open breaker rejects. It panics if the name is taken.
//
// A request ends when its body was read to the end, failed, or was closed.
func (o *origins) Source(name string, src origin.Source) origin.Source {
	w := &source{
		src: src, set: o, name: name,
		duration: o.durations.WithLabelValues(name), outcomes: make(map[string]prometheus.Counter),
	}
	for _, label := range labelsOf(originOutcomes) {
		w.outcomes[label] = o.requests.WithLabelValues(name, label)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.ContainsFunc(o.sources, func(s *source) bool { return s.name == name }) {
		panic(fmt.Sprintf("metrics: source %q was added twice", name))
	}
	o.sources = append(o.sources, w)
	return w
}

// Breaker exports the state of a source's circuit breaker. state is called for each scrape and each Snapshot.
func (o *origins) Breaker(source string, state func() circuit.State) {
	o.auto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: "origin_breaker_state",
		Help:        "The circuit breaker of an origin: 0 closed, 1 half open, 2 open.",
		ConstLabels: prometheus.Labels{"source": source},
	}, func() float64 { return float64(state()) })
	o.mu.Lock()
	defer o.mu.Unlock()
	o.breakers[source] = state
}

func (o *origins) snapshot() (all []OriginSnapshot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, src := range o.sources {
		one := OriginSnapshot{Name: src.name, Requests: make(map[string]int64)}
		for label, c := range src.outcomes {
			if n := count(c); n > 0 {
				one.Requests[label] = n
			}
		}
		h := read(src.duration.(prometheus.Metric)).GetHistogram()
		one.Seconds, one.Buckets = h.GetSampleSum(), bucketsOf(h)
		if state := o.breakers[src.name]; state != nil {
			one.Breaker = state().String()
		}
		all = append(all, one)
	}
	return all
}

type source struct {
	src      origin.Source
	set      *origins
	name     string
	duration prometheus.Observer
	outcomes map[string]prometheus.Counter // not changed after it is made
}

func (w *source) Open(ctx context.Context, name string, cond origin.Cond) (*origin.Object, error) {
	spanned, req := w.begin(ctx, "origin open")
	defer req.panicked()
	obj, err := w.src.Open(spanned, name, cond)
	if err != nil {
		req.end(err)
		return nil, err
	}
	req.opened = true
	if body, whole := obj.Whole(); whole {
		req.bytes = int64(len(body))
		req.end(nil)
		return obj, nil
	}
	obj.Body = &measuredBody{ReadCloser: obj.Body, ctx: ctx, req: req}
	return obj, nil
}

// begin starts a request and its span.
func (w *source) begin(ctx context.Context, name string) (context.Context, *originRequest) {
	ctx, sp := w.set.span(ctx, name, attribute.String("imagetier.source", w.name))
	return ctx, &originRequest{source: w, span: sp, start: w.set.now()}
}

// Head is a request without a body: it ends when Head returns.
func (w *source) Head(ctx context.Context, name string) (origin.Metadata, error) {
	spanned, req := w.begin(ctx, "origin head")
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
	opened bool // Open has returned an object
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

// panicked is deferred: it ends the request of a Source that panicked.
func (r *originRequest) panicked() {
	if r.opened {
		return
	}
	r.once.Do(func() {
		r.outcomes[unknown].Inc()
		r.span.end(unknown, true)
	})
}

// isFault reports whether the outcome is a fault of the origin, not a regular answer like not_found.
func isFault(label string) bool {
	switch label {
	case ok, "not_modified", "not_found", "changed", "rejected", "name", "too_large", "unread", "canceled":
		return false
	}
	return true
}

// measuredBody ends its request when it was read to the end, failed or was closed.
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
