package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/novasocial/imagetier/gateway/proxy"
	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/internal/program"
)

// namespace is the prefix of every metric name.
const namespace = "imagetier_gateway"

// newBuildInfo registers a metric with the build and the running command.
func newBuildInfo(reg prometheus.Registerer, mode string) {
	b := program.Build()
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1, labelled with the build and the running command.",
	}, []string{"version", "revision", "mode"}).WithLabelValues(b.Version, b.Commit, mode).Set(1)
}

// proxyMetrics are the metrics of the proxy. All label values exist from the start, so that zeros
// are exported.
type proxyMetrics struct {
	requests *prometheus.CounterVec // kind, status
	first    map[proxy.Kind]prometheus.Observer
	total    map[proxy.Kind]prometheus.Observer
	signed   prometheus.Counter
	foreign  prometheus.Counter
	broken   map[string]prometheus.Counter // by
}

// statuses are the status classes, as label values.
var statuses = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func newProxyMetrics(reg prometheus.Registerer) *proxyMetrics {
	factory := promauto.With(reg)
	m := &proxyMetrics{
		first:  map[proxy.Kind]prometheus.Observer{},
		total:  map[proxy.Kind]prometheus.Observer{},
		broken: map[string]prometheus.Counter{},
	}
	m.requests = factory.NewCounterVec(
		prometheus.CounterOpts{
			Namespace: namespace,
			Name:      "proxy_requests_total",
			Help:      "Requests by the kind of their answer and by status class.",
		},
		[]string{"kind", "status"},
	)
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .35, .5, 1, 2.5, 5, 10}
	first := factory.NewHistogramVec(
		prometheus.HistogramOpts{
			Namespace: namespace,
			Name:      "proxy_first_byte_seconds",
			Help:      "Time until the headers of an answer.",
			Buckets:   buckets,
		},
		[]string{"kind"},
	)
	total := factory.NewHistogramVec(
		prometheus.HistogramOpts{
			Namespace: namespace,
			Name:      "proxy_duration_seconds",
			Help:      "Time until the end of an answer.",
			Buckets:   buckets,
		},
		[]string{"kind"},
	)
	urls := factory.NewCounterVec(
		prometheus.CounterOpts{
			Namespace: namespace,
			Name:      "urls_total",
			Help:      "Values of image fields: signed, or foreign (not an image of the tier, or already signed).",
		},
		[]string{"outcome"},
	)
	broken := factory.NewCounterVec(
		prometheus.CounterOpts{
			Namespace: namespace,
			Name:      "proxy_broken_total",
			Help:      "Incomplete answers, by the side that aborted.",
		},
		[]string{"by"},
	)
	for _, kind := range proxy.Kinds {
		for _, status := range statuses {
			m.requests.WithLabelValues(string(kind), status)
		}
		m.first[kind], m.total[kind] = first.WithLabelValues(string(kind)), total.WithLabelValues(string(kind))
	}
	m.signed, m.foreign = urls.WithLabelValues("signed"), urls.WithLabelValues("foreign")
	for _, by := range []string{"service", "client"} {
		m.broken[by] = broken.WithLabelValues(by)
	}
	return m
}

func (m *proxyMetrics) observe(o proxy.Observation) {
	m.requests.WithLabelValues(string(o.Kind), strconv.Itoa(min(max(o.Status/100, 1), 5))+"xx").Inc()
	m.first[o.Kind].Observe(o.First.Seconds())
	m.total[o.Kind].Observe(o.Total.Seconds())
	m.signed.Add(float64(o.Signed))
	m.foreign.Add(float64(o.Foreign))
	switch {
	case o.Upstream:
		m.broken["service"].Inc()
	case o.Broken:
		m.broken["client"].Inc()
	}
}

// newHandedOutMetric returns counters of URLs reported to the tier.
func newHandedOutMetric(reg prometheus.Registerer) map[tier.Outcome]prometheus.Counter {
	vec := promauto.With(reg).
		NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "handed_out_images_total",
			Help: "Image URLs in answers, by the outcome of the report to the tier."}, []string{"outcome"})
	all := map[tier.Outcome]prometheus.Counter{}
	for _, outcome := range tier.Outcomes {
		all[outcome] = vec.WithLabelValues(string(outcome))
	}
	return all
}
