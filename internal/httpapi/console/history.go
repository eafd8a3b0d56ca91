package console

import (
	"encoding/json"
	"math"
	"time"
)

// History has columns of one element per interval of the last hour, oldest first. Intervals are 30 s long; the
// last is the current one, so it is shorter. The tier records it from its start on.
type History struct {
	End     time.Time `json:"end"`     // of the last interval; each begins where the one before it ends
	Seconds []float64 `json:"seconds"` // length of the interval

	// Counts within the interval.
	ByCache        map[string][]int64 `json:"by_cache"` // requests, as Requests.ByCache
	Bytes          []int64            `json:"bytes"`    // of bodies
	Status4xx      []int64            `json:"status_4xx"`
	Status5xx      []int64            `json:"status_5xx"`
	OriginRequests []int64            `json:"origin_requests"`

	// Quantiles; null without requests.
	P50Seconds       []Seconds `json:"p50_seconds"` // of all requests
	P99Seconds       []Seconds `json:"p99_seconds"`
	OriginP50Seconds []Seconds `json:"origin_p50_seconds"`
	OriginP99Seconds []Seconds `json:"origin_p99_seconds"`

	QueueJobs []int `json:"queue_jobs"` // the most that waited for a resize process, seen once a second
}

// Seconds is a duration whose JSON is null if it is NaN.
type Seconds float64

// MarshalJSON implements [json.Marshaler].
func (s Seconds) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(s)) {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(float64(s)*1e6) / 1e6)
}
