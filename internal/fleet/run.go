package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// sendTime bounds sending one batch of the outbox; retryPause is the pause between attempts of any
// kind.
const (
	sendTime   = 2 * time.Second
	retryPause = time.Second
)

// Run follows the streams, sends the outbox and calls the CDN hook until ctx is done. The error is
// ErrBehind or nil.
func (n *Node) Run(ctx context.Context) error {
	n.replay(ctx)
	parts := []func(context.Context) error{n.runHook, n.runChores}
	if n.cfg.Cluster != nil {
		parts = append(parts, n.runOutbox)
	}
	if !n.alone() {
		c := n.cfg.Cluster
		parts = append(parts,
			n.follow(jetstream.Purges, n.beginPurges, n.applyPurges, n.lookAtPurges),
			n.follow(jetstream.Takedowns, n.beginTakedowns, n.applyTakedowns, nil),
			n.follow(jetstream.Tags, n.beginTags, n.applyTags, nil),
			func(ctx context.Context) error { return c.Listen(ctx, ackSubject+n.id, n.hear) },
			n.listenCounts,
			n.runMember,
		)
		if n.cfg.Shared != nil {
			parts = append(parts, func(ctx context.Context) error { return c.Share(ctx, n.deleteShared) })
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(parts))
	for _, part := range parts {
		go func() { ended <- part(ctx) }()
	}
	var first error
	for range parts {
		if err := <-ended; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// follow returns a loop that applies the entries of a stream.
func (n *Node) follow(
	l jetstream.Log,
	begin func(jetstream.LogState) (uint64, error),
	apply func(context.Context, []jetstream.Numbered) error,
	look func(jetstream.LogState),
) func(context.Context) error {
	return func(ctx context.Context) error {
		return n.cfg.Cluster.Follow(ctx, l, jetstream.Follower{
			Begin:   begin,
			Look:    look,
			Applied: n.appliedBefore(l),
			Shared:  l == jetstream.Purges && n.cfg.Shared != nil,
			Apply: func(ctx context.Context, entries []jetstream.Numbered) error {
				return n.until(ctx, "entries of "+l.String()+" cannot be applied", func(ctx context.Context) error {
					return apply(ctx, entries)
				})
			},
		})
	}
}

// appliedBefore returns the last entry of the purge stream that was applied before the start.
func (n *Node) appliedBefore(l jetstream.Log) jetstream.Applied {
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	o := n.state.offsets
	if l != jetstream.Purges || o.PurgesAt == 0 {
		return jetstream.Applied{}
	}
	return jetstream.Applied{Log: o.Purges.Log, Number: o.Purges.Entry, At: o.PurgesAt.Time()}
}

// until calls do until it succeeds or ctx is done. The error is ErrBehind or nil.
func (n *Node) until(ctx context.Context, failure string, do func(context.Context) error) error {
	for try := 0; ; try++ {
		err := do(ctx)
		switch {
		case errors.Is(err, ErrBehind):
			return err
		case err == nil || ctx.Err() != nil:
			return nil
		}
		if try == 0 {
			n.cfg.Log.Error(failure+", will be retried", "err", err)
		}
		sleep(ctx, retryPause)
	}
}

// wake triggers sending the outbox.
func (n *Node) wake() {
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// runOutbox sends new entries of the outbox at once, and failed ones again after a pause.
func (n *Node) runOutbox(ctx context.Context) error {
	retry := time.NewTicker(retryPause)
	defer retry.Stop()
	for failing := false; ctx.Err() == nil; {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
		sent, err := n.flush(limited, flushParallel)
		cancel()
		switch {
		case err == nil && failing:
			n.cfg.Log.Info("replication recovered", "waiting", n.state.outbox.len())
		case err != nil && !failing:
			n.cfg.Log.Error("replication failed, queued for retry", "waiting", n.state.outbox.len(), "err", err)
		}
		failing = err != nil
		kick, tick := n.kick, retry.C
		switch {
		case sent > 0:
			continue
		case !failing:
			tick = nil
		case !errors.Is(err, jetstream.ErrFull):
			kick = nil // new entries could not be sent either
		}
		select {
		case <-kick:
		case <-tick:
		case <-ctx.Done():
		}
	}
	return nil
}

// runMember keeps this node in the bucket of members once it is ready, and removes it at the end.
func (n *Node) runMember(ctx context.Context) error {
	for pause := choresEarly; ctx.Err() == nil; sleep(ctx, pause) {
		if n.Ready() != nil {
			continue
		}
		pause = putEvery
		if err := n.put(ctx); err != nil && ctx.Err() == nil {
			n.cfg.Log.Warn("heartbeat failed; receipts do not count this node", "err", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sendTime)
	defer cancel()
	if err := n.cfg.Cluster.RemoveMember(ctx, n.id); err != nil {
		n.cfg.Log.Warn("removal from the list of nodes failed; receipts count this node for some more minutes", "err", err)
	}
	return nil
}

func (n *Node) put(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, putEvery)
	defer cancel()
	return n.cfg.Cluster.PutMember(ctx, n.id)
}

// Intervals of runChores: short until this node is ready, since startup waits for readiness.
const (
	choresEarly = 50 * time.Millisecond
	choresEvery = time.Second
)

// runChores does periodic tasks, and writes the offsets at the end.
func (n *Node) runChores(ctx context.Context) error {
	for failing := false; ctx.Err() == nil; {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		n.repay(limited)
		var err error
		if !n.alone() {
			err = errors.Join(n.join(limited), n.sendMissing(limited), n.saveOffsets())
		}
		if err != nil && ctx.Err() == nil && !failing {
			n.cfg.Log.Warn("fleet housekeeping failed, will be retried", "err", err)
		}
		failing = err != nil
		cancel()
		if errors.Is(err, ErrBehind) {
			return ErrBehind
		}
		if n.Ready() == nil {
			sleep(ctx, choresEvery)
		} else {
			sleep(ctx, choresEarly)
		}
	}
	if n.alone() {
		return nil
	}
	if err := n.saveOffsets(); err != nil {
		n.cfg.Log.Warn("stream offsets not saved; a restart applies some entries again", "err", err)
	}
	return nil
}

// sleep waits for d or until ctx is done.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// catchUpTime bounds how long a lookup of a tag waits for the stream.
const catchUpTime = 5 * time.Second

// Of returns the originals that have a tag, including what other nodes have learned until now: a
// post that one node received can be purged by its tag on any other. It is an error if this node
// does not know all of that: a purge would miss originals.
func (n *Node) Of(ctx context.Context, tag string) ([]imagecache.Original, error) {
	if err := n.catchUp(ctx); err != nil {
		return nil, err
	}
	return n.state.tags.Of(tag), nil
}

// LiveOf returns those originals with a tag that are requested in their live version. Its errors are
// those of Of.
func (n *Node) LiveOf(ctx context.Context, tag string) ([]imagecache.Original, error) {
	if err := n.catchUp(ctx); err != nil {
		return nil, err
	}
	return n.state.tags.LiveOf(tag), nil
}

// Knows reports whether this node knows that an original has a tag, as live if p is, or that the tag
// has ended.
func (n *Node) Knows(p Pair) bool { return n.state.tags.knows(p) }

// Ended reports whether a tag ended after since.
func (n *Node) Ended(tag string, since time.Time) bool { return n.state.tags.Ended(tag, since) }

// catchUp waits until all current entries of the tag stream are applied.
func (n *Node) catchUp(ctx context.Context) error {
	if n.alone() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	now, err := n.cfg.Cluster.State(ctx, jetstream.Tags)
	for err == nil {
		n.mu.Lock()
		n.state.mu.Lock()
		at, moved := n.state.offsets.Tags, n.moved
		n.state.mu.Unlock()
		n.mu.Unlock()
		if now.First > now.Last || at.Log == now.ID && at.Entry >= now.Last {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			err = fmt.Errorf("entry %d of the log of tags is not applied here: %w", now.Last, ctx.Err())
		}
	}
	return fmt.Errorf("tags learned by other nodes may be missing on this node: %w", err)
}

// runHook calls the CDN hook. Without a hook it waits for ctx.
func (n *Node) runHook(ctx context.Context) error {
	if n.cfg.Hook == nil {
		<-ctx.Done()
		return nil
	}
	l := jetstream.Purges
	if n.cfg.Alone {
		l = jetstream.Hooks
	}
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() { _ = n.cfg.Cluster.Listen(ctx, appliedSubject, n.cfg.Hook.hear) })
	defer n.cfg.Hook.close()
	return n.cfg.Cluster.Batch(ctx, l, jetstream.Batcher{Name: "hooks", Most: maxOriginals, Do: n.cfg.Hook.send})
}
