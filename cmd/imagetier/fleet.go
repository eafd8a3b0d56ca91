package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/novasocial/imagetier/cmd/imagetier/internal/bus"
	"github.com/novasocial/imagetier/cmd/imagetier/internal/config"
	"github.com/novasocial/imagetier/cmd/imagetier/internal/measure"
	"github.com/novasocial/imagetier/cmd/imagetier/internal/purgelog"
	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/derived"
	"github.com/novasocial/imagetier/imagecache/takedown"
)

// fleet is what makes this node one of several. Without --nats there is none: purges and
// takedowns are then this node's own, and need no queue.
type fleet struct {
	node  *purgelog.Node // nil: this node is alone
	cache measure.Cache
	down  *takedown.List
}

// openFleet comes before the tiers are opened: it may have to empty them.
func openFleet(ctx context.Context, cfg config.Config, log *slog.Logger) (*fleet, error) {
	if cfg.NATS == "" {
		return &fleet{}, nil
	}
	node, err := purgelog.Open(ctx, purgelog.Config{
		Dir: filepath.Join(cfg.CacheDir, "purges"), URL: cfg.NATS, Log: log,
		Empty: func() error {
			return errors.Join(os.RemoveAll(filepath.Join(cfg.CacheDir, "variants")), os.RemoveAll(filepath.Join(cfg.CacheDir, "originals")))
		},
	})
	return &fleet{node: node}, err
}

// position is for the derived store; nil where this node is alone.
func (f *fleet) position() func() derived.Position {
	if f.node == nil {
		return nil
	}
	return f.node.Position
}

// over returns the cache whose purges reach every node.
func (f *fleet) over(cache measure.Cache, down *takedown.List) measure.Cache {
	f.cache, f.down = cache, down
	if f.node == nil {
		return cache
	}
	return &everywhere{cache, f.node}
}

// use comes before anything runs.
func (f *fleet) use(b *bus.Bus, shared *derived.Tier) {
	if f.node != nil {
		f.node.Use(purgelog.Parts{Bus: b, Cache: f.cache, Down: f.down, Shared: shared})
	}
}

func (f *fleet) takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	if f.node != nil {
		return f.node.Takedown(ctx, of)
	}
	return takeDown(f.down, f.cache)(ctx, of)
}

func (f *fleet) lift(of imagecache.Original) (bool, error) {
	if f.node != nil {
		return f.node.Lift(of)
	}
	return f.down.Lift(of)
}

// ready returns why this node may not serve: it may hold what others have purged.
func (f *fleet) ready() error {
	if f.node == nil {
		return nil
	}
	return f.node.Ready()
}

func (f *fleet) run() []func(context.Context) error {
	if f.node == nil {
		return nil
	}
	return []func(context.Context) error{f.node.Run}
}

func (f *fleet) close() error {
	if f.node == nil {
		return nil
	}
	return f.node.Close()
}

// everywhere is a Cache that is purged on all nodes.
type everywhere struct {
	measure.Cache
	node *purgelog.Node
}

func (c *everywhere) Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.node.Purge(ctx, what)
}

func (c *everywhere) SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.node.SoftPurge(ctx, what)
}
