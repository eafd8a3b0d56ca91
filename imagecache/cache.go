package imagecache

import (
	"context"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// A Filler makes what no tier holds. imagecache/fill is the one that there is.
type Filler interface {
	// Fill makes the Image that ref names. stale is nil, or what the cache holds and
	// may no longer serve: then Fill may find that it still holds, and return it with
	// new freshness and NotModified set. The error wraps a sentinel of origin or resize.
	Fill(ctx context.Context, ref imageurl.Ref, stale *Image) (Filled, error)
}

// Filled is what a Filler made.
type Filled struct {
	Image       Image
	Detail      Detail // Origin or Kept
	Status      int    // what the origin answered, 0 if it was not asked
	NoStore     bool   // answer it, keep it nowhere
	NotModified bool   // Image is stale's, with new freshness
}

// Cache serves Images from its tiers, fastest first, and has each that is missing made
// once however many ask for it.
type Cache struct{}

// Get returns the image that ref names, making it if no tier holds it. ref is a variant,
// an original or info; its Spec is of a concrete format (Spec.Resolve).
//
// The error wraps a sentinel of origin or resize, or ctx's error if the caller left
// first; Outcome is valid with an error too.
func (c *Cache) Get(ctx context.Context, ref imageurl.Ref) (Image, Outcome, error) {
	panic("being written")
}
