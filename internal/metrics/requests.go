package metrics

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/novasocial/imagetier/imagecache"
)

// Observation is one answered request of the public listener.
type Observation struct {
	Status   int               // 499: the client hung up before the end of the answer
	Cache    imagecache.Detail // where the answer came from; None if no cache took part
	Format   string            // jpg png webp avif gif heic jxl (never auto), json, orig, or none if the URL was refused
	Duration time.Duration     // from the end of the request's headers to the last byte handed to the kernel
	Bytes    int64             // of the body that were handed to the kernel
}

// statuses and formats bound two labels: any other value is counted as "other".
var (
	statuses = [...]int{200, 206, 304, 400, 403, 404, 405, 412, 413, 415, 416, 422, 451, 499, 500, 502, 503, 504}
	formats  = [...]string{"jpg", "png", "webp", "avif", "gif", "heic", "jxl", "json", "orig", "none"}
)

const other = "other"

// requests is requests_total with its counters at hand by number: looking one up by
// its three labels would cost several times what counting does.
type requests struct {
	vec      *prometheus.CounterVec
	counters [len(statuses) + 1][imagecache.NumDetails][len(formats) + 1]atomic.Pointer[prometheus.Counter]
}

func (s *Set) newRequests() {
	s.requests.vec = s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "requests_total",
		Help: "Requests of the public listener by status, by where the answer came from and by its format.",
	}, []string{"status", "cache", "format"})
	durations := s.auto.NewHistogramVec(
		histogram("request_duration_seconds", "Time from a request's headers to the last byte of its answer."),
		[]string{"cache"})
	answered := s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "response_bytes_total",
		Help: "Bytes of bodies sent by the public listener.",
	}, []string{"cache"})
	for d := range imagecache.NumDetails {
		s.durations[d] = durations.WithLabelValues(d.String())
		s.answered[d] = answered.WithLabelValues(d.String())
	}
	// All combinations are 1,672 series, most of which can never be. Each status, and
	// each cache and format of a success, is there once.
	for i := range statuses {
		s.requests.at(i, imagecache.None, formatIndex("none"))
	}
	for d := range imagecache.NumDetails {
		if d != imagecache.Negative && d != imagecache.None {
			for _, format := range []string{"jpg", "webp", "avif", "png"} {
				s.requests.at(0, d, formatIndex(format))
			}
		}
	}
}

// Observe counts one answered request.
func (s *Set) Observe(o Observation) {
	if o.Cache >= imagecache.NumDetails {
		o.Cache = imagecache.None
	}
	s.requests.at(statusIndex(o.Status), o.Cache, formatIndex(o.Format)).Inc()
	s.durations[o.Cache].Observe(o.Duration.Seconds())
	if o.Bytes > 0 {
		s.answered[o.Cache].Add(float64(o.Bytes))
	}
}

// at returns the counter of those labels, which it makes if this is its first time.
func (r *requests) at(status int, cache imagecache.Detail, format int) prometheus.Counter {
	slot := &r.counters[status][cache][format]
	if c := slot.Load(); c != nil {
		return *c
	}
	c := r.vec.WithLabelValues(statusLabel(status), cache.String(), formatLabel(format))
	slot.Store(&c) // another goroutine may have stored the same counter
	return c
}

func statusIndex(status int) int {
	for i, known := range statuses {
		if status == known {
			return i
		}
	}
	return len(statuses)
}

func statusLabel(i int) string {
	if i == len(statuses) {
		return other
	}
	return strconv.Itoa(statuses[i])
}

func formatIndex(format string) int {
	for i, known := range formats {
		if format == known {
			return i
		}
	}
	return len(formats)
}

func formatLabel(i int) string {
	if i == len(formats) {
		return other
	}
	return formats[i]
}
