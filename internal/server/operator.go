package server

import (
	"context"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi/admin"
	"github.com/novasocial/imagetier/prefetch/service"
)

// operator is the [admin.Operator] of a node.
type operator struct {
	*service.Service // is its Intake and its Warmer
	server           *Server
}

// Explain returns what this node holds of a variant.
func (o *operator) Explain(ctx context.Context, ref imageurl.Ref) []imagecache.Held {
	return o.server.local.Explain(ctx, ref)
}

// Info returns the facts about an original.
func (o *operator) Info(ctx context.Context, ref imageurl.Ref) (imagecache.Image, error) {
	img, _, err := o.server.cache.Get(ctx, ref)
	return img, err
}

// Ready returns why this node is not ready.
func (o *operator) Ready() error { return o.server.readiness.err() }

// Stats returns a [console.Stats].
func (o *operator) Stats() any { return o.server.stats() }

// Purge removes a target from all nodes.
func (o *operator) Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return o.server.cache.Purge(ctx, target)
}

// SoftPurge makes a target stale on all nodes.
func (o *operator) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return o.server.cache.SoftPurge(ctx, target)
}

// Takedown takes an original down on all nodes.
func (o *operator) Takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	return o.server.fleet.takedown(ctx, of)
}

// Lift ends a takedown on all nodes.
func (o *operator) Lift(ctx context.Context, of imagecache.Original) (imagecache.Receipt, bool, error) {
	return o.server.fleet.lift(ctx, of)
}

// Takedowns returns a page of takedowns.
func (o *operator) Takedowns(after imagecache.Original, limit int) []admin.Takedown {
	return o.server.fleet.takedowns(after, limit)
}

// Tagged returns the originals with a tag, and counts a purge by tag.
func (o *operator) Tagged(tag string) []imagecache.Original {
	o.server.metrics.PurgedByTag()
	return o.server.tags.Of(tag)
}
