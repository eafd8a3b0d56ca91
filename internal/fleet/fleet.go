// Package fleet replicates the decisions of operators and events: purges, soft purges, takedowns
// and lifts, the tags of originals, and the hooks that purge a CDN. A single node runs the
// same code without a cluster.
//
// # How a takedown reaches node 3
//
//  1. Node 1 makes an [Entry] with a [Stamp], the time of the decision, and appends it to its
//     outbox, synced (outbox.go). From here on no crash loses it.
//  2. It applies the entry to its own register (takedowns.go, synced), and purges its caches.
//  3. It sends what is in the outbox, oldest first (send.go): to the takedown stream, which keeps
//     the newest decision about each original, and then to the stream of purges.
//  4. Node 3 follows the stream of purges (follow.go). It applies the entry's decision to its
//     register, synced, then purges its caches, and then acknowledges to node 1 (receipt.go).
//
// A node that was away follows both streams from its offset. One that was away for longer than
// the stream of purges reaches back empties its caches, and learns of takedowns from the
// takedown stream, which forgets nothing.
//
// # What always holds
//
// The comments "Invariant 1" and so on say where each is kept. simulate_test.go tries to break
// them.
//
//  1. A decision that was acknowledged is never undone by an older one. Decisions are ordered by
//     the time they were made, then by node, then by id.
//  2. A receipt counts a node only after everything it acknowledges is durable there.
//  3. A power cut loses nothing that was acknowledged. Unreadable state is never taken for no
//     state: only a missing file means a new node.
//  4. A node serves nothing that was purged before it became ready.
//
// Start reading at decide.go. Nothing there or in send.go and follow.go starts a goroutine or
// reads a clock other than Config.Now, so that a simulation replays exactly; the loops are in
// run.go.
package fleet

import (
	"context"
	"errors"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// Sentinels.
var (
	// ErrOutboxFull: the cluster has been unreachable for so long that the outbox is full. The
	// decision was not acknowledged; try again when the cluster is reachable.
	ErrOutboxFull = errors.New("the outbox is full: the cluster could not be reached for too long")
	// ErrBehind ends a node that missed purges which the stream has dropped. It empties its caches
	// when it is restarted.
	ErrBehind = errors.New("the stream of purges does not reach back to this node's offset; restart to begin with empty caches")
	// ErrNotReady means that the node has not applied all missed entries yet.
	ErrNotReady = errors.New("purges and takedowns that this node missed are not applied yet")
)

// Cache is the cache of this node.
type Cache interface {
	Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	// Count returns what Purge would remove.
	Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
}

// Shared is the part of sharedstore.Tier, the store shared by the nodes of a fleet, that purges
// need.
type Shared interface {
	// Purging notes that a purge was decided: until Purged is called with the same id, no object of
	// the original is trusted.
	Purging(of imagecache.Original, id string)
	// Purged notes the position in the log at which an original is purged: older objects are not
	// trusted.
	Purged(of imagecache.Original, id string, at sharedstore.Position)
	// Forgotten notes that purges up to a position may not be known any more.
	Forgotten(to sharedstore.Position)
	// Deleted notes that the objects of all purges up to a position are deleted.
	Deleted(to sharedstore.Position)
	// Recalled notes that Purged was called for every recent purge before the start: until then no
	// object is trusted.
	Recalled()
	// Delete removes all objects of an original, for the whole fleet.
	Delete(ctx context.Context, of imagecache.Original) error
}

// Cluster is the part of *jetstream.Bus that a Node needs.
type Cluster interface {
	// Append appends to a log. Repeating an id within two minutes adds nothing.
	Append(ctx context.Context, l jetstream.Log, subject, id string, data []byte) (number uint64, err error)
	// AppendAfter appends if last is still the subject's last message; else jetstream.ErrConflict.
	AppendAfter(
		ctx context.Context, l jetstream.Log, subject string, last uint64, data []byte,
	) (number uint64, err error)
	Last(ctx context.Context, l jetstream.Log, subject string) (number uint64, data []byte, err error)
	State(ctx context.Context, l jetstream.Log) (jetstream.LogState, error)
	Follow(ctx context.Context, l jetstream.Log, f jetstream.Follower) error
	// Say sends a message to all listening nodes; it may be lost.
	Say(subject string, data []byte)
	Listen(ctx context.Context, subject string, heard func([]byte)) error

	// Share delivers each entry of the purge stream to one of the nodes.
	Share(ctx context.Context, do func(ctx context.Context, e jetstream.Entry) (again time.Duration)) error
	// Batch delivers the entries of a log to one of the nodes, in batches.
	Batch(ctx context.Context, l jetstream.Log, to jetstream.Batcher) error

	PutMember(ctx context.Context, id string) error
	RemoveMember(ctx context.Context, id string) error
	Members(ctx context.Context) (jetstream.Members, error)
}
