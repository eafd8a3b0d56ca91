package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// message is a message between nodes. If it is lost, a receipt counts fewer nodes.
type message struct {
	Node    string             `json:"node"`
	Entry   string             `json:"entry"`
	Removed imagecache.Receipt `json:"removed"`
	Count   *Entry             `json:"count,omitempty"` // of countSubject: what to count
}

// Subjects of messages.
const (
	appliedSubject = "done" // every node has applied an entry, or the wait for it has timed out
	ackSubject     = "ack." // followed by the deciding node: one node has applied an entry, or counted
	countSubject   = "count"
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

// pending is a decision with a pending receipt; all fields but entry, out and changed are guarded
// by Node.mu.
//
// A node purges twice for its own decision: when it decides, and when the entry returns in the
// stream, since in between it may have read an object from the shared store that another node had
// not purged yet. The receipt waits for both (returned). Otherwise:
//
//  1. A job purges an original and gets its receipt.
//  2. It warms the original's variants.
//  3. The entry comes back, and removes them.
type pending struct {
	entry    Entry
	out      *outgoing // nil: this node is alone
	applied  map[string]bool
	returned bool // this node has also applied its own entry from the stream
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

// acknowledge tells the deciding node that this node has applied an entry.
//
// Invariant 2. It is called only when the decision is durable in the register and the caches are
// purged. The entry carries the decision, so one acknowledgement covers both. A node that crashes
// right afterwards has the decision in its file, and its offset before the entry.
func (n *Node) acknowledge(e Entry, removed imagecache.Receipt) {
	removed.Superseded = e.decides() && n.newerHere(e)
	if e.Node != n.id {
		n.say(ackSubject+e.Node, message{Entry: e.ID, Removed: removed})
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.receipts[e.ID]; p != nil {
		p.returned = true // the receipt already has what the decision removed
		p.sum.Superseded = p.sum.Superseded || removed.Superseded
		p.wakeLocked()
	}
}

// hear records an acknowledgement.
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

// wakeLocked makes await check again.
func (p *pending) wakeLocked() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Nodes put themselves into the bucket every putEvery. Receipts do not wait for a node whose last
// put is silentFor older than the newest put of any node, but it counts as known until the bucket
// drops it.
const (
	putEvery  = 2 * time.Second
	silentFor = 3 * putEvery
	// youngList is the minimum age of a usable list of nodes: a restarted cluster begins with an
	// empty list, other nodes may connect later than this one, and then put themselves within putEvery.
	youngList = jetstream.ReconnectTime + putEvery
)

// await returns when every live node has applied p, or when ctx is done. It returns the nodes: none
// if the streams do not have p yet, or if the nodes could not be listed.
//
// The list is requested after the entry is in the stream. A node puts itself before it determines
// how far it has to follow (Node.join), so a node that is not in the list applies the entry before
// it is ready. The list is read only while a receipt is pending: nodes do not watch each other, so
// the cost grows with the number of nodes, not with its square.
func (n *Node) await(ctx context.Context, p *pending) (list jetstream.Members) {
	if p.out == nil || n.cfg.Alone {
		return list
	}
	select {
	case <-p.out.sent:
	case <-ctx.Done():
		return list
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ask := true; ; {
		if ask {
			if listed, err := n.listing.after(ctx, n.cfg.Cluster.Members); err == nil {
				list = listed
			}
		}
		if _, all := n.count(p, list); all {
			return list
		}
		select {
		case <-p.changed:
			ask = len(list.Nodes) == 0
		case <-tick.C:
			ask = true // a node may have ended
		case <-ctx.Done():
			return list
		}
	}
}

// count returns the receipt of p, and whether every live node has applied it.
//
// A list without this node, or one younger than youngList, may lack other nodes that serve:
//
//  1. The cluster is restarted, and the list is empty. Node 1 puts itself.
//  2. Node 1 purges, and finds only itself in the list.
//  3. Node 2 puts itself, and has not applied the purge.
//
// So a receipt with such a list counts one known node more than have applied it.
func (n *Node) count(p *pending, list jetstream.Members) (receipt imagecache.Receipt, all bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	receipt, all = p.sum, p.returned
	receipt.Applied, receipt.Known = len(p.applied), len(p.applied)
	if p.out == nil || n.cfg.Alone {
		receipt.Applied, receipt.Known = 1, 1
		return receipt, true
	}
	var last time.Time // by the clock of the cluster, which is not this machine's
	self := false
	for _, m := range list.Nodes {
		self = self || m.ID == n.id
		if m.Put.After(last) {
			last = m.Put
		}
	}
	for _, m := range list.Nodes {
		if !p.applied[m.ID] {
			receipt.Known++
			all = all && last.Sub(m.Put) > silentFor
		}
	}
	if !self || list.Age < youngList {
		receipt.Known, all = max(receipt.Known, receipt.Applied+1), false
	}
	if !p.out.sentAlready() {
		receipt.Waiting = waitingText(n.unsent)
	}
	return receipt, all
}

// waitingText says why decisions wait in the outbox, as text for users.
func waitingText(unsent error) string {
	switch {
	case unsent == nil:
		return ""
	case errors.Is(unsent, jetstream.ErrFull):
		return "The log of takedowns is full: raise max_bytes of the NATS stream " + jetstream.Takedowns.String() + "."
	}
	return "Sending to NATS fails; the log says why."
}

// Waiting says how many decisions wait to be sent and why; "" if no decision waits.
func (n *Node) Waiting() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text := waitingText(n.unsent); text != "" {
		return fmt.Sprintf("%d decisions wait to be replicated. %s", n.state.outbox.len(), text)
	}
	return ""
}
