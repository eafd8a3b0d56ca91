package admin

import (
	"context"
	"net/http"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/prefetch/service"
)

// Operator carries out the requests of the private API. It is safe for concurrent use.
type Operator interface {
	Inspector
	Purger
	Intake
	Warmer
}

// Inspector describes a node. It changes nothing, but Info may fetch an original.
type Inspector interface {
	// Explain returns the tiers that have a variant ([imagecache.Cache.Explain]).
	Explain(ctx context.Context, ref imageurl.Ref) []imagecache.Held
	// TakenDown reports whether an original is taken down.
	TakenDown(of imagecache.Original) bool
	// Info returns the facts about an original as JSON; ref is of ShapeInfo.
	Info(ctx context.Context, ref imageurl.Ref) (imagecache.Image, error)
	// List returns a page of a folder of a source. ok is false if the source cannot be listed.
	List(ctx context.Context, source string, req origin.ListRequest) (list origin.Listing, ok bool, err error)
	// Ready returns an error if the node is not ready.
	Ready() error
	// Stats returns the answer of /v1/stats, of any type that encoding/json can marshal.
	Stats(ctx context.Context) any
}

// Purger removes images from all nodes of the fleet.
type Purger interface {
	// Purge removes a target, SoftPurge makes it stale ([imagecache.Cache.Purge]).
	Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	// Count returns what Purge would remove from all nodes, and removes nothing.
	Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	// Takedown removes an original and its variants and refuses them from then on, across
	// restarts.
	Takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error)
	// Lift ends a takedown, and reports whether there was one.
	Lift(ctx context.Context, of imagecache.Original) (receipt imagecache.Receipt, lifted bool, err error)
	// Takedowns returns at most limit takedowns that sort after an original, by source and name.
	Takedowns(after imagecache.Original, limit int) []Takedown
	// Tagged returns the originals with a tag. It is an error if some may be missing, with a text for the client.
	Tagged(ctx context.Context, tag string) ([]imagecache.Original, error)
	// PurgesTag is called once for each purge or takedown of a tag.
	PurgesTag()
}

// Takedown is an original that was taken down.
type Takedown struct {
	Original imagecache.Original
	Since    time.Time
}

// Intake queues events durably ([service.Service]). Nothing is fetched before its methods
// return. Their errors wrap the sentinels of package service.
type Intake interface {
	Event(ctx context.Context, header http.Header, read func() ([]byte, error)) (service.Taken, error)
	Notice(ctx context.Context, body []byte) (kinds []string, err error)
}

// Warmer makes images ahead of requests and manages failed jobs ([service.Service]). Its errors
// wrap the sentinels of package service.
type Warmer interface {
	Queue(ctx context.Context, req service.WarmRequest) error
	Now(ctx context.Context, req service.WarmRequest, report func(service.WarmResult)) error
	DeadLetters(ctx context.Context, from uint64) (letters []service.DeadLetter, next uint64, err error)
	Retry(ctx context.Context, ids []uint64) (n int, err error)
	Discard(ctx context.Context, ids []uint64) (n int, err error)
}
