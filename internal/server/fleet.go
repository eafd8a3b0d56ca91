package server

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/prefetch/warmer"
)

// openState reads the state of this node in its fleet, and empties the tiers if purges were missed.
func openState(ctx context.Context, cfg config.Config, log *slog.Logger) (*fleet.State, error) {
	dir := cfg.CacheDir
	open := fleet.StateConfig{Dir: dir, Log: log, Empty: func() error {
		return errors.Join(os.RemoveAll(filepath.Join(dir, "variants")), os.RemoveAll(filepath.Join(dir, "originals")))
	}}
	if cfg.NATS != "" {
		open.Peek = func(ctx context.Context) (jetstream.LogState, error) {
			return jetstream.PeekLog(ctx, cfg.NATS, jetstream.Purges)
		}
	}
	state, err := fleet.OpenState(ctx, open)
	if err != nil {
		return nil, err
	}
	if err := state.Fault(); err != nil {
		log.Warn("takedown list is read-only until the disk can be written; existing takedowns still hold", "err", err)
	}
	return state, nil
}

// purgesOf is what this node knows of the log of purges; nil for a node without a fleet.
func purgesOf(cfg config.Config, state *fleet.State) sharedstore.Fleet {
	if cfg.NATS == "" {
		return nil
	}
	return state
}

// openBus prepares the connection to the queue and the logs; it starts nothing.
func openBus(cfg config.Config, log *slog.Logger) (*jetstream.Bus, error) {
	bus := jetstream.Config{
		Dir: filepath.Join(cfg.CacheDir, "queue"), URL: cfg.NATS, Replicas: cfg.StreamReplicas, Log: log,
	}
	if cfg.NATS == "" {
		// No other process takes over the jobs of a killed one, so they may be redelivered soon.
		bus.AckWait = 5 * time.Second
	}
	return jetstream.New(bus)
}

// openFleet makes the node that replicates over the bus.
func openFleet(
	cfg config.Config, node fleet.Config, bus *jetstream.Bus, tiers *tiers, set *metrics.Set,
) (_ *fleet.Node, err error) {
	node.Alone = cfg.NATS == ""
	if tiers.shared != nil {
		node.Shared = tiers.shared
	}
	if cfg.PurgeHook != "" {
		node.Hook, err = fleet.NewHook(fleet.HookConfig{
			URL: cfg.PurgeHook, Secrets: cfg.PurgeSecrets, Observe: set.PurgeHooks(), Log: node.Log,
		})
		if err != nil {
			return nil, err
		}
	}
	if !node.Alone || node.Hook != nil {
		node.Cluster = bus
	}
	return fleet.New(node), nil
}

// fleetStats returns the statistics of a node for metrics.
func fleetStats(node *fleet.Node) func() metrics.FleetStats {
	return func() metrics.FleetStats {
		now := node.LocalStats()
		s := metrics.FleetStats{Unsent: now.Unsent, Owed: now.Owed, Applied: make(map[string]uint64, len(now.Logs))}
		for _, log := range now.Logs {
			s.Applied[log.Name] = log.Applied
		}
		return s
	}
}

// replicatedCache is the cache of this node; its purges reach every node, and are counted on each.
type replicatedCache struct {
	*imagecache.Cache
	node *fleet.Node
}

// Purge removes a target from all nodes.
func (c replicatedCache) Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return c.node.Purge(ctx, target)
}

// SoftPurge makes a target stale on all nodes.
func (c replicatedCache) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return c.node.SoftPurge(ctx, target)
}

// replicatedTags are the tags that the fleet has learned.
type replicatedTags struct{ *fleet.Node }

// Knows reports whether this node knows a tag of an original, or that the tag has ended.
func (t replicatedTags) Knows(tag warmer.Tagged) bool { return t.Node.Knows(fleet.Pair(tag)) }

// Take stores the tags of an event on every node.
func (t replicatedTags) Take(ctx context.Context, learn []warmer.Tagged, end []string) error {
	pairs := make([]fleet.Pair, len(learn))
	for i, l := range learn {
		pairs[i] = fleet.Pair(l)
	}
	return t.Node.Take(ctx, pairs, end)
}
