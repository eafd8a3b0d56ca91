package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
	"github.com/novasocial/imagetier/imagecache/memtier"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/imagecache/sharedstore/s3store"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/resize/workers"
)

// tiers are the tiers of images.
type tiers struct {
	memory, disk, originals imagecache.Tier // measured
	disks                   []*disktier.Tier
	derived                 imagecache.Tier // measured; nil without --derived
	shared                  *sharedstore.Tier
}

// openTiers opens memory, disk and the kept originals. A disk that cannot be used is no
// error: the tier works without it and says so; one that another process uses is. Disks of another
// generation are emptied.
func openTiers(cfg config.Config, generation string, log *slog.Logger, set *metrics.Set) (*tiers, error) {
	memory, err := memtier.New(memtier.Config{MaxBytes: cfg.MemorySize})
	if err != nil {
		return nil, fmt.Errorf("memory tier: %w", err)
	}
	t := &tiers{memory: set.Tier("memory", memory, memoryStats(memory, cfg.MemorySize))}
	disk := disktier.Config{
		Dir: filepath.Join(cfg.CacheDir, "variants"), MaxBytes: cfg.DiskSize, Generation: generation, Log: log,
	}
	if t.disk, err = t.open("disk", disk, set); err != nil {
		return nil, err
	}
	disk.Dir, disk.MaxBytes = filepath.Join(cfg.CacheDir, "originals"), cfg.OriginalsSize
	if t.originals, err = t.open("originals", disk, set); err != nil {
		return nil, errors.Join(err, t.close())
	}
	return t, nil
}

// share opens the shared store. fleet is nil without a fleet.
func (t *tiers) share(
	ctx context.Context,
	cfg config.Config,
	fleet sharedstore.Fleet,
	log *slog.Logger,
	set *metrics.Set,
) error {
	if !cfg.Derived.Set() {
		return nil
	}
	at := cfg.Derived.URL
	store, err := s3store.New(ctx, s3store.Config{
		Bucket:    at.Bucket,
		Prefix:    at.Prefix,
		Region:    at.Region,
		Endpoint:  at.Endpoint,
		PathStyle: at.PathStyle,
	})
	if err != nil {
		return err
	}
	t.shared, err = sharedstore.New(sharedstore.Config{
		Store: store, Fleet: fleet, Log: log.With("tier", "derived"),
	})
	if err != nil {
		return err
	}
	t.derived = set.Tier("derived", t.shared, derivedStats(t.shared))
	return nil
}

// hold makes the disks misses until ready returns true.
func (t *tiers) hold(ready func() bool) {
	t.disk, t.originals = &heldTier{Tier: t.disk, ready: ready}, &heldTier{Tier: t.originals, ready: ready}
}

// heldTier is a disk of a node in a fleet. What it has from before the start may have been purged while the
// node was down, so it is not read until the node is ready. Not every balancer asks /readyz: nginx sends
// requests as soon as the node listens.
type heldTier struct {
	imagecache.Tier
	ready    func() bool
	released atomic.Bool // ready has returned true
}

// Get implements [imagecache.Tier].
func (t *heldTier) Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error) {
	if !t.released.Load() {
		if !t.ready() {
			return imagecache.Image{}, imagecache.ErrMiss
		}
		t.released.Store(true)
	}
	return t.Tier.Get(ctx, key)
}

// layers are the tiers of variants, fastest first.
func (t *tiers) layers() []imagecache.Layer {
	layers := []imagecache.Layer{{Tier: t.memory, Name: imagecache.Memory}, {Tier: t.disk, Name: imagecache.Disk}}
	if t.derived != nil {
		layers = append(layers, imagecache.Layer{Tier: t.derived, Name: imagecache.Derived, Far: true})
	}
	return layers
}

// derivedStats returns the stats of the shared store. Its contents are not counted;
// bytes and entries are those of the pending writes.
func derivedStats(shared *sharedstore.Tier) func() metrics.TierStats {
	return func() metrics.TierStats {
		s := shared.Stats()
		t := metrics.TierStats{
			Bytes: s.QueuedBytes, Entries: s.QueuedObjects,
			Evictions: map[string]int64{"dropped": s.Dropped, "purged": s.Purged},
			Faults:    map[string]int64{"verify": s.Damaged, "outdated": s.Distrusted},
		}
		if s.Open {
			t.State = "left alone"
		}
		return t
	}
}

func (t *tiers) open(name string, cfg disktier.Config, set *metrics.Set) (imagecache.Tier, error) {
	cfg.Log = cfg.Log.With("tier", name)
	disk, err := disktier.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("%s tier in %s: %w", name, cfg.Dir, err)
	}
	t.disks = append(t.disks, disk)
	return set.Tier(name, disk, diskStats(disk)), nil
}

// run returns the background tasks of the tiers.
func (t *tiers) run() (runs []func(context.Context) error) {
	for _, disk := range t.disks {
		runs = append(runs, disk.Run)
	}
	if t.shared != nil {
		runs = append(runs, t.shared.Run)
	}
	return runs
}

func (t *tiers) close() error {
	var faults []error
	for _, disk := range t.disks {
		faults = append(faults, disk.Close())
	}
	return errors.Join(faults...)
}

// degraded says what is wrong with the disks, as text for users.
func (t *tiers) degraded() (reasons []string) {
	for i, disk := range t.disks {
		if state := disk.Stats().State; state.Degraded() {
			reasons = append(reasons, fmt.Sprintf("%s: %s", [...]string{"disk tier", "originals"}[i], state))
		}
	}
	return reasons
}

func memoryStats(memory *memtier.Tier, budget int64) func() metrics.TierStats {
	return func() metrics.TierStats {
		s := memory.Stats()
		return metrics.TierStats{Bytes: s.Bytes, Budget: budget, Entries: s.Entries, Evictions: s.Evictions}
	}
}

func diskStats(disk *disktier.Tier) func() metrics.TierStats {
	return func() metrics.TierStats {
		s := disk.Stats()
		t := metrics.TierStats{
			Bytes: s.Bytes, Budget: s.Limit, Entries: s.Entries,
			Evictions: map[string]int64{}, Faults: map[string]int64{},
		}
		for reason := range disktier.NumEvictions {
			t.Evictions[reason.String()] = int64(s.Evicted[reason])
		}
		for op := range disktier.NumOps {
			t.Faults[op.String()] = int64(s.Errors[op])
		}
		t.Faults["verify"] = int64(s.Damaged)
		if s.State != disktier.Serving {
			t.State = s.State.String()
		}
		return t
	}
}

func workerStats(pool *workers.Pool) func() metrics.WorkerStats {
	return func() metrics.WorkerStats {
		s := pool.Stats()
		return metrics.WorkerStats{
			Queued:   map[string]int{"live": s.Live, "page": s.Page, "warm": s.Warm},
			Workers:  map[string]int{"starting": s.Starting, "idle": s.Idle, "busy": s.Busy},
			Restarts: s.Restarts,
		}
	}
}
