package console

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// Stats is the answer of GET /v1/stats. Counts are since the start of the process, and
// what they are of is what the metric of the same name says; rates are for the reader to
// make, over uptime_seconds. New fields may come; none changes its meaning.
type Stats struct {
	Version       string    `json:"version"`
	Revision      string    `json:"revision"`
	GoVersion     string    `json:"go_version"`
	Dev           bool      `json:"dev"`
	Started       time.Time `json:"started"`
	UptimeSeconds float64   `json:"uptime_seconds"`

	Health   Health   `json:"health"`
	Process  Process  `json:"process"`
	Requests Requests `json:"requests"`
	// Tiers in the order in which they are looked in, then the originals'.
	Tiers   []Tier   `json:"tiers"`
	Origins []Origin `json:"origins"`
	Resize  *Resize  `json:"resize,omitempty"` // absent: no workers
}

// Health is what /readyz says.
type Health struct {
	Status  string   `json:"status"`            // ok, degraded, starting, draining
	Reasons []string `json:"reasons,omitempty"` // why not ok, for people
}

// Process is this process without its resize processes. Bytes.
type Process struct {
	Goroutines  int   `json:"goroutines"`
	RSSBytes    int64 `json:"rss_bytes"`          // 0: the system does not say
	MemoryLimit int64 `json:"memory_limit_bytes"` // of the Go runtime; 0: none
}

// Requests are those of the public listener.
type Requests struct {
	Total     int64            `json:"total"`
	Bytes     int64            `json:"bytes"`     // of bodies
	Coalesced int64            `json:"coalesced"` // joined another's fill
	ByStatus  map[string]int64 `json:"by_status"`
	// ByCache has every label of the metrics: memory disk derived original origin stale
	// negative none.
	ByCache map[string]CacheRequests `json:"by_cache"`
	// BoundsSeconds are the upper bounds of CacheRequests.Buckets.
	BoundsSeconds []float64 `json:"bounds_seconds"`
}

// CacheRequests are the requests of one cache label.
type CacheRequests struct {
	Count   int64   `json:"count"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // sum of their durations
	Buckets []int64 `json:"buckets"` // how many within each bound and above the one before; then those beyond
}

// Tier is one tier.
type Tier struct {
	Name        string           `json:"name"`
	State       string           `json:"state"` // "" is well
	Bytes       int64            `json:"bytes"`
	BudgetBytes int64            `json:"budget_bytes"` // 0: unknown
	Entries     int64            `json:"entries"`
	Hits        int64            `json:"hits"`
	Misses      int64            `json:"misses"`
	Errors      int64            `json:"errors"`
	Evictions   map[string]int64 `json:"evictions"` // by reason
}

// Origin is one source.
type Origin struct {
	Name     string           `json:"name"`
	Breaker  string           `json:"breaker"`  // closed, half-open, open; "": there is none
	Requests map[string]int64 `json:"requests"` // by outcome
	Seconds  float64          `json:"seconds"`  // sum of their durations
}

// Resize is the pool of resize processes and what it made.
type Resize struct {
	Workers  map[string]int   `json:"workers"`  // by state
	Queue    map[string]int   `json:"queue"`    // waiting, by lane
	Restarts map[string]int64 `json:"restarts"` // by reason
	Jobs     map[string]int64 `json:"jobs"`     // by outcome
}

// ReadProcess returns the numbers of this process.
func ReadProcess() Process {
	p := Process{Goroutines: runtime.NumGoroutine()}
	if limit := debug.SetMemoryLimit(-1); limit < 1<<62 {
		p.MemoryLimit = limit
	}
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil { // size resident shared …, in pages
		if fields := bytes.Fields(statm); len(fields) > 1 {
			pages, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			p.RSSBytes = pages * int64(os.Getpagesize())
		}
	}
	return p
}
