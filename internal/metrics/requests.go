package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// Observation is one answered request of the public listener.
type Observation struct {
	Status   int                // 499: the client hung up before the end of the answer
	Outcome  imagecache.Outcome // of the cache; zero if it was not asked
	Ref      imageurl.Ref       // requested from the cache; zero if it was not asked
	Found    bool               // the cache returned an image
	Priority resize.Priority    // of the request to the cache
	// Format is jpg png webp avif gif heic jxl (never auto), json, orig, or none if the URL was refused.
	Format   string
	Duration time.Duration // from the end of the request's headers to the last byte handed to the kernel
	Bytes    int64         // of the body that were handed to the kernel
}

// RequestStats are the requests of one cache label.
type RequestStats struct {
	Count   int64
	Bytes   int64   // of bodies
	Seconds float64 // sum of their durations
	// Buckets counts the requests that took at most as long as BucketBounds says, and in one more element those
	// beyond the last bound. They are not cumulative.
	Buckets []int64
}

// statuses and formats bound two labels: any other value is counted as "other".
var (
	statuses = []int{200, 206, 304, 400, 403, 404, 405, 412, 413, 415, 416, 422, 451, 499, 500, 502, 503, 504}
	formats  = []string{"jpg", "png", "webp", "avif", "gif", "heic", "jxl", "json", "orig", "none"}
)

type requests struct {
	total       *prometheus.CounterVec
	statusLabel map[int]string // spelled once: counting allocates nothing
	// succeeded has the counters of status 200 by format: finding one in total costs 0.5 µs.
	succeeded [imagecache.NumDetails]map[string]prometheus.Counter
	durations [imagecache.NumDetails]prometheus.Observer
	bytes     [imagecache.NumDetails]prometheus.Counter
	top       *topOriginals
}

func newRequests(in *instruments) *requests {
	r := &requests{statusLabel: make(map[int]string), top: newTopOriginals(in.now())}
	r.total = in.counters("requests_total",
		"Requests of the public listener by status, by where the answer came from and by its format.",
		"status", "cache", "format")
	durations := in.histograms("request_duration_seconds",
		"Time from a request's headers to the last byte of its answer.", "cache")
	bytes := in.counters("response_bytes_total", "Bytes of bodies sent by the public listener.", "cache")
	// All combinations would be 1,672 series, most of them impossible. Each status, and each cache and format of a
	// success, exists from the start.
	for _, status := range statuses {
		r.statusLabel[status] = strconv.Itoa(status)
		r.total.WithLabelValues(r.statusLabel[status], imagecache.None.String(), "none")
	}
	for d := range imagecache.NumDetails {
		r.durations[d] = durations.WithLabelValues(d.String())
		r.bytes[d] = bytes.WithLabelValues(d.String())
		r.succeeded[d] = make(map[string]prometheus.Counter)
		if d != imagecache.Negative && d != imagecache.None {
			for _, format := range []string{"jpg", "webp", "avif", "png"} {
				r.succeeded[d][format] = r.total.WithLabelValues("200", d.String(), format)
			}
		}
	}
	return r
}

// Observe counts one answered request.
func (r *requests) Observe(o Observation) {
	from := o.Outcome.Detail
	if from >= imagecache.NumDetails {
		from = imagecache.None
	}
	r.counter(o, from).Inc()
	r.durations[from].Observe(o.Duration.Seconds())
	r.bytes[from].Add(float64(max(o.Bytes, 0)))
	r.top.observe(&o)
}

// counter returns the counter of an answer.
func (r *requests) counter(o Observation, from imagecache.Detail) prometheus.Counter {
	if o.Status == http.StatusOK {
		if c := r.succeeded[from][o.Format]; c != nil {
			return c
		}
	}
	status, known := r.statusLabel[o.Status]
	if !known {
		status = other
	}
	return r.total.WithLabelValues(status, from.String(), oneOf(formats, o.Format))
}

func (r *requests) byCache() map[string]RequestStats {
	all := make(map[string]RequestStats)
	for d := range imagecache.NumDetails {
		h := read(r.durations[d].(prometheus.Metric)).GetHistogram()
		all[d.String()] = RequestStats{
			Count: int64(h.GetSampleCount()), Bytes: count(r.bytes[d]),
			Seconds: h.GetSampleSum(), Buckets: bucketsOf(h),
		}
	}
	return all
}
