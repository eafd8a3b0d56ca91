package server

import (
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
)

// stats collects the numbers of GET /v1/stats and the status page.
func (s *Server) stats() console.Stats {
	snap := s.metrics.Snapshot()
	stats := console.Stats{
		Version: s.cfg.Build.Version, Revision: s.cfg.Build.Commit, GoVersion: s.cfg.Build.Go, Dev: s.cfg.Dev,
		Started: s.started, UptimeSeconds: time.Since(s.started).Seconds(),
		Health: s.readiness.health(), Process: console.ReadProcess(),
		Requests: console.Requests{
			Coalesced: snap.Coalesced, ByStatus: snap.ByStatus,
			ByCache: make(map[string]console.CacheRequests), BoundsSeconds: metrics.BucketBounds(),
		},
	}
	for label, r := range snap.ByCache {
		stats.Requests.Total += r.Count
		stats.Requests.Bytes += r.Bytes
		stats.Requests.ByCache[label] = console.CacheRequests{Count: r.Count, Bytes: r.Bytes, Seconds: r.Seconds, Buckets: r.Buckets}
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
		stats.Origins = append(stats.Origins, console.Origin{Name: o.Name, Breaker: breaker, Requests: o.Requests, Seconds: o.Seconds})
	}
	if w := snap.Workers; w != nil {
		stats.Resize = &console.Resize{Workers: w.Workers, Queue: w.Queued, Restarts: w.Restarts, Jobs: snap.Resizes}
	}
	return stats
}
