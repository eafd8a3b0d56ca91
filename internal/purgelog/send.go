package purgelog

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/novasocial/imagetier/imagecache"
)

// Times of nodes: every node says that it lives each second; one that was silent for three
// is not waited for, and one for ten minutes is no node any more.
const (
	beatEvery = time.Second
	silentFor = 3 * time.Second
	forgotten = 10 * time.Minute
)

// Purge purges here and on every node. The receipt counts nodes.
func (n *Node) Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return n.everywhere(ctx, n.entryOf(kindPurge, what))
}

// SoftPurge makes stale here and on every node. The receipt counts nodes.
func (n *Node) SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error) {
	return n.everywhere(ctx, n.entryOf(kindSoft, what))
}

// Takedown takes an original down here and everywhere. The mark comes before the purge, and
// the receipt counts the nodes that have both.
func (n *Node) Takedown(ctx context.Context, of imagecache.Original) (imagecache.Receipt, error) {
	if _, err := n.cfg.Down.Add(of); err != nil {
		return imagecache.Receipt{}, err
	}
	what := imagecache.Target{Original: of}
	word, _ := n.send(ctx, n.entryOf(kindTakedown, what))
	e := n.entryOf(kindPurge, what)
	e.Why, e.Word = kindTakedown, word
	return n.everywhere(ctx, e)
}

// Lift ends a takedown here, and soon everywhere. Where somebody is told of purges, it is one
// too, of an original of which there is nothing: so it is told when every node has lifted it.
func (n *Node) Lift(of imagecache.Original) (bool, error) {
	lifted, err := n.cfg.Down.Lift(of)
	if err != nil {
		return lifted, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.cfg.Wait)
	defer cancel()
	what := imagecache.Target{Original: of}
	word, _ := n.send(ctx, n.entryOf(kindLift, what))
	if !lifted || !n.cfg.Hooked {
		return lifted, nil
	}
	e := n.entryOf(kindPurge, what)
	e.Why, e.Word = kindLift, word
	if _, err := n.everywhere(ctx, e); err != nil {
		n.cfg.Log.Warn("a takedown was lifted, and what is in front of the tier may not be told", "source", of.Source, "name", of.Name, "err", err)
	}
	return lifted, nil
}

func (n *Node) entryOf(kind string, what imagecache.Target) entry {
	of := what.Original
	if what.Key != (imagecache.Key{}) {
		of = what.Key.Original()
	}
	return entry{ID: rand.Text(), From: n.id, Kind: kind, Source: of.Source, Name: []byte(of.Name), Path: what.Key.String()}
}

func (n *Node) everywhere(ctx context.Context, e entry) (imagecache.Receipt, error) {
	receipt, err := n.remove(ctx, e)
	w := n.expect(e.ID)
	defer n.expectNoMore(e.ID)
	limited, cancel := context.WithTimeout(ctx, n.cfg.Wait)
	defer cancel()
	_, sent := n.send(limited, e)
	if err != nil {
		return receipt, err // the others do it all the same
	}
	if sent {
		n.await(limited, w)
		if n.cfg.Hooked {
			n.say("done", said{Entry: e.ID})
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	receipt.Merge(w.sum)
	receipt.Applied, receipt.Known = len(w.applied), len(n.nodesLocked(forgotten))
	if !sent {
		// Whoever else there is has not heard of it, also if none is known at the moment.
		receipt.Applied, receipt.Known = 1, max(2, receipt.Known)
	}
	return receipt, nil
}

// send appends an entry to its log, or has it wait in the outbox, and reports which; of the
// first, its number.
func (n *Node) send(ctx context.Context, e entry) (number uint64, sent bool) {
	data, err := json.Marshal(e)
	if err == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.Wait)
		defer cancel()
		number, err = n.bus.Append(limited, e.log(), e.about(), e.ID, data)
	}
	if err == nil {
		return number, true
	}
	n.cfg.Log.Error("an order could not be told to the other nodes: they are told as soon as the cluster can be reached",
		"kind", e.Kind, "source", e.Source, "name", string(e.Name), "err", err)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outbox = append(n.outbox, e)
	n.saveOutboxLocked()
	return 0, false
}

// waiting collects who has applied an entry; guarded by Node.mu.
type waiting struct {
	applied map[string]bool
	sum     imagecache.Receipt
	changed chan struct{}
}

func (n *Node) expect(id string) *waiting {
	w := &waiting{applied: make(map[string]bool), changed: make(chan struct{}, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waiting[id] = w
	return w
}

func (n *Node) expectNoMore(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.waiting, id)
}

// await returns when every node that lives has applied it, or when ctx is done.
func (n *Node) await(ctx context.Context, w *waiting) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		n.mu.Lock()
		all := !slices.ContainsFunc(n.nodesLocked(silentFor), func(id string) bool { return !w.applied[id] })
		n.mu.Unlock()
		if all {
			return
		}
		select {
		case <-w.changed:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// nodesLocked are those that were heard of lately, and this one.
func (n *Node) nodesLocked(lately time.Duration) []string {
	nodes := []string{n.id}
	for id, at := range n.heard {
		switch age := time.Since(at); {
		case age > forgotten:
			delete(n.heard, id)
		case age <= lately && id != n.id:
			nodes = append(nodes, id)
		}
	}
	return nodes
}

// said is what nodes tell each other.
type said struct {
	Node    string             `json:"node"`
	Ends    bool               `json:"ends,omitempty"`
	Entry   string             `json:"entry,omitempty"`
	Removed imagecache.Receipt `json:"removed"`
}

func (n *Node) say(subject string, what said) {
	what.Node = n.id
	if data, err := json.Marshal(what); err == nil {
		n.bus.Say(subject, data)
	}
}

// acknowledge tells whoever asked for it that this node has applied an entry: once it has
// heard the word that the entry is about.
func (n *Node) acknowledge(e entry, receipt imagecache.Receipt) {
	n.mu.Lock()
	wait := e.Word > n.place.Takedowns.Entry
	if wait && len(n.late) < maxLate {
		n.late = append(n.late, lateAck{e, receipt})
	}
	n.mu.Unlock()
	if !wait {
		n.say("ack."+e.From, said{Entry: e.ID, Removed: receipt})
	}
}

// lateAck is an acknowledgement that waits for a word.
type lateAck struct {
	of      entry
	receipt imagecache.Receipt
}

// maxLate bounds them: they wait for milliseconds, unless the log of takedowns was lost, and
// then nobody waits for them.
const maxLate = 1000

// acknowledgeLate tells what waited for the words that were heard by now.
func (n *Node) acknowledgeLate() {
	n.mu.Lock()
	late := n.late
	n.late = nil
	n.mu.Unlock()
	for _, ack := range late {
		n.acknowledge(ack.of, ack.receipt)
	}
}

func (n *Node) hearAck(data []byte) {
	var s said
	if json.Unmarshal(data, &s) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	w := n.waiting[s.Entry]
	if w == nil || w.applied[s.Node] {
		return
	}
	w.applied[s.Node] = true
	w.sum.Merge(s.Removed)
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (n *Node) hear(data []byte) {
	var s said
	if json.Unmarshal(data, &s) != nil || s.Node == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if s.Ends {
		delete(n.heard, s.Node) // it has a place in the log, and comes back by itself
		return
	}
	n.heard[s.Node] = time.Now()
}

// beat says that this node lives, empties the outbox, and tries what failed.
func (n *Node) beat(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		if n.Ready() == nil { // before, it applies what it missed and is not asked for more
			n.say("node", said{})
		}
		n.flush(ctx)
		n.repay(ctx)
		select {
		case <-ctx.Done():
			n.say("node", said{Ends: true})
			return nil
		case <-tick.C:
		}
	}
}

// flush appends what waits in the outbox, oldest first.
func (n *Node) flush(ctx context.Context) {
	for ctx.Err() == nil {
		n.mu.Lock()
		if len(n.outbox) == 0 {
			n.mu.Unlock()
			return
		}
		e := n.outbox[0]
		n.mu.Unlock()
		data, err := json.Marshal(e)
		if err == nil {
			limited, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err = n.bus.Append(limited, e.log(), e.about(), e.ID, data)
			cancel()
		}
		if err != nil {
			return
		}
		n.mu.Lock()
		n.outbox = slices.DeleteFunc(n.outbox, func(other entry) bool { return other.ID == e.ID })
		n.saveOutboxLocked()
		n.mu.Unlock()
	}
}

// repay applies again what could not be applied.
func (n *Node) repay(ctx context.Context) {
	n.mu.Lock()
	owed := make(map[uint64]entry, len(n.owed))
	for at, e := range n.owed {
		owed[at] = e
	}
	n.mu.Unlock()
	for at, e := range owed {
		if _, err := n.remove(ctx, e); err != nil {
			continue
		}
		n.mu.Lock()
		delete(n.owed, at)
		n.saveLocked()
		n.mu.Unlock()
	}
}

// The outbox is a line of JSON for each entry, written whole each time it changes.
func (n *Node) outboxFile() string { return filepath.Join(n.cfg.Dir, "outbox") }

func (n *Node) readOutbox() (entries []entry) {
	text, err := os.ReadFile(n.outboxFile())
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(text) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			n.cfg.Log.Error("an order that waited for the other nodes does not read", "err", err)
			continue
		}
		entries = append(entries, e)
	}
	return entries
}

func (n *Node) saveOutboxLocked() {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	for _, e := range n.outbox {
		_ = enc.Encode(e) // a struct of strings and bytes
	}
	if err := replace(n.outboxFile(), text.Bytes()); err != nil {
		n.cfg.Log.Error("orders that wait for the other nodes cannot be written: a restart before they are told loses them", "orders", len(n.outbox), "err", err)
	}
}
