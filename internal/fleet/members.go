package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/novasocial/imagetier/internal/jetstream"
)

// listing shares one list of members among callers that wait for receipts. Each gets a list that
// was begun after its call: an older one might lack a node that has become ready since.
type listing struct {
	mu      sync.Mutex
	running *list // nil: none
	next    *list // begins when running ends; nil: not requested
}

// listTime bounds one list.
const listTime = 2 * time.Second

type list struct {
	done    chan struct{}
	members jetstream.Members
	err     error
}

// after returns a list that was begun after the call.
func (l *listing) after(
	ctx context.Context, ask func(context.Context) (jetstream.Members, error),
) (jetstream.Members, error) {
	l.mu.Lock()
	mine := l.next
	switch {
	case l.running == nil:
		mine = &list{done: make(chan struct{})}
		l.running = mine
		go l.run(context.WithoutCancel(ctx), ask)
	case mine == nil:
		mine = &list{done: make(chan struct{})}
		l.next = mine
	}
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.members, mine.err
	case <-ctx.Done():
		return jetstream.Members{}, ctx.Err()
	}
}

func (l *listing) run(ctx context.Context, ask func(context.Context) (jetstream.Members, error)) {
	for {
		l.mu.Lock()
		now := l.running
		l.mu.Unlock()
		limited, cancel := context.WithTimeout(ctx, listTime)
		now.members, now.err = ask(limited)
		cancel()
		close(now.done)
		l.mu.Lock()
		l.running, l.next = l.next, nil
		ended := l.running == nil
		l.mu.Unlock()
		if ended {
			return
		}
	}
}

// join makes this node a member of the fleet once it has applied what it missed, and then
// determines again how far it has to follow before it is ready. Until then no receipt waits for it.
// The error may be ErrBehind.
//
// Invariant 4, and why a receipt's list of nodes has all that serve:
//
//  1. This node has applied all that the streams had when it began to follow them.
//  2. It puts itself into the bucket.
//  3. It asks for the last entry of the streams: its new goal.
//  4. It applies that within putEvery of 2, and is ready. Otherwise it begins again with 2.
//  5. It puts itself at once, and then every putEvery.
//
// A purge that is appended before 3 is applied before 4. One that is appended after 3 finds this
// node in the list, which is asked for after the append, and so after 2; or the list was lost
// between 2 and 5, and is younger than youngList then.
func (n *Node) join(ctx context.Context) error {
	n.mu.Lock()
	begun, caught, ready := n.begun[jetstream.Purges], n.caughtUpLocked(), n.ready
	n.mu.Unlock()
	switch {
	case ready || !begun:
		return nil
	case !caught:
		return n.checkGap(ctx) // the entry that it waits for may have been dropped
	}
	began := n.state.cfg.Now()
	if err := n.cfg.Cluster.PutMember(ctx, n.id); err != nil {
		return err
	}
	goals, ids := make(map[jetstream.Log]uint64), make(map[jetstream.Log]uint64)
	for _, l := range []jetstream.Log{jetstream.Purges, jetstream.Takedowns} {
		state, err := n.cfg.Cluster.State(ctx, l)
		if err != nil {
			return err
		}
		goals[l], ids[l] = state.Last, state.ID
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if ids[jetstream.Purges] != n.state.Position().Log || ids[jetstream.Takedowns] != n.takedownLog {
		return nil // one was lost and recreated: the goals are set when the new one is followed
	}
	n.goal, n.joined = goals, began
	n.becomeReadyLocked()
	return nil
}

// caughtUpLocked reports whether everything up to the goals is applied.
func (n *Node) caughtUpLocked() bool {
	for _, l := range []jetstream.Log{jetstream.Purges, jetstream.Takedowns} {
		if !n.begun[l] || n.applied[l] < n.goal[l] {
			return false
		}
	}
	return n.replayed && len(n.owed) == 0
}

func (n *Node) becomeReadyLocked() {
	listed := !n.joined.IsZero() && n.state.cfg.Now().Sub(n.joined) < putEvery
	n.ready = n.ready || listed && n.caughtUpLocked()
}

// Ready returns nil once this node has applied everything that it missed. It stays ready: losing
// the cluster later takes no node out of service.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ready || n.alone() && n.replayed && len(n.owed) == 0 {
		return nil
	}
	return ErrNotReady
}

func (n *Node) alone() bool { return n.cfg.Alone || n.cfg.Cluster == nil }
