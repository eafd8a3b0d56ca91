package server

import (
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
)

// stats adds the current numbers to stats: what GET /v1/stats and the status page show.
func stats(stats console.Stats, set *metrics.Set, ready *readiness) console.Stats {
	snap := set.Snapshot()
	stats.UptimeSeconds = time.Since(stats.Started).Seconds()
	stats.Health, stats.Process = ready.health(), console.ReadProcess()
	stats.Requests = console.Requests{
		Coalesced: snap.Coalesced, ByStatus: snap.ByStatus,
		ByCache: make(map[string]console.CacheRequests), BoundsSeconds: metrics.BucketBounds(),
	}
	for label, r := range snap.ByCache {
		stats.Requests.Total += r.Count
		stats.Requests.Bytes += r.Bytes
		stats.Requests.ByCache[label] = console.CacheRequests{
			Count:   r.Count,
			Bytes:   r.Bytes,
			Seconds: r.Seconds,
			Buckets: r.Buckets,
		}
	}
	for _, t := range snap.Tiers {
		stats.Tiers = append(stats.Tiers, console.Tier{
			Name: t.Name, State: t.State, Bytes: t.Bytes, BudgetBytes: t.Budget, Entries: t.Entries,
			Hits: t.Hits, Misses: t.Misses, Errors: t.Errors, Evictions: t.Evictions,
		})
	}
	for _, o := range snap.Origins {
		breaker := ""
		if o.Breaker >= 0 {
			breaker = [...]string{"closed", "half-open", "open"}[o.Breaker]
		}
		stats.Origins = append(
			stats.Origins,
			console.Origin{Name: o.Name, Breaker: breaker, Requests: o.Requests, Seconds: o.Seconds},
		)
	}
	if w := snap.Workers; w != nil {
		stats.Resize = &console.Resize{Workers: w.Workers, Queue: w.Queued, Restarts: w.Restarts, Jobs: snap.Resizes}
	}
	return stats
}
