package console

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
)

// Stats is the response of GET /v1/stats. Counts are since the start of the process and have the
// meaning of the metric with the same name. To get a rate, divide the difference of two responses
// by that of their uptime_seconds. Fields may be added; no field changes its meaning.
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
	// Tiers in lookup order, then the originals' tier.
	Tiers   []Tier   `json:"tiers"`
	Origins []Origin `json:"origins"`
	Resize  *Resize  `json:"resize,omitempty"` // absent without workers
	// Prefetch is what was made early: requested since, or not in time.
	Prefetch Prefetch `json:"prefetch"`
}

// Health is the state that /readyz reports.
type Health struct {
	Status  string   `json:"status"`            // ok, degraded, starting, draining
	Reasons []string `json:"reasons,omitempty"` // why Status is not ok, as text
}

// Process describes this process, without its resize processes.
type Process struct {
	Goroutines  int   `json:"goroutines"`
	RSSBytes    int64 `json:"rss_bytes"`          // 0 if unknown
	MemoryLimit int64 `json:"memory_limit_bytes"` // of the Go runtime; 0 if there is none
}

// Requests counts the requests of the public listener.
type Requests struct {
	Total     int64            `json:"total"`
	Bytes     int64            `json:"bytes"`     // of bodies
	Coalesced int64            `json:"coalesced"` // waited for the fill of another request
	ByStatus  map[string]int64 `json:"by_status"`
	// ByCache has an entry for each cache label of the metrics: memory, disk, derived, original,
	// origin, stale, negative, none.
	ByCache map[string]CacheRequests `json:"by_cache"`
	// BoundsSeconds are the upper bounds of CacheRequests.Buckets.
	BoundsSeconds []float64 `json:"bounds_seconds"`
}

// CacheRequests counts the requests with one cache label.
type CacheRequests struct {
	Count   int64   `json:"count"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"` // sum of their durations
	Buckets []int64 `json:"buckets"` // requests up to each bound and over the one before; the last has the rest
}

// Tier describes one tier.
type Tier struct {
	Name        string           `json:"name"`
	State       string           `json:"state"` // "" if it works
	Bytes       int64            `json:"bytes"`
	BudgetBytes int64            `json:"budget_bytes"` // 0 if unknown
	Entries     int64            `json:"entries"`
	Hits        int64            `json:"hits"`
	Misses      int64            `json:"misses"`
	Errors      int64            `json:"errors"`
	Evictions   map[string]int64 `json:"evictions"` // by reason
}

// Origin describes one source.
type Origin struct {
	Name     string           `json:"name"`
	Breaker  string           `json:"breaker"`  // closed, half-open, open; "" without a breaker
	Requests map[string]int64 `json:"requests"` // by outcome
	Seconds  float64          `json:"seconds"`  // sum of their durations
}

// Resize describes the pool of resize processes.
type Resize struct {
	Workers  map[string]int   `json:"workers"`  // by state
	Queue    map[string]int   `json:"queue"`    // waiting jobs, by priority
	Restarts map[string]int64 `json:"restarts"` // by reason
	Jobs     map[string]int64 `json:"jobs"`     // by outcome
}

// Prefetch counts what was made early.
type Prefetch struct {
	Used   Amount `json:"used"`
	Wasted Amount `json:"wasted"`
}

// Amount is how much was made.
type Amount struct {
	Variants   int64   `json:"variants"`
	CPUSeconds float64 `json:"cpu_seconds"` // of resize processes
	Bytes      int64   `json:"bytes"`
}

// ReadProcess returns the statistics of this process.
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
