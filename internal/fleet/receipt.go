package fleet

import (
	"context"
	"encoding/json"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// message is what nodes say to each other. It may be lost: a receipt then counts fewer nodes.
type message struct {
	Node    string             `json:"node"`
	Entry   string             `json:"entry"`
	Removed imagecache.Receipt `json:"removed"`
}

// Subjects of messages.
const (
	appliedSubject = "done" // every node has applied an entry, or was waited for long enough
	ackSubject     = "ack." // and the node that decided: one node has applied an entry
)

func (n *Node) say(subject string, m message) {
	m.Node = n.id
	if n.cfg.Cluster == nil {
		return
	}
	if data, err := json.Marshal(m); err == nil {
		n.cfg.Cluster.Say(subject, data)
	}
}

// pending is a decision whose receipt is waited for; all but entry, out and changed are guarded by
// Node.mu.
//
// A node purges twice for a decision of its own: when it decides, and when the entry comes back in
// the stream, since in between it may have read an object from the shared store that another node
// had not purged yet. The receipt waits for both (returned). Else:
//
//  1. A job purges an original and gets its receipt.
//  2. It warms the original's variants.
//  3. The entry comes back, and removes them.
type pending struct {
	entry    Entry
	out      *outgoing // nil: this node is alone
	applied  map[string]bool
	returned bool // this node has applied its own entry from the stream, too
	sum      imagecache.Receipt
	changed  chan struct{}
}

func (n *Node) expect(e Entry) *pending {
	p := &pending{entry: e, applied: make(map[string]bool), changed: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.receipts[e.ID] = p
	return p
}

func (n *Node) forget(p *pending) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.receipts, p.entry.ID)
}

// acknowledge says to the node that decided that this one has applied an entry.
//
// Invariant 2. It is called when the decision is durable in the register and the caches are
// purged, and not before: the entry carries the decision, so that one acknowledgement is true of
// both. A node that crashes in the next moment has the decision in its file, and its offset
// before the entry.
func (n *Node) acknowledge(e Entry, removed imagecache.Receipt) {
	if e.Node != n.id {
		n.say(ackSubject+e.Node, message{Entry: e.ID, Removed: removed})
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.receipts[e.ID]; p != nil {
		p.returned = true // what it removed is in the receipt since the decision
		p.wakeLocked()
	}
}

// hear takes in an acknowledgement.
func (n *Node) hear(data []byte) {
	var m message
	if json.Unmarshal(data, &m) != nil {
		return
	}
	n.mu.Lock()
	p := n.receipts[m.Entry]
	again := p != nil && p.applied[m.Node]
	n.mu.Unlock()
	if p != nil && !again {
		n.acknowledged(p, m.Node, m.Removed)
	}
}

func (n *Node) acknowledged(p *pending, node string, removed imagecache.Receipt) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p.applied[node] = true
	removed.Applied, removed.Known = 0, 0 // nodes are counted in applied
	p.sum.Merge(removed)
	p.wakeLocked()
}

// wakeLocked has await look again.
func (p *pending) wakeLocked() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Nodes put themselves every putEvery. One that was silent for silentFor longer than the node
// that was heard last is not waited for, but known until the bucket drops it.
const (
	putEvery  = 2 * time.Second
	silentFor = 3 * putEvery
)

// await returns when every node that lives has applied p, or with ctx, and which nodes there
// are: nil if the streams do not have p yet, or the nodes could not be listed.
//
// The list is asked for after the entry is in the stream. A node puts itself before it asks how
// far it has to follow (Node.join), so one that is not on the list applies the entry before it
// is ready. So the list is read only while a receipt is pending: nodes do not watch each other,
// and their number costs what they put, not its square.
func (n *Node) await(ctx context.Context, p *pending) []jetstream.Member {
	if p.out == nil || n.cfg.Alone {
		return nil
	}
	select {
	case <-p.out.sent:
	case <-ctx.Done():
		return nil
	}
	var members []jetstream.Member
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for list := true; ; {
		if list {
			if listed, err := n.listing.after(ctx, n.cfg.Cluster.Members); err == nil {
				members = append([]jetstream.Member{}, listed...) // not nil
			}
		}
		if _, all := n.count(p, members); all && members != nil {
			return members
		}
		select {
		case <-p.changed:
			list = members == nil
		case <-tick.C:
			list = true // a node may have ended
		case <-ctx.Done():
			return members
		}
	}
}

// count returns the receipt of p, and whether every node that lives has applied it.
func (n *Node) count(p *pending, members []jetstream.Member) (receipt imagecache.Receipt, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	receipt, all = p.sum, p.returned
	receipt.Applied, receipt.Known = len(p.applied), len(p.applied)
	if p.out == nil || n.cfg.Alone {
		receipt.Applied, receipt.Known = 1, 1
		return receipt, true
	}
	var last time.Time // by the clock of the cluster, which is not this machine's
	for _, m := range members {
		if m.Put.After(last) {
			last = m.Put
		}
	}
	for _, m := range members {
		if !p.applied[m.ID] {
			receipt.Known++
			all = all && last.Sub(m.Put) > silentFor
		}
	}
	if members == nil {
		// Whatever other nodes there are may not have heard of it.
		receipt.Known, all = max(2, receipt.Known), false
		receipt.Applied = min(receipt.Applied, receipt.Known-1)
	}
	return receipt, all
}
