package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// owedPurge is a purge that failed because a disk could not take it, and will be retried.
type owedPurge struct {
	Entry
	// at is its position in the purge stream, which the offset does not pass. It is zero for a
	// purge of the outbox or of the takedown stream.
	at sharedstore.Position
}

// maxOwed bounds the purges that wait for a disk. At the limit the purge stream is not read any
// further.
const maxOwed = 10_000

var errOwed = errors.New("too many purges wait for the disk")

// owe records a failed purge. Later entries are still applied, but the offset stays before it and,
// if the node has missed the purge, the node does not become ready. The error is errOwed.
func (n *Node) owe(e Entry, at sharedstore.Position, why error) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	before, known := n.owed[e.ID]
	if !known && len(n.owed) >= maxOwed {
		return fmt.Errorf("%w: %d: %w", errOwed, maxOwed, why)
	}
	if !known {
		n.cfg.Log.Error("purge failed, will be retried",
			"number", at.Entry,
			"source", e.Source,
			"name", string(e.Name),
			"err", why,
		)
	}
	if at == (sharedstore.Position{}) {
		at = before.at
	}
	n.owed[e.ID] = owedPurge{e, at}
	return nil
}

// applyPurge purges and acknowledges. A purge that fails is owed; the error is errOwed.
func (n *Node) applyPurge(ctx context.Context, e Entry, at sharedstore.Position) error {
	removed, err := n.remove(ctx, e)
	if err != nil {
		return n.owe(e, at, err)
	}
	n.acknowledge(e, removed)
	return nil
}

// repayFaults is after how many failures repay waits for its next call. A purge that fails has an effect as well: it
// moves the epoch of its original and of others, so that running fills are not stored and not joined.
const repayFaults = 8

// repay retries failed purges, and then those of the outbox for which there was no room in owed. After some
// failures the next call continues behind them.
func (n *Node) repay(ctx context.Context) {
	n.mu.Lock()
	replayed := n.replayed
	owed := slices.SortedFunc(maps.Values(n.owed), func(a, b owedPurge) int {
		return cmp.Or(cmp.Compare(a.at.Log, b.at.Log), cmp.Compare(a.at.Entry, b.at.Entry), a.Compare(b.Stamp))
	})
	from := min(n.repayFrom, len(owed))
	n.mu.Unlock()
	failed := 0
	for i, purge := range slices.Concat(owed[from:], owed[:from]) {
		removed, err := n.remove(ctx, purge.Entry)
		if err != nil {
			if failed++; failed == repayFaults {
				from += i + 1
				break
			}
			continue
		}
		// A purge of the takedown stream is acknowledged when the stream of purges has it: only
		// then are shared objects from before it distrusted.
		if purge.at != (sharedstore.Position{}) {
			n.acknowledge(purge.Entry, removed)
		}
		n.mu.Lock()
		delete(n.owed, purge.ID)
		n.becomeReadyLocked()
		n.mu.Unlock()
	}
	if len(owed) > 0 {
		n.mu.Lock()
		n.repayFrom = from % len(owed)
		n.mu.Unlock()
		n.advance(jetstream.Purges, nil)
	}
	if !replayed {
		n.replay(ctx)
	}
}

// firstOwedLocked returns the first entry of the log of purges that is owed.
func (n *Node) firstOwedLocked(log uint64) uint64 {
	first := uint64(math.MaxUint64)
	for _, purge := range n.owed {
		switch purge.at.Log {
		case 0:
		case log:
			first = min(first, purge.at.Entry)
		default: // of a lost stream: a restart would not receive it again
			first = 1
		}
	}
	return first
}
