package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/imagecache/takedown"
	"github.com/novasocial/imagetier/internal/config"
	"github.com/novasocial/imagetier/internal/httpapi/admin"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/purgehook"
	"github.com/novasocial/imagetier/internal/purgelog"
)

// fleet is what makes this node one of several. Without --nats there is none: purges and
// takedowns are then this node's own, and need no queue.
type fleet struct {
	node  *purgelog.Node // nil: this node is alone
	cache metrics.Cache
	down  *takedown.List
	hooks *hooks // nil: nobody is told of purges
}

// openFleet comes before the tiers are opened: it may have to empty them.
func openFleet(ctx context.Context, cfg config.Config, log *slog.Logger, hooks *hooks) (*fleet, error) {
	if cfg.NATS == "" {
		return &fleet{hooks: hooks}, nil
	}
	node, err := purgelog.Open(ctx, purgelog.Config{
		Dir: filepath.Join(cfg.CacheDir, "purges"), URL: cfg.NATS, Hooked: hooks != nil, Log: log,
		Empty: func() error {
			return errors.Join(os.RemoveAll(filepath.Join(cfg.CacheDir, "variants")), os.RemoveAll(filepath.Join(cfg.CacheDir, "originals")))
		},
	})
	return &fleet{node: node, hooks: hooks}, err
}

// position is for the derived store; nil where this node is alone.
func (f *fleet) position() func() sharedstore.Position {
	if f.node == nil {
		return nil
	}
	return f.node.Position
}

// over returns the cache whose purges reach every node, and who is to be told of them.
func (f *fleet) over(cache metrics.Cache, down *takedown.List) metrics.Cache {
	f.cache, f.down = cache, down
	if f.node == nil {
		return f.hooks.over(cache)
	}
	return &everywhere{cache, f.node}
}

// use comes before anything runs.
func (f *fleet) use(b *jetstream.Bus, shared *sharedstore.Tier) {
	f.hooks.use(b)
	if f.node != nil {
		f.node.Use(purgelog.Parts{Bus: b, Cache: f.cache, Down: f.down, Shared: shared})
	}
}

func (f *fleet) takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	if f.node != nil {
		return f.node.Takedown(ctx, of)
	}
	what := imagecache.Target{Original: of}
	return f.hooks.around(ctx, orderOf(purgehook.Purge, purgehook.Takedown, what), func() (imagecache.Receipt, error) {
		// Marked first and removed then: what is asked for in between is not made again.
		if _, err := f.down.Add(of); err != nil {
			return imagecache.Receipt{}, err
		}
		return f.cache.Purge(ctx, what)
	})
}

func (f *fleet) lift(ctx context.Context, of imagecache.Original) (receipt imagecache.Receipt, lifted bool, err error) {
	if f.node != nil {
		lifted, err = f.node.Lift(of)
		return receipt, lifted, err
	}
	if !f.down.Has(of) {
		return receipt, false, nil
	}
	order := orderOf(purgehook.Purge, purgehook.Lift, imagecache.Target{Original: of})
	receipt, err = f.hooks.around(ctx, order, func() (_ imagecache.Receipt, err error) {
		lifted, err = f.down.Lift(of)
		return imagecache.Receipt{}, err
	})
	return receipt, lifted, err
}

// takedowns returns at most limit takedowns behind an original, sorted by source and name.
func (f *fleet) takedowns(after imagecache.Original, limit int) (page []admin.Takedown) {
	for of, since := range f.down.Since() {
		page = append(page, admin.Takedown{Original: of, Since: since})
	}
	compare := func(a, b imagecache.Original) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Name, b.Name))
	}
	page = slices.DeleteFunc(page, func(t admin.Takedown) bool { return compare(t.Original, after) <= 0 })
	slices.SortFunc(page, func(a, b admin.Takedown) int { return compare(a.Original, b.Original) })
	return page[:min(limit, len(page))]
}

// ready returns why this node may not serve: it may hold what others have purged.
func (f *fleet) ready() error {
	if f.node == nil {
		return nil
	}
	return f.node.Ready()
}

func (f *fleet) run() []func(context.Context) error {
	parts := f.hooks.run()
	if f.node != nil {
		parts = append(parts, f.node.Run)
	}
	return parts
}

func (f *fleet) close() error {
	if f.node == nil {
		return nil
	}
	return f.node.Close()
}

// everywhere is a Cache that is purged on all nodes.
type everywhere struct {
	metrics.Cache
	node *purgelog.Node
}

func (c *everywhere) Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.node.Purge(ctx, what)
}

func (c *everywhere) SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.node.SoftPurge(ctx, what)
}
