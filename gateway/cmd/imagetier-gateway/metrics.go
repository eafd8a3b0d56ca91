package main

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/novasocial/imagetier/gateway/proxy"
	"github.com/novasocial/imagetier/gateway/tier"
	"github.com/novasocial/imagetier/internal/program"
)

// namespace begins the name of every metric here.
const namespace = "imagetier_gateway"

// newBuildInfo registers a metric that says which build runs in which mode.
func newBuildInfo(reg prometheus.Registerer, mode string) {
	b := program.Build()
	promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, labelled with the build and the command that runs.",
	}, []string{"version", "revision", "mode"}).WithLabelValues(b.Version, b.Commit, mode).Set(1)
}

// proxyMetrics count what the proxy does. Label values are made at the start, so that zeros
// show.
type proxyMetrics struct {
	requests *prometheus.CounterVec // kind, status
	first    map[proxy.Kind]prometheus.Observer
	total    map[proxy.Kind]prometheus.Observer
	signed   prometheus.Counter
	foreign  prometheus.Counter
	broken   map[string]prometheus.Counter // by
}

// statuses are the label values of an answer's status, by its class.
var statuses = [...]string{"1xx", "2xx", "3xx", "4xx", "5xx"}

func newProxyMetrics(reg prometheus.Registerer) *proxyMetrics {
	make := promauto.With(reg)
	m := &proxyMetrics{first: map[proxy.Kind]prometheus.Observer{}, total: map[proxy.Kind]prometheus.Observer{}, broken: map[string]prometheus.Counter{}}
	m.requests = make.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "proxy_requests_total", Help: "Requests, by what was done with their answers and by the class of their status."}, []string{"kind", "status"})
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .35, .5, 1, 2.5, 5, 10}
	first := make.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "proxy_first_byte_seconds", Help: "Time to the headers of an answer.", Buckets: buckets}, []string{"kind"})
	total := make.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: "proxy_duration_seconds", Help: "Time to the end of an answer.", Buckets: buckets}, []string{"kind"})
	urls := make.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "urls_total", Help: "Values of image fields: signed, or foreign (no image of the tier, or signed before)."}, []string{"outcome"})
	broken := make.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "proxy_broken_total", Help: "Answers that did not come to their end, by who broke them off."}, []string{"by"})
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

// newToldMetric counts images that the tier was to be told of.
func newToldMetric(reg prometheus.Registerer) map[tier.Outcome]prometheus.Counter {
	told := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "handed_out_images_total", Help: "Images that were handed out, by what became of telling the tier."}, []string{"outcome"})
	all := map[tier.Outcome]prometheus.Counter{}
	for _, outcome := range tier.Outcomes {
		all[outcome] = told.WithLabelValues(string(outcome))
	}
	return all
}
