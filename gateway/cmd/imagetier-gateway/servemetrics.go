package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/novasocial/imagetier/gateway/events"
	"github.com/novasocial/imagetier/gateway/graph"
	"github.com/novasocial/imagetier/gateway/pagecache"
	"github.com/novasocial/imagetier/gateway/upstream"
	"github.com/novasocial/imagetier/internal/circuit"
)

// serviceNames are the label values of services.
var serviceNames = []string{upstream.Feed, upstream.Content, upstream.User}

// serveMetrics are the metrics of serve. All label values exist from the start, so that zeros are
// exported.
type serveMetrics struct {
	requests  *prometheus.CounterVec // operation, status
	durations map[graph.Operation]prometheus.Observer
	errors    map[graph.Code]prometheus.Counter
	stale     map[string]prometheus.Counter // by service
	calls     *prometheus.CounterVec        // service, outcome
	callTimes map[string]prometheus.Observer
	breakers  map[string]prometheus.Gauge
	caches    *prometheus.CounterVec // kind, outcome
	events    *prometheus.CounterVec // type, outcome
}

func newServeMetrics(reg prometheus.Registerer) *serveMetrics {
	factory := promauto.With(reg)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return factory.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help, label string) *prometheus.HistogramVec {
		return factory.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help,
			Buckets: []float64{
				.001,
				.0025,
				.005,
				.01,
				.025,
				.05,
				.1,
				.15,
				.23,
				.35,
				.5,
				1,
				2.5,
				5,
				10,
			}}, []string{label})
	}
	m := &serveMetrics{
		durations: map[graph.Operation]prometheus.Observer{},
		errors:    map[graph.Code]prometheus.Counter{},
		stale:     map[string]prometheus.Counter{},
		callTimes: map[string]prometheus.Observer{},
		breakers:  map[string]prometheus.Gauge{},
	}
	m.requests = counter("requests_total", "GraphQL requests by operation and status class.", "operation", "status")
	durations := histogram("request_duration_seconds", "Time until the end of an answer.", "operation")
	for _, operation := range graph.Operations {
		for _, status := range statuses[1:] {
			m.requests.WithLabelValues(string(operation), status)
		}
		m.durations[operation] = durations.WithLabelValues(string(operation))
	}
	codes := counter("errors_total", "Errors in answers, by extensions.code.", "code")
	for _, code := range graph.Codes {
		m.errors[code] = codes.WithLabelValues(string(code))
	}
	stale := counter("stale_pages_total", "Pages with stale data, by the service that failed.", "service")
	m.calls = counter("upstream_calls_total", "Calls to services, by outcome.", "service", "outcome")
	times := histogram("upstream_call_duration_seconds", "Duration of calls to services.", "service")
	breakers := factory.NewGaugeVec(
		prometheus.GaugeOpts{
			Namespace: namespace,
			Name:      "breaker_state",
			Help:      "State of circuit breakers: 0 closed, 1 half-open, 2 open.",
		},
		[]string{"service"},
	)
	for _, service := range serviceNames {
		m.stale[service] = stale.WithLabelValues(service)
		for _, outcome := range upstream.Outcomes {
			m.calls.WithLabelValues(service, string(outcome))
		}
		m.callTimes[service] = times.WithLabelValues(service)
		m.breakers[service] = breakers.WithLabelValues(service)
	}
	m.breakers["redis"] = breakers.WithLabelValues("redis")
	m.caches = counter(
		"cache_ids_total",
		"IDs looked up in caches, by kind and outcome: each lookup is memory, redis or miss; failed, unreadable and dropped are counted in addition.",
		"kind",
		"outcome",
	)
	for _, kind := range pagecache.Kinds {
		for _, outcome := range pagecache.Outcomes {
			m.caches.WithLabelValues(string(kind), string(outcome))
		}
	}
	m.events = counter(
		"events_total",
		"Events of the feed service, by type (unknown if unreadable) and outcome.",
		"type",
		"outcome",
	)
	for _, kind := range events.Types {
		m.events.WithLabelValues(kind, string(events.Taken))
		m.events.WithLabelValues(kind, string(events.Repeated))
	}
	for _, outcome := range []events.Outcome{events.Forged, events.Malformed, events.Unread} {
		m.events.WithLabelValues("unknown", string(outcome))
	}
	return m
}

func (m *serveMetrics) observe(o graph.Observation) {
	m.requests.WithLabelValues(string(o.Operation), statuses[min(max(o.Status/100, 1), 5)-1]).Inc()
	m.durations[o.Operation].Observe(o.Duration.Seconds())
	for _, code := range o.Codes {
		m.errors[code].Inc()
	}
	for _, service := range o.Stale {
		m.stale[string(service)].Inc()
	}
}

func (m *serveMetrics) call(service, _ string, outcome upstream.Outcome, took time.Duration) {
	m.calls.WithLabelValues(service, string(outcome)).Inc()
	m.callTimes[service].Observe(took.Seconds())
}

func (m *serveMetrics) breaker(of string, to circuit.State) { m.breakers[of].Set(float64(to)) }

func (m *serveMetrics) cached(kind pagecache.Kind, outcome pagecache.Outcome, ids int) {
	m.caches.WithLabelValues(string(kind), string(outcome)).Add(float64(ids))
}

func (m *serveMetrics) event(kind string, outcome events.Outcome) {
	if kind == "" {
		kind = "unknown"
	}
	m.events.WithLabelValues(kind, string(outcome)).Inc()
}

// connections exports whether each service is connected.
func (m *serveMetrics) connections(reg prometheus.Registerer, services func() map[string]bool, redis func() bool) {
	gauge := func(name string, is func() bool) {
		promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "connected",
			Help:        "1 if the service is connected and its breaker is not open.",
			ConstLabels: prometheus.Labels{"service": name},
		}, func() float64 {
			if is() {
				return 1
			}
			return 0
		})
	}
	for _, name := range serviceNames {
		gauge(name, func() bool { return services()[name] })
	}
	gauge("redis", redis)
}

// refusals exports which errors Redis refuses commands with.
func (m *serveMetrics) refusals(reg prometheus.Registerer, refused func() map[string]string) {
	for _, code := range pagecache.Refusals {
		promauto.With(reg).NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: namespace, Name: "redis_refused_commands",
			Help:        "Commands (read, store, drop) that Redis refuses now with a lasting error, by its code.",
			ConstLabels: prometheus.Labels{"code": code},
		}, func() (n float64) {
			for _, of := range refused() {
				if of == code {
					n++
				}
			}
			return n
		})
	}
}
