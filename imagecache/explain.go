package imagecache

import (
	"context"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/resize"
)

// Held is one answer that a Cache has for a Ref.
type Held struct {
	// Where is the tier (Memory, Disk, Derived). FromOriginal is the original that the
	// variant can be made from without asking the origin; Negative is a refusal that is
	// repeated instead of asking again.
	Where Detail
	Key   Key           // what it is kept under: the original's own for FromOriginal
	Image Image         // without its Body; the zero Image for Negative
	Bytes int64         // of Body
	TTL   time.Duration // how much longer it is fresh; negative: how long it has been stale; Pinned: PinnedTTL
	// StaleIfError is how long it may be served after its freshness if revalidation fails.
	StaleIfError time.Duration
	// SoftPurged says that a soft purge made it stale, although Image.Fresh says otherwise.
	SoftPurged bool
	// Err is the refusal if Where is Negative; otherwise the fault because of which the tier could
	// not be read.
	Err error
}

// Explain returns everything that the cache has for ref, in the order in which Get would find
// it. ref's format is a concrete one. Nothing is made or copied between tiers, but a tier
// counts it as a read.
func (c *Cache) Explain(ctx context.Context, ref imageurl.Ref) []Held {
	key := c.marked(KeyOf(ref))
	now := c.now()
	var all []Held
	look := func(layer Layer, where Detail, key Key) {
		img, err := layer.Tier.Get(ctx, key)
		if err == ErrMiss {
			return
		}
		held := Held{Where: where, Key: key, Err: err}
		if err == nil {
			held.Bytes = int64(len(img.Body))
			var state freshnessState
			held.TTL, state = img.Fresh.at(now)
			held.StaleIfError = img.Fresh.staleIfError(c.onError)
			if since, soft := c.softs.stale(key); soft && state == fresh && where != FromOriginal {
				held.TTL, held.SoftPurged = since.Sub(now), true
			}
			img.Body = nil
			held.Image = img
		}
		all = append(all, held)
	}
	for _, layer := range c.layersOf(ref) {
		look(layer, layer.Name, key)
	}
	if n, ok := c.negatives.get(key, c.epochs.Of(key.original), now); ok {
		all = append(all, Held{Where: Negative, Key: key, TTL: n.left, Err: n.err})
	}
	if ref.Spec().Shape == resize.ShapeOriginal {
		return all
	}
	if orig, err := ref.WithSpec(resize.Spec{Shape: resize.ShapeOriginal}); err == nil {
		for _, layer := range c.originals {
			look(layer, FromOriginal, KeyOf(orig))
		}
	}
	return all
}
