package imagecache

import (
	"context"
	"errors"
)

// Purge removes what the target names from every tier; of an original that is every
// variant, and the original itself. When it returns without an error, no Get that
// begins later answers with what was there before. On an error some tier could not say
// that it has removed it: the purge has to be repeated.
func (c *Cache) Purge(ctx context.Context, what Target) (Receipt, error) {
	if what.Key != (Key{}) {
		what.Key, what.Original = c.marked(what.Key), what.Key.original
	}
	soft := c.softs.of(what) // not one that begins after this purge has removed everything
	receipt, err := c.purge(ctx, what, c.layers)
	if err == nil {
		c.softs.forget(soft)
	}
	return receipt, err
}

// purge removes from the filler and from these layers, slowest first: what a faster tier
// could still copy from a slower one is gone by then.
func (c *Cache) purge(ctx context.Context, what Target, layers []Layer) (Receipt, error) {
	var variants, originals Removed
	var faults []error
	add := func(sum *Removed, removed Removed, err error) {
		sum.Merge(removed)
		faults = append(faults, err)
	}
	if what.Key == (Key{}) {
		c.epochs.Move(what.Original)
		removed, err := c.filler.Purge(ctx, what.Original)
		add(&originals, removed, err)
		// A flight that began earlier stores an original before this, or never.
		c.epochs.Move(what.Original)
		for _, layer := range c.originals {
			removed, err := layer.Tier.Purge(ctx, what)
			add(&originals, removed, err)
		}
	}
	for i := len(layers) - 1; i >= 0; i-- {
		c.epochs.Move(what.Original)
		removed, err := layers[i].Tier.Purge(ctx, what)
		add(&variants, removed, err)
	}
	c.epochs.Move(what.Original)
	return Receipt{
		Variants: variants.Images, VariantSizes: variants.Sizes,
		Originals: originals.Images, OriginalSizes: originals.Sizes,
		Bytes: variants.Bytes + originals.Bytes,
	}, errors.Join(faults...)
}
