package metrics

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// A History covers the last hour.
const (
	historyInterval = 30 * time.Second
	historyPoints   = 120
	// queueInterval is how often the queue is sampled: at the end of a longer interval it may be empty again.
	queueInterval = time.Second
)

// Point has the counts of one interval of a History.
type Point struct {
	Start     time.Time
	Seconds   float64                      // length of the interval
	ByCache   [imagecache.NumDetails]int64 // requests by where the answer came from
	Bytes     int64                        // of bodies
	Status4xx int64                        // without 499, which is caused by the client
	Status5xx int64
	Latency   Quantiles // of requests
	Origin    Quantiles // of requests to origins
	Fetches   int64     // requests to origins
	Queued    int       // maximum number of jobs that waited for a resize process, sampled once a second
}

// Quantiles are of durations in seconds. They are NaN if nothing was measured, and at most the last bound of
// BucketBounds.
type Quantiles struct{ P50, P99 float64 }

// History has a Point for each half minute of the last hour, about 30 KiB. It reads the metrics
// once per interval, so it adds no cost to requests. It is safe for concurrent use.
type History struct {
	set *Set

	mu     sync.Mutex // guards all below
	last   Snapshot   // at the end of the newest of points
	lastAt time.Time
	points []Point // oldest first
	queued int     // maximum number of waiting jobs since lastAt
}

// NewHistory returns a History of set, which begins now. It has to be Run.
func NewHistory(set *Set) *History {
	return &History{set: set, last: set.Snapshot(), lastAt: set.now()}
}

// Run adds a Point for each interval until ctx is done, and returns nil.
func (h *History) Run(ctx context.Context) error {
	tick, look := time.NewTicker(historyInterval), time.NewTicker(queueInterval)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-look.C:
			h.lookAtQueue()
		case <-tick.C:
			h.add(h.set.Snapshot(), h.set.now())
			h.set.top.tick()
		case <-ctx.Done():
			return nil
		}
	}
}

func (h *History) lookAtQueue() {
	workers := h.set.workers()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.queued = max(h.queued, waiting(workers))
}

// waiting returns how many jobs wait for a resize process. workers may be nil.
func waiting(workers *WorkerStats) (n int) {
	if workers != nil {
		for _, jobs := range workers.Queued {
			n += jobs
		}
	}
	return n
}

func (h *History) add(now Snapshot, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.points) == historyPoints {
		copy(h.points, h.points[1:])
		h.points = h.points[:historyPoints-1]
	}
	h.points = append(h.points, h.pointLocked(now, at))
	h.last, h.lastAt, h.queued = now, at, 0
}

// Points returns the intervals of the last hour, oldest first. The last is the current one, which ends with now.
func (h *History) Points(now Snapshot) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	points := make([]Point, 0, len(h.points)+1)
	points = append(points, h.points...)
	return append(points, h.pointLocked(now, h.set.now()))
}

// pointLocked returns the interval that began at lastAt.
func (h *History) pointLocked(now Snapshot, at time.Time) Point {
	p := pointOf(h.last, now, h.lastAt, at)
	p.Queued = max(h.queued, waiting(now.Workers))
	return p
}

// pointOf returns what happened between two snapshots, without Queued.
func pointOf(from, to Snapshot, start, end time.Time) Point {
	p := Point{Start: start, Seconds: end.Sub(start).Seconds()}
	latency, fetches := make([]int64, len(buckets)+1), make([]int64, len(buckets)+1)
	for d := range imagecache.NumDetails {
		a, b := from.ByCache[d.String()], to.ByCache[d.String()]
		p.ByCache[d] = b.Count - a.Count
		p.Bytes += b.Bytes - a.Bytes
		addGrowth(latency, a.Buckets, b.Buckets)
	}
	for code, n := range to.ByStatus {
		switch n -= from.ByStatus[code]; {
		case strings.HasPrefix(code, "5"):
			p.Status5xx += n
		case strings.HasPrefix(code, "4") && code != "499":
			p.Status4xx += n
		}
	}
	for i, o := range to.Origins {
		var before []int64
		if i < len(from.Origins) {
			before = from.Origins[i].Buckets
		}
		addGrowth(fetches, before, o.Buckets)
	}
	for _, n := range fetches {
		p.Fetches += n
	}
	p.Latency, p.Origin = quantilesOf(latency), quantilesOf(fetches)
	return p
}

// addGrowth adds the growth of each bucket to sum.
func addGrowth(sum, from, to []int64) {
	for i, n := range to {
		if i < len(from) {
			n -= from[i]
		}
		sum[i] += n
	}
}

func quantilesOf(counts []int64) Quantiles {
	return Quantiles{P50: quantile(0.5, counts), P99: quantile(0.99, counts)}
}

// quantile estimates a quantile by linear interpolation within its bucket, as histogram_quantile of Prometheus
// does.
func quantile(q float64, counts []int64) float64 {
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return math.NaN()
	}
	rank, below := q*float64(total), 0.0
	for i, n := range counts[:len(buckets)] {
		if n > 0 && below+float64(n) >= rank {
			low := 0.0
			if i > 0 {
				low = buckets[i-1]
			}
			return low + (rank-below)/float64(n)*(buckets[i]-low)
		}
		below += float64(n)
	}
	return buckets[len(buckets)-1]
}
