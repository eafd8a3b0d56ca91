package server

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/prefetch/service"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// statsTime bounds what /v1/stats asks the NATS cluster.
const statsTime = time.Second

// topShown is how many of the most requested originals are shown.
const topShown = 20

// Stats returns a [console.Stats].
func (o *operator) Stats(ctx context.Context) any {
	ctx, cancel := context.WithTimeout(ctx, statsTime)
	defer cancel()
	var (
		asked    sync.WaitGroup
		queue    service.Stats
		together fleet.Stats
	)
	asked.Go(func() { queue = o.Service.Stats(ctx) })
	asked.Go(func() { together = o.fleet.Stats(ctx) })
	snap := o.metrics.Snapshot()
	s := o.start
	s.UptimeSeconds = time.Since(s.Started).Seconds()
	s.Health, s.Process = o.readiness.health(), console.ReadProcess()
	addSnapshot(&s, snap)
	s.History = historyOf(o.history.Points(snap))
	s.TopOriginals = topOf(o.metrics.TopOriginals(topShown))
	s.Takedowns = o.state.TakedownCount()
	s.Errors = append(s.Errors, o.errors.Newest()...)
	s.Changes = append(s.Changes, o.changes.Newest()...)
	asked.Wait()
	s.Prefetch = prefetchOf(queue, snap.Prefetch)
	if !together.Alone {
		s.Fleet = fleetOf(together)
	}
	return s
}

// addSnapshot adds the numbers of the metrics to stats.
func addSnapshot(stats *console.Stats, snap metrics.Snapshot) {
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
		stats.Origins = append(stats.Origins, console.Origin{
			Name: o.Name, Breaker: o.Breaker, Requests: o.Requests, Seconds: o.Seconds,
		})
	}
	if w := snap.Workers; w != nil {
		stats.Resize = &console.Resize{Workers: w.Workers, Queue: w.Queued, Restarts: w.Restarts, Jobs: snap.Resizes}
	}
}

func historyOf(points []metrics.Point) console.History {
	h := console.History{End: time.Now().UTC(), ByCache: make(map[string][]int64)}
	for _, p := range points {
		h.Seconds = append(h.Seconds, math.Round(p.Seconds*1e3)/1e3)
		for d := range imagecache.NumDetails {
			h.ByCache[d.String()] = append(h.ByCache[d.String()], p.ByCache[d])
		}
		h.Bytes = append(h.Bytes, p.Bytes)
		h.Status4xx = append(h.Status4xx, p.Status4xx)
		h.Status5xx = append(h.Status5xx, p.Status5xx)
		h.OriginRequests = append(h.OriginRequests, p.Fetches)
		h.P50Seconds = append(h.P50Seconds, console.Seconds(p.Latency.P50))
		h.P99Seconds = append(h.P99Seconds, console.Seconds(p.Latency.P99))
		h.OriginP50Seconds = append(h.OriginP50Seconds, console.Seconds(p.Origin.P50))
		h.OriginP99Seconds = append(h.OriginP99Seconds, console.Seconds(p.Origin.P99))
		h.QueueJobs = append(h.QueueJobs, p.Queued)
	}
	return h
}

func topOf(top []metrics.TopOriginal, since time.Time) console.TopOriginals {
	all := console.TopOriginals{Since: since.UTC(), Originals: []console.TopOriginal{}}
	for _, t := range top {
		all.Originals = append(all.Originals, console.TopOriginal{
			Source: t.Original.Source, Name: t.Original.Name, Requests: t.Requests, Misses: t.Misses, Bytes: t.Bytes,
		})
	}
	return all
}

func prefetchOf(s service.Stats, counts metrics.PrefetchCounts) console.Prefetch {
	return console.Prefetch{
		Available: s.Available, QueueJobs: s.Waiting, LagSeconds: s.Lag.Seconds(), DeadLetters: s.DeadLetters,
		PagePaths: s.PagePaths, Events: counts.Events, Jobs: counts.Jobs, Paths: counts.Paths,
		MadeVariants: s.Made, Used: amountOf(s.Used), Wasted: amountOf(s.Wasted),
	}
}

func amountOf(a warmer.Amount) console.Amount {
	return console.Amount{Variants: a.Variants, CPUSeconds: a.CPU.Seconds(), Bytes: a.Bytes}
}

func fleetOf(s fleet.Stats) *console.Fleet {
	f := &console.Fleet{
		Node: s.Node, Unsent: s.Unsent, Waiting: s.Waiting, PendingReceipts: s.Pending, PurgesToRepeat: s.Owed,
		Nodes: []console.Node{},
	}
	for _, l := range s.Logs {
		f.Logs = append(f.Logs, console.Log(l))
	}
	for _, m := range s.Members {
		f.Nodes = append(f.Nodes, console.Node{ID: m.ID, SilentSeconds: m.Silent.Seconds()})
	}
	if s.Err != nil {
		f.Error = s.Err.Error()
	}
	return f
}
