package server

import (
	"context"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/fleet"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/admin"
	"github.com/novasocial/imagetier/internal/httpapi/console"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/sources"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/service"
)

// operator is the [admin.Operator] of a node.
type operator struct {
	*service.Service // is its Intake and its Warmer

	local     *imagecache.Cache
	cache     replicatedCache
	fleet     *fleet.Node
	state     *fleet.State
	listers   map[string]sources.Lister
	metrics   *metrics.Set
	history   *metrics.History
	errors    *httpapi.RecentErrors
	changes   *httpapi.RecentChanges
	readiness *readiness
	start     console.Stats // with the fields that never change, and no errors and changes
}

// operator returns what the private API stands on, once all other parts are open.
func (s *Server) operator(errors *httpapi.RecentErrors, changes *httpapi.RecentChanges) *operator {
	return &operator{
		Service: s.prefetch, local: s.local, cache: s.cache, fleet: s.fleet, state: s.state, metrics: s.metrics,
		listers: s.sources.Listers, history: s.history, errors: errors, changes: changes, readiness: s.readiness,
		start: console.Stats{
			Version: s.cfg.Build.Version, Revision: s.cfg.Build.Commit, GoVersion: s.cfg.Build.Go,
			Dev: s.cfg.Dev, Started: s.started,
			Errors: []httpapi.RequestError{}, Changes: []httpapi.Change{},
		},
	}
}

// Explain returns what this node holds of a variant.
func (o *operator) Explain(ctx context.Context, ref imageurl.Ref) []imagecache.Held {
	return o.local.Explain(ctx, ref)
}

// TakenDown reports whether an original is taken down.
func (o *operator) TakenDown(of imagecache.Original) bool { return o.state.TakenDown(of) }

// Info returns the facts about an original.
func (o *operator) Info(ctx context.Context, ref imageurl.Ref) (imagecache.Image, error) {
	img, _, err := o.cache.Get(ctx, ref)
	return img, err
}

// listTime bounds the listing of a source.
const listTime = 10 * time.Second

// List returns a page of a folder of a source.
func (o *operator) List(
	ctx context.Context, source string, req origin.ListRequest,
) (list origin.Listing, ok bool, err error) {
	lister, ok := o.listers[source]
	if !ok {
		return list, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	list, err = lister.List(ctx, req)
	return list, true, err
}

// Ready returns why this node is not ready.
func (o *operator) Ready() error { return o.readiness.err() }

// Purge removes a target from all nodes.
func (o *operator) Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return o.cache.Purge(ctx, target)
}

// Count returns what Purge would remove from all nodes.
func (o *operator) Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return o.fleet.Count(ctx, target)
}

// SoftPurge makes a target stale on all nodes.
func (o *operator) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return o.cache.SoftPurge(ctx, target)
}

// Takedown takes an original down on all nodes.
func (o *operator) Takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	return o.fleet.Takedown(ctx, of)
}

// Lift ends a takedown on all nodes.
func (o *operator) Lift(ctx context.Context, of imagecache.Original) (imagecache.Receipt, bool, error) {
	return o.fleet.Lift(ctx, of)
}

// Takedowns returns a page of takedowns.
func (o *operator) Takedowns(after imagecache.Original, limit int) []admin.Takedown {
	list := o.state.List(after, limit)
	page := make([]admin.Takedown, len(list))
	for i, t := range list {
		page[i] = admin.Takedown(t)
	}
	return page
}

// Tagged returns the originals with a tag.
func (o *operator) Tagged(ctx context.Context, tag string) ([]imagecache.Original, error) {
	return o.fleet.Of(ctx, tag)
}

// PurgesTag counts a purge by tag.
func (o *operator) PurgesTag() { o.metrics.PurgedByTag() }
