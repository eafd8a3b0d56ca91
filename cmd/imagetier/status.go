package main

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/resize/workers"
)

// wellbeing is what /readyz answers.
type wellbeing struct {
	pool     *workers.Pool
	tiers    *tiers
	fleet    *fleet
	draining atomic.Bool
}

func (h *wellbeing) drain() { h.draining.Store(true) }

var (
	errDraining = errors.New("draining")
	errStarting = errors.New("starting: no resize process has started yet")
)

// ready returns why no requests should come here. A disk that fails is no reason: the
// tier serves without it.
func (h *wellbeing) ready() error {
	if h.draining.Load() {
		return errDraining
	}
	select {
	case <-h.pool.Ready():
		return h.fleet.ready()
	default:
		return errStarting
	}
}

func (h *wellbeing) status() console.Health {
	switch err := h.ready(); err {
	case nil:
	case errDraining:
		return console.Health{Status: "draining"}
	default:
		return console.Health{Status: "starting", Reasons: []string{err.Error()}}
	}
	if reasons := h.tiers.degraded(); len(reasons) > 0 {
		return console.Health{Status: "degraded", Reasons: reasons}
	}
	return console.Health{Status: "ok"}
}

// status makes the numbers of the status page.
type status struct {
	build   buildInfo
	dev     bool
	started time.Time
	set     *metrics.Set
	health  *wellbeing
}

func (s *status) stats() any {
	snap := s.set.Snapshot()
	stats := console.Stats{
		Version: s.build.Version, Revision: s.build.Commit, GoVersion: s.build.Go, Dev: s.dev,
		Started: s.started, UptimeSeconds: time.Since(s.started).Seconds(),
		Health: s.health.status(), Process: console.ReadProcess(),
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
