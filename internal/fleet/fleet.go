// Package fleet replicates what operators and events decide: purges, soft purges, takedowns and
// their lifts, the tags of originals, and the hooks that tell a CDN. It is the only owner of
// that; a node that is alone runs the same code without a cluster.
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
// Each is kept at the place that says so ("Invariant 1") and is what simulate_test.go tries to
// break.
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
	// ErrOutboxFull: the cluster has been away for so long that the outbox holds as many entries
	// as it may. The decision was not acknowledged; try again when the cluster can be reached.
	ErrOutboxFull = errors.New("the outbox is full: the cluster could not be reached for too long")
	// ErrBehind ends a node that missed purges which the stream does not have any more. Started
	// again it empties its caches.
	ErrBehind = errors.New("the stream of purges does not reach back to this node's offset; restart to begin with empty caches")
	// ErrNotReady is why a node does not serve yet.
	ErrNotReady = errors.New("purges and takedowns that this node missed are not applied yet")
)

// Cache is what is purged.
type Cache interface {
	Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
	// Count returns what Purge would remove.
	Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error)
}

// Shared is the store that the nodes of a fleet share, as far as purges need it:
// sharedstore.Tier.
type Shared interface {
	// Purging says that a purge was decided: until Purged is called with the same id, no object of
	// the original is trusted.
	Purging(of imagecache.Original, id string)
	// Purged says at which position of the log an original is purged: older objects are not trusted.
	Purged(of imagecache.Original, id string, at sharedstore.Position)
	// Recalled says that Purged was called for every recent purge before the start: until then no
	// object is trusted.
	Recalled()
	// Delete removes objects, for the whole fleet.
	Delete(ctx context.Context, target imagecache.Target) error
}

// Cluster is what a Node needs of a *jetstream.Bus.
type Cluster interface {
	// Append appends to a log. The same id again adds nothing for two minutes.
	Append(ctx context.Context, l jetstream.Log, subject, id string, data []byte) (number uint64, err error)
	// AppendAfter appends if last is still the subject's last message; else jetstream.ErrConflict.
	AppendAfter(
		ctx context.Context, l jetstream.Log, subject string, last uint64, data []byte,
	) (number uint64, err error)
	Last(ctx context.Context, l jetstream.Log, subject string) (number uint64, data []byte, err error)
	State(ctx context.Context, l jetstream.Log) (jetstream.LogState, error)
	Follow(ctx context.Context, l jetstream.Log, f jetstream.Follower) error
	// Say sends a message to all nodes that listen; it may be lost.
	Say(subject string, data []byte)
	Listen(ctx context.Context, subject string, heard func([]byte)) error

	// Share hands each entry of the stream of purges to one node of all.
	Share(ctx context.Context, do func(ctx context.Context, e jetstream.Entry) (again time.Duration)) error
	// Batch hands each entry of a log to one node of all, many at once.
	Batch(ctx context.Context, l jetstream.Log, to jetstream.Batcher) error

	PutMember(ctx context.Context, id string) error
	RemoveMember(ctx context.Context, id string) error
	Members(ctx context.Context) (jetstream.Members, error)
}
