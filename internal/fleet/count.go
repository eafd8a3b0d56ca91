package fleet

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
)

// Count returns what a purge of target would remove from all nodes, and removes nothing. It waits
// for at most Config.Wait; the receipt counts the nodes that have answered.
//
// It uses no stream: nodes are asked, and answer, by messages that may be lost.
func (n *Node) Count(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	e := entryOf(KindPurge, target)
	e.Stamp = n.stamp(e)
	p := n.expect(e)
	defer n.forget(p)
	receipt, err := n.cfg.Cache.Count(ctx, target)
	if err != nil {
		return imagecache.Receipt{}, err
	}
	if n.cfg.Cluster != nil && !n.cfg.Alone {
		p.out = &outgoing{sent: make(chan struct{})}
		close(p.out.sent) // nothing to send before the nodes can be listed
	}
	n.acknowledged(p, n.id, receipt)
	n.acknowledge(e, imagecache.Receipt{}) // it does not return in the stream
	n.say(countSubject, message{Entry: e.ID, Count: &e})
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Wait)
	defer cancel()
	list := n.await(ctx, p)
	receipt, _ = n.count(p, list)
	return receipt, nil
}

// maxCounts is how many dry runs for other nodes run at once: each may have to list a slow shared store.
const maxCounts = 32

// listenCounts answers the dry runs of other nodes until ctx is done.
func (n *Node) listenCounts(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxCounts)
	return n.cfg.Cluster.Listen(ctx, countSubject, func(data []byte) {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			n.hearCount(ctx, data)
		})
	})
}

// hearCount counts for another node and answers it.
func (n *Node) hearCount(ctx context.Context, data []byte) {
	var m message
	if json.Unmarshal(data, &m) != nil || m.Count == nil || m.Node == n.id {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Wait)
	defer cancel()
	receipt, err := n.cfg.Cache.Count(ctx, m.Count.target())
	if err != nil {
		n.cfg.Log.Warn("dry run of a purge failed", "source", m.Count.Source, "name", string(m.Count.Name), "err", err)
		return
	}
	n.say(ackSubject+m.Node, message{Entry: m.Entry, Removed: receipt})
}
