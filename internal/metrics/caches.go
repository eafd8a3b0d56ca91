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

// Purger is what an [imagecache.Cache] is purged by.
type Purger interface {
	Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
}

type caches struct {
	*instruments
	coalesced prometheus.Counter
	purges    *prometheus.CounterVec
	countGet  func(imagecache.Image, imagecache.Outcome, error) // a field, since a method value allocates
}

func newCaches(in *instruments) *caches {
	c := &caches{
		instruments: in,
		coalesced: in.counter("coalesced_total",
			"Requests that joined another caller's fill instead of starting one."),
		purges: in.counters("purges_total", "Purges by kind of target, failed ones included.", "kind"),
	}
	c.countGet = func(_ imagecache.Image, out imagecache.Outcome, _ error) {
		if out.Collapsed {
			c.coalesced.Inc()
		}
	}
	for _, kind := range []string{purgeVariant, purgeOriginal, purgeTag, purgeSoft} {
		c.purges.WithLabelValues(kind)
	}
	return c
}

// PurgedByTag counts a purge by tag. The purges of its originals are counted as well, one each.
func (s *caches) PurgedByTag() { s.purges.WithLabelValues(purgeTag).Inc() }

// hookOutcomes are the outcomes of purge webhooks.
var hookOutcomes = []string{"sent", "failed", "expired"}

// PurgeHooks registers the counter of purge webhooks and returns the function that counts: attempts
// that succeeded (sent) or not (failed), and purges that were dropped (expired).
func (s *caches) PurgeHooks() func(outcome string) {
	hooks := s.counters("purge_hooks_total",
		"Attempts to send a purge to the purge hook by outcome; expired counts purges that were given up.", "outcome")
	for _, outcome := range hookOutcomes {
		hooks.WithLabelValues(outcome)
	}
	return func(outcome string) { hooks.WithLabelValues(oneOf(hookOutcomes, outcome)).Inc() }
}

// ObserveGet is the Observe function of an [imagecache.Config]. It makes a span and counts requests that joined another
// request's fill. It allocates nothing if the request is not traced.
func (s *caches) ObserveGet(
	ctx context.Context, ref imageurl.Ref,
) (context.Context, func(imagecache.Image, imagecache.Outcome, error)) {
	ctx, sp := s.span(ctx, "cache get")
	if sp.Span == nil {
		return ctx, s.countGet
	}
	return ctx, s.endGet(sp, ref)
}

// endGet is a function of its own because ref moves to the heap.
func (s *caches) endGet(sp span, ref imageurl.Ref) func(imagecache.Image, imagecache.Outcome, error) {
	return func(img imagecache.Image, out imagecache.Outcome, err error) {
		s.countGet(img, out, err)
		sp.SetAttributes(
			attribute.String("imagetier.source", ref.Source()),
			attribute.String("imagetier.spec", ref.Spec().Name()),
			attribute.Int("imagetier.bytes", len(img.Body)),
			attribute.Bool("imagetier.collapsed", out.Collapsed),
		)
		sp.end(out.Detail.String(), err != nil)
	}
}

// Purger wraps p to count purges. ObserveGet counts the rest of a cache.
func (s *caches) Purger(p Purger) Purger { return &purger{p, s} }

type purger struct {
	Purger
	set *caches
}

func (c *purger) Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	kind := purgeVariant
	if target.Key == (imagecache.Key{}) {
		kind = purgeOriginal
	}
	return c.purge(ctx, kind, target, c.Purger.Purge)
}

func (c *purger) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return c.purge(ctx, purgeSoft, target, c.Purger.SoftPurge)
}

type purgeFunc func(context.Context, imagecache.Target) (imagecache.Receipt, error)

func (c *purger) purge(
	ctx context.Context, kind string, target imagecache.Target, purge purgeFunc,
) (imagecache.Receipt, error) {
	ctx, sp := c.set.span(ctx, "cache purge", attribute.String("imagetier.kind", kind))
	receipt, err := purge(ctx, target)
	c.set.purges.WithLabelValues(kind).Inc()
	sp.end(kind, err != nil)
	return receipt, err
}
