package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// flushBatch is how many entries are sent before they are removed from the outbox, and
// flushParallel how many of them concurrently.
const (
	flushBatch    = 256
	flushParallel = 32
)

// flush sends the oldest entries of the outbox, and removes those that were sent. It returns their
// number, and an error if some failed. parallel is how many are sent concurrently.
//
// Entries about one original are sent in order, which the CDN hook keeps. Takedowns for which the
// stream is full do not block other entries; the error is then jetstream.ErrFull.
func (n *Node) flush(ctx context.Context, parallel int) (sent int, err error) {
	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.unsent = err
	}()
	var full error
	refused := make(map[imagecache.Original]bool)
	for sent < flushBatch {
		turn := maps.Clone(refused) // originals whose later entries may not be sent in this turn
		some := n.state.outbox.oldest(parallel, func(e Entry) bool {
			if e.Kind == KindTags {
				return true
			}
			of := e.original()
			// A decision about an original that is in the stream takes no additional room.
			can := !turn[of] && (full == nil || e.Kind != KindTakedown)
			turn[of] = true
			return can
		})
		if len(some) == 0 {
			break
		}
		var gone []*outgoing
		for i, fault := range n.sendAll(ctx, some) {
			switch {
			case fault == nil:
				gone = append(gone, some[i])
			case errors.Is(fault, jetstream.ErrFull):
				full, refused[some[i].original()] = fault, true
			default:
				err = errors.Join(err, fault)
			}
		}
		sent += len(gone)
		if fault := n.state.outbox.remove(gone); fault != nil {
			n.cfg.Log.Warn("outbox not trimmed; a restart sends its entries again", "err", fault)
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, full
}

// sendAll sends entries concurrently.
func (n *Node) sendAll(ctx context.Context, some []*outgoing) (faults []error) {
	faults = make([]error, len(some))
	if len(some) == 1 { // the simulation has no goroutines
		faults[0] = n.send(ctx, some[0].Entry)
		return faults
	}
	var all sync.WaitGroup
	for i, out := range some {
		all.Go(func() { faults[i] = n.send(ctx, out.Entry) })
	}
	all.Wait()
	return faults
}

// send appends an entry to its streams. After an error the streams may have it; it is then sent
// again, which changes nothing.
func (n *Node) send(ctx context.Context, e Entry) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l := e.log()
	switch {
	case n.cfg.Alone && e.Kind == KindTags: // of a fleet that this node has left
		return nil
	case n.cfg.Alone:
		l = jetstream.Hooks
	case e.decides():
		// The register of the sending node must have everything that it has sent, even if decide
		// could not write it: a lost takedown stream is refilled from the registers.
		if _, err := n.state.takedowns.apply(e); err != nil {
			return err
		}
		if err := n.sendDecision(ctx, e, data); err != nil {
			return err
		}
	}
	_, err = n.cfg.Cluster.Append(ctx, l, e.subject(), e.ID, data)
	return err
}

// maxConflicts bounds how often a decision is compared before it waits for the next flush.
const maxConflicts = 10

// sendDecision appends a decision to the takedown stream, unless the stream has a newer one.
//
// Invariant 1. The stream keeps one message per original, the newest decision, because decisions
// are compared before they are appended:
//
//  1. A appends a takedown with stamp 10; the acknowledgement is lost.
//  2. B lifts it: stamp 20. It reads 10 as the last message, number 7, and appends behind 7.
//  3. A tries again, after the window in which the server would know the message's id. It reads
//     20, and appends nothing.
//
// If 3 reads just before 2 appends, A appends after 7 although that is no longer the last message:
// the server refuses, and A reads again.
func (n *Node) sendDecision(ctx context.Context, e Entry, data []byte) error {
	for range maxConflicts {
		number, last, err := n.cfg.Cluster.Last(ctx, jetstream.Takedowns, e.subject())
		if err != nil {
			return err
		}
		if number > 0 {
			newest, err := decode(last)
			if err != nil {
				n.cfg.Log.Error("replacing an unreadable takedown in the stream", "number", number, "err", err)
			} else if newest.Compare(e.Stamp) >= 0 {
				return nil
			}
		}
		_, err = n.cfg.Cluster.AppendAfter(ctx, jetstream.Takedowns, e.subject(), number, data)
		if !errors.Is(err, jetstream.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", jetstream.ErrUnavailable, jetstream.ErrConflict)
}

// sendMissing sends decisions that the takedown stream lacks, because this node was alone before,
// or because the stream was lost and recreated. The offset moves to that stream only afterwards, so
// that it starts over after a crash.
func (n *Node) sendMissing(ctx context.Context) error {
	n.mu.Lock()
	due := n.missing != nil && n.applied[jetstream.Takedowns] >= n.missingAfter
	missing := maps.Clone(n.missing) // entries that return in the stream are removed from it meanwhile
	stream := n.takedownLog
	n.mu.Unlock()
	if !due {
		return nil
	}
	for _, e := range n.state.takedowns.all() {
		if !missing[e.original()] {
			continue
		}
		data, err := json.Marshal(e)
		if err == nil {
			err = n.sendDecision(ctx, e, data)
		}
		if err != nil {
			return err
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.takedownLog == stream { // else that stream was lost, and its successor lacks all of them
		n.missing = nil
	}
	return nil
}
