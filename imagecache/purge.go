package imagecache

import (
	"context"
	"errors"
)

// Purge removes the target from every tier: one variant, or an original with all its variants. When
// it returns without an error, no Get that begins later returns an image from before the purge.
// After an error some tier may still have the image: the purge has to be repeated.
func (c *Cache) Purge(ctx context.Context, target Target) (Receipt, error) {
	if target.Key != (Key{}) {
		target.Key, target.Original = c.marked(target.Key), target.Key.original
	}
	soft := c.softs.of(target) // except fills that begin after this purge has removed everything
	receipt, err := c.purge(ctx, target, c.layers)
	if err == nil {
		c.softs.forget(soft)
	}
	return receipt, err
}

// purge removes the target from the filler and from these layers, slowest first, so that a faster
// tier cannot copy it from a slower one again.
func (c *Cache) purge(ctx context.Context, target Target, layers []Layer) (Receipt, error) {
	var variants, originals Removed
	var faults []error
	add := func(sum *Removed, removed Removed, err error) {
		sum.Merge(removed)
		faults = append(faults, err)
	}
	if target.Key == (Key{}) {
		c.epochs.Move(target.Original)
		removed, err := c.filler.Purge(ctx, target.Original)
		add(&originals, removed, err)
		// A flight that began earlier stores an original before this, or never.
		c.epochs.Move(target.Original)
		for _, layer := range c.originals {
			removed, err := layer.Tier.Purge(ctx, target)
			add(&originals, removed, err)
		}
	}
	for i := len(layers) - 1; i >= 0; i-- {
		c.epochs.Move(target.Original)
		removed, err := layers[i].Tier.Purge(ctx, target)
		add(&variants, removed, err)
	}
	c.epochs.Move(target.Original)
	return receiptOf(variants, originals), errors.Join(faults...)
}
