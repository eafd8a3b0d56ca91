package imagecache

import (
	"context"
	"errors"
)

// Count returns what Purge would remove from this node, and removes nothing. Kept originals are
// counted in Config.Originals, where the filler keeps its own too.
func (c *Cache) Count(ctx context.Context, target Target) (Receipt, error) {
	if target.Key != (Key{}) {
		target.Key, target.Original = c.marked(target.Key), target.Key.original
	}
	var variants, originals Removed
	var faults []error
	count := func(sum *Removed, layers []Layer) {
		for _, layer := range layers {
			held, err := layer.Tier.Count(ctx, target)
			sum.Merge(held)
			faults = append(faults, err)
		}
	}
	count(&variants, c.layers)
	if target.Key == (Key{}) {
		count(&originals, c.originals)
	}
	return receiptOf(variants, originals), errors.Join(faults...)
}

func receiptOf(variants, originals Removed) Receipt {
	return Receipt{
		Variants: variants.Images, VariantSizes: variants.Sizes,
		Originals: originals.Images, OriginalSizes: originals.Sizes,
		Bytes: variants.Bytes + originals.Bytes,
	}
}
