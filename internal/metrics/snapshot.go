package metrics

import (
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/novasocial/imagetier/imagecache"
)

// Snapshot is the numbers of a Set for people: what the status page shows. Counts are
// since the start of the process.
type Snapshot struct {
	ByStatus  map[string]int64    // requests
	ByCache   map[string]Requests // requests, by where their answers came from; every Detail is there
	Coalesced int64               // requests that joined another's fill
	Tiers     []TierSnapshot      // in the order in which the Set was given them
	Origins   []OriginSnapshot    // likewise
	Workers   *WorkerStats        // nil: there are no workers
	Resizes   map[string]int64    // variants that were to be made, by outcome
}

// Requests are those of one cache label.
type Requests struct {
	Count   int64
	Bytes   int64   // of bodies
	Seconds float64 // sum of their durations
	// Buckets are how many took at most as long as BucketBounds says, each for itself
	// (not cumulative); one more counts those beyond the last bound.
	Buckets []int64
}

// BucketBounds returns the upper bounds of Requests.Buckets, in seconds.
func BucketBounds() []float64 { return append([]float64(nil), buckets...) }

// TierSnapshot is one tier.
type TierSnapshot struct {
	Name                 string
	Hits, Misses, Errors int64 // Errors: those of callers and Faults
	TierStats
}

// OriginSnapshot is one origin.
type OriginSnapshot struct {
	Name     string
	Breaker  int              // BreakerClosed, BreakerHalfOpen, BreakerOpen; -1: there is none
	Requests map[string]int64 // by outcome, those that occurred
	Seconds  float64          // sum of their durations
}

// seen is what has been wrapped.
type seen struct {
	mu       sync.Mutex
	tiers    []*tier
	sources  []*source
	breakers map[string]func() int
	workers  func() WorkerStats
}

func (n *seen) addTier(t *tier) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range n.tiers {
		if other.name == t.name {
			panic(fmt.Sprintf("measure: there are two tiers %q", t.name))
		}
	}
	n.tiers = append(n.tiers, t)
}

func (n *seen) addSource(s *source) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, other := range n.sources {
		if other.name == s.name {
			panic(fmt.Sprintf("measure: there are two sources %q", s.name))
		}
	}
	n.sources = append(n.sources, s)
}

func (n *seen) addBreaker(source string, state func() int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.breakers == nil {
		n.breakers = make(map[string]func() int)
	}
	n.breakers[source] = state
}

func (n *seen) setWorkers(stats func() WorkerStats) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.workers = stats
}

func (n *seen) allTiers() []*tier {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.tiers[:len(n.tiers):len(n.tiers)]
}

// Snapshot reads the Set. The numbers are not of one moment: requests that end while it
// reads may be in one of them and not in another.
func (s *Set) Snapshot() Snapshot {
	s.seen.mu.Lock()
	sources, workers := s.seen.sources[:len(s.seen.sources):len(s.seen.sources)], s.seen.workers
	breakers := make(map[string]func() int, len(s.seen.breakers))
	for name, state := range s.seen.breakers {
		breakers[name] = state
	}
	s.seen.mu.Unlock()

	snap := Snapshot{
		ByStatus:  make(map[string]int64),
		ByCache:   make(map[string]Requests),
		Coalesced: count(s.coalesced),
		Resizes:   make(map[string]int64),
	}
	s.readRequests(&snap)
	for _, t := range s.seen.allTiers() {
		one := TierSnapshot{Name: t.name, Hits: count(t.hits), Misses: count(t.misses)}
		stats, faults := t.read()
		one.TierStats = stats
		for _, n := range faults {
			one.Errors += n
		}
		snap.Tiers = append(snap.Tiers, one)
	}
	for _, src := range sources {
		one := OriginSnapshot{Name: src.name, Breaker: -1, Requests: make(map[string]int64)}
		for label, c := range src.outcomes {
			if n := count(c); n > 0 {
				one.Requests[label] = n
			}
		}
		if h := read(src.duration.(prometheus.Metric)).GetHistogram(); h != nil {
			one.Seconds = h.GetSampleSum()
		}
		if state := breakers[src.name]; state != nil {
			one.Breaker = state()
		}
		snap.Origins = append(snap.Origins, one)
	}
	if workers != nil {
		stats := workers()
		snap.Workers = &stats
	}
	for label, n := range byLabel(s.resizes, "outcome") {
		snap.Resizes[label] = n
	}
	return snap
}

func (s *Set) readRequests(snap *Snapshot) {
	for i := range s.requests.counters {
		n := int64(0)
		for d := range s.requests.counters[i] {
			for f := range s.requests.counters[i][d] {
				if c := s.requests.counters[i][d][f].Load(); c != nil {
					n += count(*c)
				}
			}
		}
		if n > 0 {
			snap.ByStatus[statusLabel(i)] = n
		}
	}
	for d := range imagecache.NumDetails {
		h := read(s.durations[d].(prometheus.Metric)).GetHistogram()
		one := Requests{
			Count:   int64(h.GetSampleCount()),
			Bytes:   count(s.answered[d]),
			Seconds: h.GetSampleSum(),
			Buckets: make([]int64, 0, len(buckets)+1),
		}
		below := uint64(0)
		for _, b := range h.GetBucket() {
			one.Buckets = append(one.Buckets, int64(b.GetCumulativeCount()-below))
			below = b.GetCumulativeCount()
		}
		one.Buckets = append(one.Buckets, int64(h.GetSampleCount()-below))
		snap.ByCache[d.String()] = one
	}
}

// byLabel sums the counters of vec by the value of one label; values of 0 are left out.
func byLabel(vec *prometheus.CounterVec, label string) map[string]int64 {
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

func count(c prometheus.Counter) int64 { return int64(read(c).GetCounter().GetValue()) }

// read returns what a metric holds. It cannot fail for those of this package.
func read(m prometheus.Metric) *dto.Metric {
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		panic(err)
	}
	return &out
}
