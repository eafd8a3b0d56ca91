package fleet

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// Config configures a Node.
type Config struct {
	State *State
	Cache Cache
	// Shared is the shared store; nil if no shared store is configured. A single node does not use it.
	Shared Shared
	// Cluster is the NATS cluster of the fleet or, where Alone is set, the embedded server, which
	// only hooks need. If nil, this node is alone and no CDN is purged.
	Cluster Cluster
	Alone   bool
	// Hook receives purges once every node has applied them. If nil, no hook is called.
	Hook *Hook
	// Wait is how long a receipt waits for other nodes; 0 is 5 s.
	Wait time.Duration
	Log  *slog.Logger // nil discards
}

// Node is one node's side of the fleet. Its methods are safe for concurrent use.
type Node struct {
	cfg   Config
	state *State
	id    string
	kick  chan struct{} // has a value while the outbox may have entries to send

	listing listing

	saving sync.Mutex // held while offsets are written; guards saved
	saved  offsets

	mu        sync.Mutex // guards all below; State.mu is taken inside it
	replayed  bool
	begun     map[jetstream.Log]bool
	goal      map[jetstream.Log]uint64     // the entry to apply before this node is ready
	applied   map[jetstream.Log]uint64     // the last entry that was handed in
	owed      map[string]owedPurge         // purges that failed, by the entry's id
	repayFrom int                          // where repay continues, in the order of owed
	missing   map[imagecache.Original]bool // originals whose decision the takedown stream may lack; nil: none
	joined    time.Time                    // when this node joined and noted its goals
	ready     bool
	receipts  map[string]*pending
	moved     chan struct{} // closed when tags were applied
	unsent    error         // why the last send of the outbox failed; nil: it succeeded

	recalled bool   // recent purges before the start are known, so shared objects can be trusted
	recall   uint64 // the entry after which recalled is set

	takedownLog  uint64 // id of the current stream
	missingAfter uint64 // missing is complete once this entry of it is applied
}

// New returns a Node. Call Run.
func New(cfg Config) *Node {
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Alone || cfg.Cluster == nil {
		cfg.Shared = nil // its purges delete at once
	}
	return &Node{
		cfg: cfg, state: cfg.State, id: cfg.State.offsets.Node, kick: make(chan struct{}, 1),
		begun: make(map[jetstream.Log]bool), goal: make(map[jetstream.Log]uint64),
		applied: make(map[jetstream.Log]uint64), owed: make(map[string]owedPurge),
		receipts: make(map[string]*pending), moved: make(chan struct{}), recalled: cfg.Shared == nil,
	}
}

// Purge purges here and on every node. The receipt counts nodes.
func (n *Node) Purge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return n.everywhere(ctx, entryOf(KindPurge, target))
}

// SoftPurge marks a target as stale here and on every node. The receipt counts nodes.
func (n *Node) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return n.everywhere(ctx, entryOf(KindSoft, target))
}

// Takedown takes an original down on every node. The receipt counts the nodes that have stored the
// takedown durably and purged the original.
func (n *Node) Takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	return n.everywhere(ctx, entryOf(KindTakedown, imagecache.Target{Original: of}))
}

// Lift ends a takedown on every node. The receipt counts the nodes that have stored the lift
// durably. If of is not taken down on this node, nothing happens: a takedown that this node does
// not know is not lifted.
func (n *Node) Lift(ctx context.Context, of imagecache.Original) (receipt imagecache.Receipt, lifted bool, err error) {
	if !n.state.TakenDown(of) {
		return imagecache.Receipt{}, false, nil
	}
	receipt, err = n.everywhere(ctx, entryOf(KindLift, imagecache.Target{Original: of}))
	return receipt, err == nil, err
}

func entryOf(kind Kind, target imagecache.Target) Entry {
	of := target.Original
	if target.Key != (imagecache.Key{}) {
		of = target.Key.Original()
	}
	return Entry{Kind: kind, Source: of.Source, Name: []byte(of.Name), Path: target.Key.String()}
}

// everywhere makes a decision, and waits until every live node has applied it, or for Config.Wait.
func (n *Node) everywhere(ctx context.Context, e Entry) (imagecache.Receipt, error) {
	p, err := n.decide(ctx, e)
	if err != nil {
		return imagecache.Receipt{}, err
	}
	defer n.forget(p)
	n.wake()
	// Also for a client that hung up: the hook is called when this returns.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Wait)
	defer cancel()
	list := n.await(ctx, p)
	if n.cfg.Hook != nil {
		n.say(appliedSubject, message{Entry: p.entry.ID})
	}
	receipt, _ := n.count(p, list)
	return receipt, nil
}

// decide stores a decision durably, and applies it here. After an error it is not acknowledged, but
// may still take effect.
//
// Invariant 3. The outbox comes first, so that every step can be the last before a power cut:
//
//  1. Before the outbox is synced, nothing was changed and nothing acknowledged.
//  2. Behind it, the next start applies the decision here (State.replay, Node.replay) and sends
//     it, in the order of the outbox.
//  3. It leaves the outbox when the streams have it.
//
// Without the outbox, a node that crashed between writing its register and the stream would have a
// takedown that no other node ever receives.
func (n *Node) decide(ctx context.Context, e Entry) (*pending, error) {
	if err := e.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Kind, err)
	}
	e.Stamp = n.stamp(e)
	p := n.expect(e)
	n.distrust(e) // before the entry can return in the stream
	failed := func(err error) (*pending, error) {
		n.forget(p)
		return nil, fmt.Errorf("%s %s %s: %w", e.Kind, e.Source, e.Name, err)
	}
	if n.cfg.Cluster != nil && !(n.cfg.Alone && e.Kind == KindTags) {
		var err error
		if p.out, err = n.state.outbox.add(e); err != nil {
			if e.purges() && !e.decides() {
				_, _ = n.remove(ctx, e) // not acknowledged, but better than serving it
			}
			n.trustAfter(e, sharedstore.Position{})
			return failed(err)
		}
	}
	receipt, err := n.apply(ctx, e)
	if err != nil {
		n.wake() // the other nodes still get it
		return failed(err)
	}
	n.acknowledged(p, n.id, receipt)
	return p, nil
}

// stamp returns the time of a decision made now. It is later than those of all decisions about the
// same original or tag that this node knows.
func (n *Node) stamp(e Entry) Stamp {
	s := Stamp{At: Instant(n.state.cfg.Now().UnixNano()), Node: n.id, ID: n.state.cfg.NewID()}
	switch {
	case e.decides():
		if known, ok := n.state.takedowns.of(e.original()); ok {
			s.At = max(s.At, known.At+1)
		}
	case e.Kind == KindTags:
		s.At = max(s.At, n.state.tags.newest(e)+1)
	}
	return s
}

// apply applies an entry here: first to the register, then to the caches. A request in between is
// answered 451 and fills nothing.
func (n *Node) apply(ctx context.Context, e Entry) (receipt imagecache.Receipt, err error) {
	switch {
	case e.Kind == KindTags:
		return receipt, n.state.tags.apply(e)
	case e.decides():
		if _, err := n.state.takedowns.apply(e); err != nil {
			return receipt, err
		}
	}
	return n.remove(ctx, e)
}

// remove purges the caches of this node.
func (n *Node) remove(ctx context.Context, e Entry) (imagecache.Receipt, error) {
	switch {
	case !e.purges():
		return imagecache.Receipt{}, nil
	case e.Kind == KindSoft:
		return n.cfg.Cache.SoftPurge(ctx, e.target())
	}
	return n.cfg.Cache.Purge(ctx, e.target())
}

// distrust marks all shared objects of the original as untrusted until the entry returns in the
// stream (trustAfter): nodes that have not received the purge may still write old ones.
func (n *Node) distrust(e Entry) {
	if n.cfg.Shared != nil && e.purges() {
		n.cfg.Shared.Purging(e.original(), e.ID)
	}
}

// trustAfter makes shared objects trusted that were written after this position of the log.
func (n *Node) trustAfter(e Entry, at sharedstore.Position) {
	if n.cfg.Shared != nil && e.purges() {
		n.cfg.Shared.Purged(e.original(), e.ID, at)
	}
}

// pairsPerEntry is the maximum number of pairs, or of ended tags, in an entry, which must fit into a message.
const pairsPerEntry = 100

// Take records which originals have tags, and which tags have ended, here and on every node. When
// it returns without an error, the record is durable here and in the stream, where other nodes that
// purge by tag wait for it. If the error wraps jetstream.ErrUnavailable, it is durable only here,
// and is sent later.
func (n *Node) Take(ctx context.Context, learn []Pair, end []string) error {
	var waiting []*outgoing
	if !n.alone() { // else they are of a fleet that this node has left, and are never sent
		waiting = n.state.outbox.tags()
	}
	own, err := n.take(ctx, learn, end)
	if err != nil {
		n.wake() // for those that were decided
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	failed := func(err error) error {
		n.wake()
		return fmt.Errorf("%w: tags are not sent to the other nodes yet: %w", jetstream.ErrUnavailable, err)
	}
	// Not by flush, in which an entry of another stream may be stuck.
	var sent []*outgoing
	var fault error
	for some := range slices.Chunk(own, flushParallel) {
		for i, err := range n.sendAll(ctx, some) {
			if err == nil {
				sent = append(sent, some[i])
			}
			fault = cmp.Or(fault, err)
		}
	}
	if err := n.state.outbox.remove(sent); err != nil {
		n.cfg.Log.Warn("outbox not trimmed; a restart sends its entries again", "err", err)
	}
	if fault != nil {
		return failed(fault)
	}
	// The caller may leave out what this node knows already by other calls.
	for _, out := range waiting {
		select {
		case <-out.sent:
		case <-ctx.Done():
			return failed(ctx.Err())
		}
	}
	return nil
}

// take is Take without the stream. It returns the entries to send.
func (n *Node) take(ctx context.Context, learn []Pair, end []string) (own []*outgoing, err error) {
	decide := func(e Entry) error {
		p, err := n.decide(ctx, e)
		if err != nil {
			return err
		}
		n.forget(p)
		if p.out != nil {
			own = append(own, p.out)
		}
		return nil
	}
	for some := range slices.Chunk(learn, pairsPerEntry) {
		e := Entry{Kind: KindTags}
		for _, p := range some {
			e.Learn = append(e.Learn, learnt{p.Tag, p.Of.Source, []byte(p.Of.Name), p.Live})
		}
		if err := decide(e); err != nil {
			return own, err
		}
	}
	for some := range slices.Chunk(end, pairsPerEntry) {
		if err := decide(Entry{Kind: KindTags, End: some}); err != nil {
			return own, err
		}
	}
	return own, nil
}

// Forget forgets which originals have a tag, here and on every node, but not that it ended.
func (n *Node) Forget(tag string) error {
	p, err := n.decide(context.Background(), Entry{Kind: KindTags, Forget: tag})
	if err != nil {
		return err
	}
	n.forget(p)
	n.wake()
	return nil
}
