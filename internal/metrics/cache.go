package metrics

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Kinds of purges.
const (
	purgeVariant  = "variant"
	purgeOriginal = "original"
	purgeTag      = "tag"
	purgeSoft     = "soft"
)

// Cache is what is measured of imagecache.Cache.
type Cache interface {
	Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error)
	Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
}

// Cache returns c, counting purges and requests that joined another's fill.
func (s *Set) Cache(c Cache) Cache { return &cache{c, s} }

type cache struct {
	Cache
	set *Set
}

func (c *cache) Get(ctx context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	ctx, sp := c.set.span(ctx, "cache get")
	img, out, err := c.Cache.Get(ctx, ref)
	if out.Collapsed {
		c.set.coalesced.Inc()
	}
	if sp.Span != nil {
		sp.SetAttributes(
			attribute.String("imagetier.source", ref.Source()),
			attribute.String("imagetier.spec", ref.Spec().Name()),
			attribute.Int("imagetier.bytes", len(img.Body)),
			attribute.Bool("imagetier.collapsed", out.Collapsed),
		)
		sp.end(out.Detail.String(), err != nil)
	}
	return img, out, err
}

func (c *cache) Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	kind := purgeVariant
	if what.Key == (imagecache.Key{}) {
		kind = purgeOriginal
	}
	return c.purge(ctx, kind, what, c.Cache.Purge)
}

func (c *cache) SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return c.purge(ctx, purgeSoft, what, c.Cache.SoftPurge)
}

func (c *cache) purge(ctx context.Context, kind string, what imagecache.Target, purge func(context.Context, imagecache.Target) (imagecache.Receipt, error)) (imagecache.Receipt, error) {
	ctx, sp := c.set.span(ctx, "cache purge", attribute.String("imagetier.kind", kind))
	receipt, err := purge(ctx, what)
	c.set.purges.WithLabelValues(kind).Inc()
	sp.end(kind, err != nil)
	return receipt, err
}

// PurgedByTag counts a purge by tag; those of its originals are counted each besides.
func (s *Set) PurgedByTag() { s.purges.WithLabelValues(purgeTag).Inc() }

// hookOutcomes are what becomes of the webhooks that tell of purges.
var hookOutcomes = []string{"sent", "failed", "expired"}

// PurgeHooks exports what becomes of them, and returns what counts: attempts that were taken
// (sent) or not (failed), and purges that were given up (expired).
func (s *Set) PurgeHooks() func(outcome string) {
	hooks := s.auto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Name: "purge_hooks_total",
		Help: "Attempts to tell the purge hook, by what became of them, and purges that it could not be told of (expired).",
	}, []string{"outcome"})
	for _, outcome := range hookOutcomes {
		hooks.WithLabelValues(outcome)
	}
	return func(outcome string) { hooks.WithLabelValues(oneOf(hookOutcomes, outcome)).Inc() }
}
