package console

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi"
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
	Tiers    []Tier   `json:"tiers"`
	Origins  []Origin `json:"origins"`
	Resize   *Resize  `json:"resize,omitempty"` // absent without workers
	Prefetch Prefetch `json:"prefetch"`
	Fleet    *Fleet   `json:"fleet,omitempty"` // absent for a node without a fleet
	// Takedowns is the number of originals that are taken down; GET /v1/takedown lists them.
	Takedowns int `json:"takedowns"`

	History      History      `json:"history"`
	TopOriginals TopOriginals `json:"top_originals"`
	// Errors are the last 50 client errors and the last 50 other errors, the newest first.
	Errors []httpapi.RequestError `json:"errors"`
	// Changes are the last 50 purges, takedowns and lifts that this node received, the newest
	// first.
	Changes []httpapi.Change `json:"changes"`
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
	MemoryLimit int64 `json:"memory_limit_bytes"` // of the Go runtime; 0 if it has no limit
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

// Prefetch describes warming: its queue, and how many of the variants made early were used.
type Prefetch struct {
	Available bool `json:"available"` // the queue answers; else the next three are 0
	// QueueJobs are the jobs in the queue, those being worked on included.
	QueueJobs   int     `json:"queue_jobs"`
	LagSeconds  float64 `json:"lag_seconds"`  // age of the oldest of them
	DeadLetters int     `json:"dead_letters"` // jobs that failed for good; GET /v1/warm/dead lists them
	PagePaths   int     `json:"page_paths"`   // paths of pages that wait to be made

	Events map[string]int64 `json:"events"` // by outcome, as prefetch_events_total
	Jobs   map[string]int64 `json:"jobs"`   // by outcome, as prefetch_jobs_total
	Paths  map[string]int64 `json:"paths"`  // by outcome, as prefetch_paths_total

	// MadeVariants counts all variants that were made early. Those that are still watched count
	// neither as used nor as wasted.
	MadeVariants int64  `json:"made_variants"`
	Used         Amount `json:"used"`
	Wasted       Amount `json:"wasted"`
}

// Amount is how much was made.
type Amount struct {
	Variants   int64   `json:"variants"`
	CPUSeconds float64 `json:"cpu_seconds"` // of resize processes
	Bytes      int64   `json:"bytes"`
}

// Fleet describes this node's part of its fleet.
type Fleet struct {
	Node string `json:"node"` // id of this node
	// Unsent are the changes that wait to be sent to the other nodes, and Waiting says why.
	Unsent  int    `json:"unsent"`
	Waiting string `json:"waiting,omitempty"`
	// PendingReceipts are the changes that wait for other nodes to apply them.
	PendingReceipts int `json:"pending_receipts"`
	// PurgesToRepeat failed on this node and will be retried.
	PurgesToRepeat int    `json:"purges_to_repeat"`
	Logs           []Log  `json:"logs"`
	Nodes          []Node `json:"nodes"`
	// Error says why Nodes and the last offsets are unknown.
	Error string `json:"error,omitempty"`
}

// Log is how far this node has applied a replicated log.
type Log struct {
	Name    string `json:"name"`
	Applied uint64 `json:"applied"` // offset of the last entry that was applied
	Last    uint64 `json:"last"`    // offset of the last entry; 0 if unknown
}

// Node is a node of the fleet.
type Node struct {
	ID string `json:"id"`
	// SilentSeconds is how long it has not reported; nodes report every 2 s.
	SilentSeconds float64 `json:"silent_seconds"`
}

// TopOriginals are the most requested originals, the most requested first.
type TopOriginals struct {
	Since     time.Time     `json:"since"` // 30 to 60 minutes ago, or the start
	Originals []TopOriginal `json:"originals"`
}

// TopOriginal is an original. Its counts are estimated from a sample if there are many requests.
type TopOriginal struct {
	Source   string `json:"source"`
	Name     string `json:"name"`
	Requests int64  `json:"requests"`
	Misses   int64  `json:"misses"` // those of them that no cache answered
	Bytes    int64  `json:"bytes"`  // of bodies
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
