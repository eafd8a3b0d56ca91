package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/trace"
)

const (
	namespace = "imagetier"
	other     = "other" // label of a value outside of its fixed list
)

// buckets are upper bounds in seconds. They suit hits of some 50 µs as well as an AVIF of seconds.
var buckets = []float64{
	.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}

// BucketBounds returns the upper bounds of RequestStats.Buckets, in seconds.
func BucketBounds() []float64 { return slices.Clone(buckets) }

// instruments makes metrics and spans, and holds the histogram that several wrappers share.
type instruments struct {
	auto   promauto.Factory
	reg    prometheus.Registerer
	tracer trace.Tracer
	now    func() time.Time
	stages [numStages]prometheus.Observer
}

// stage is a part of the way to an answer.
type stage uint8

const (
	stageLookup stage = iota // a lookup in one cache layer
	stageOrigin              // one request to an origin, body included
	stageQueue               // waiting for a resize process
	stageResize              // one job of the resizer
	stageStore               // a store in one cache layer
	numStages
)

func (in *instruments) addStages() {
	vec := in.histograms("stage_duration_seconds",
		"Time of the parts of answering: lookup, request to the origin, wait for a resize process, resize, store.",
		"stage")
	for st, name := range [numStages]string{"lookup", "origin", "queue", "resize", "store"} {
		in.stages[st] = vec.WithLabelValues(name)
	}
}

// since adds the time from start until now to the histogram of a stage.
func (in *instruments) since(start time.Time, st stage) {
	in.stages[st].Observe(in.now().Sub(start).Seconds())
}

// Waited records how long a job waited for a resize process.
func (in *instruments) Waited(took time.Duration) { in.stages[stageQueue].Observe(took.Seconds()) }

func (in *instruments) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return in.auto.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (in *instruments) counter(name, help string) prometheus.Counter {
	return in.auto.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func (in *instruments) histograms(name, help string, labels ...string) *prometheus.HistogramVec {
	return in.auto.NewHistogramVec(histogram(name, help), labels)
}

// histogram returns the options that all durations share. A Prometheus that scrapes native histograms gets those,
// with an error of at most 10 %, instead of the classic buckets.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help,
		Buckets:                         buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// sampled is a metric whose value another package keeps; it is read at each scrape.
type sampled struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func sampledGauge(name, help string, labels ...string) sampled {
	return sampled{
		prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil),
		prometheus.GaugeValue,
	}
}

func sampledCounter(name, help string, labels ...string) sampled {
	s := sampledGauge(name, help, labels...)
	s.kind = prometheus.CounterValue
	return s
}

func (s sampled) send(out chan<- prometheus.Metric, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(s.desc, s.kind, value, labels...)
}

// sendEach sends a value for each label of counts, behind the labels that all of them have.
func sendEach[N int | int64](s sampled, out chan<- prometheus.Metric, counts map[string]N, labels ...string) {
	for label, n := range counts {
		s.send(out, float64(n), append(slices.Clip(labels), label)...)
	}
}

// collect is a Collector that is called at each scrape, once, so that the values it sends are of one moment.
type collect func(out chan<- prometheus.Metric)

// Describe sends nothing: which series there are is known when they are collected.
func (c collect) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collect) Collect(out chan<- prometheus.Metric) { c(out) }

// gaugeOf returns the value of a yes-or-no gauge.
func gaugeOf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// oneOf returns value if it is known, else other.
func oneOf(known []string, value string) string {
	if slices.Contains(known, value) {
		return value
	}
	return other
}

// sumBy sums the counters of vec by the value of one label; sums of 0 are left out.
func sumBy(vec *prometheus.CounterVec, label string) map[string]int64 {
	sums := make(map[string]int64)
	metrics := make(chan prometheus.Metric)
	go func() {
		defer close(metrics)
		vec.Collect(metrics)
	}()
	for m := range metrics {
		counter := read(m)
		for _, pair := range counter.GetLabel() {
			if n := int64(counter.GetCounter().GetValue()); n > 0 && pair.GetName() == label {
				sums[pair.GetValue()] += n
			}
		}
	}
	return sums
}

// bucketsOf returns the counts of a histogram's buckets, not cumulative, and one for values beyond the last
// bound.
func bucketsOf(h *dto.Histogram) []int64 {
	counts := make([]int64, 0, len(buckets)+1)
	below := int64(0)
	for _, b := range h.GetBucket() {
		n := int64(b.GetCumulativeCount())
		counts = append(counts, n-below)
		below = n
	}
	return append(counts, int64(h.GetSampleCount())-below)
}

func count(c prometheus.Counter) int64 { return int64(read(c).GetCounter().GetValue()) }

// read returns the value of a metric. It cannot fail for those of this package.
func read(m prometheus.Metric) *dto.Metric {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return &out
}
