package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/jsonlog"
	"github.com/novasocial/imagetier/internal/jsonlog/jsonlogtest"
)

// quietWorld is a world without faults, whose steps the test takes itself.
func quietWorld(t *testing.T, nodes int) *world {
	t.Helper()
	w := newWorld(1, nil)
	w.faults, w.nodes = false, nil
	for range nodes {
		x := w.addNode()
		x.skew = 0
		x.start()
	}
	w.settle()
	t.Cleanup(func() {
		if w.failure != nil {
			t.Error(w.failure)
		}
	})
	return w
}

// settle runs all pending work of all reachable nodes.
func (w *world) settle() {
	for range 5 {
		for _, x := range w.nodes {
			for range 9 {
				x.follow(1000)
			}
			x.chores()
			_, _ = x.node.flush(context.Background(), 1)
		}
		for len(w.messages) > 0 {
			w.deliver()
		}
	}
}

func (x *simNode) must(t *testing.T, kind Kind, of imagecache.Original) *pending {
	t.Helper()
	p, err := x.node.decide(t.Context(), entryOf(kind, imagecache.Target{Original: of}))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

var photo = simOriginals[0]

func TestNode_Lift_HoldsDespiteOlderTakedown(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.reachable = false
	a.must(t, KindTakedown, photo)
	w.settle()
	a.reachable = true
	a.must(t, KindLift, photo) // before the takedown could be sent
	w.settle()
	for _, x := range []*simNode{a, b} {
		if x.state.TakenDown(photo) {
			t.Errorf("%s has the original down", x.name)
		}
	}
}

func TestNode_Takedown_HoldsDespiteOlderLift(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.reachable = false
	a.must(t, KindTakedown, photo)
	a.must(t, KindLift, photo)
	w.now = w.now.Add(time.Second)
	b.must(t, KindTakedown, photo)
	w.settle()
	a.reachable = true
	w.settle()
	for _, x := range []*simNode{a, b} {
		if !x.state.TakenDown(photo) {
			t.Errorf("node %s serves an original that was taken down", x.name)
		}
	}
}

func TestNode_SendDecision_AppendsNothingBehindANewerOne(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	p := a.must(t, KindTakedown, photo)
	w.settle()
	b.must(t, KindLift, photo)
	w.settle()
	w.now = w.now.Add(simWindow + time.Minute)
	if err := a.node.send(t.Context(), p.entry); err != nil { // its acknowledgement was lost
		t.Fatal(err)
	}
	c := w.addNode()
	c.start()
	w.settle()
	for _, x := range []*simNode{a, b, c} {
		if x.state.TakenDown(photo) {
			t.Errorf("%s has the original down", x.name)
		}
	}
}

// Entries of a server or node that is broken, or worse, are skipped: decisions are possible after them, and the
// streams are followed.
func TestNode_Follow_SkipsAbsurdEntries(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	whole, err := json.Marshal(Entry{Stamp: Stamp{ID: "x", Node: "n"}, Kind: KindTakedown, Source: photo.Source,
		Name: []byte(photo.Name)})
	if err != nil {
		t.Fatal(err)
	}
	at := func(time string) []byte {
		return bytes.Replace(whole, []byte("1970-01-01T00:00:00Z"), []byte(time), 1)
	}
	for _, data := range [][]byte{
		nil, []byte("null"), []byte("[]"), []byte(`{"kind":"takedown"`), []byte(`{"kind":"nonsense","id":"1"}`),
		[]byte(`{"id":"1","name":"!"}`), bytes.Repeat([]byte("["), 1<<20), bytes.Repeat([]byte{0xff}, 1<<20),
		at("2262-04-11T23:47:16.854775807Z"), at("9999-12-31T23:59:59Z"), at("0001-01-01T00:00:00Z"), at("x"),
	} {
		for _, stream := range w.streams {
			stream.append(simEntry{subject: "x", data: data, at: w.now}, false)
		}
	}
	w.settle()
	if a.state.TakenDown(photo) || b.state.TakenDown(photo) {
		t.Error("the original is taken down")
	}
	a.must(t, KindTakedown, photo)
	w.settle()
	if !a.state.TakenDown(photo) || !b.state.TakenDown(photo) {
		t.Error("a takedown after them has no effect")
	}
	b.must(t, KindLift, photo)
	w.settle()
	if a.state.TakenDown(photo) || b.state.TakenDown(photo) {
		t.Error("a lift after them has no effect")
	}
}

func TestNode_Decide_ClockBehind_OrdersAfterSeen(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	b.skew = -time.Hour
	a.must(t, KindTakedown, photo)
	w.settle()
	b.must(t, KindLift, photo)
	w.settle()
	if a.state.TakenDown(photo) || b.state.TakenDown(photo) {
		t.Error("a lift by a clock that is an hour slow changed nothing")
	}
}

func TestNode_Receipt_CountsOnlyNodesWithDecision(t *testing.T) {
	for _, kind := range []Kind{KindTakedown, KindLift} {
		w := quietWorld(t, 3)
		a, c := w.nodes[0], w.nodes[2]
		if kind == KindLift {
			a.must(t, KindTakedown, photo)
			w.settle()
		}
		c.reachable = false
		p := a.must(t, kind, photo)
		w.settle()
		members, err := a.node.cfg.Cluster.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r, all := a.node.count(p, members); r.Applied != 2 || r.Known != 3 || all {
			t.Errorf("%s: %d of %d, all: %v", kind, r.Applied, r.Known, all)
		}
		c.reachable = true
		w.settle()
		if r, all := a.node.count(p, members); r.Applied != 3 || r.Known != 3 || !all {
			t.Errorf("%s: %d of %d, all: %v", kind, r.Applied, r.Known, all)
		}
		if r, _ := a.node.count(p, jetstream.Members{}); r.Applied >= r.Known {
			t.Errorf("%s: %d of %d where nodes cannot be listed", kind, r.Applied, r.Known)
		}
	}
}

func TestNode_Receipt_WaitsForItsOwnEntry(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	p := a.must(t, KindPurge, photo)
	if _, err := a.node.flush(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		b.follow(1000)
	}
	for len(w.messages) > 0 {
		w.deliver()
	}
	all := func() bool {
		members, err := a.node.cfg.Cluster.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, all := a.node.count(p, members)
		return all
	}
	if all() {
		t.Error("the receipt is complete before the node has read its own entry: a later read would purge newer fills")
	}
	w.settle()
	if !all() {
		t.Error("the receipt is not complete")
	}
}

// After a restart of the cluster the list of nodes is empty, and fills again within seconds.
func TestNode_Receipt_IsIncomplete_WhileTheListMayLackNodes(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	receipt := func() (imagecache.Receipt, bool) {
		p := a.must(t, KindPurge, photo)
		w.settle()
		list, err := a.node.cfg.Cluster.Members(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return a.node.count(p, list)
	}
	clear(w.members)
	w.listBegan = w.now
	b.reachable = false
	a.heartbeat()
	w.now = w.now.Add(time.Second)
	if r, all := receipt(); all || r.Applied >= r.Known {
		t.Errorf("%d of %d, all: %v, out of a list that began a second ago", r.Applied, r.Known, all)
	}
	// The other node connects as late as it can, and puts itself at its next heartbeat.
	w.now = w.listBegan.Add(jetstream.ReconnectTime + putEvery - time.Millisecond)
	a.heartbeat()
	if r, all := receipt(); all || r.Applied >= r.Known {
		t.Errorf("%d of %d, all: %v, before the other node has put itself", r.Applied, r.Known, all)
	}
	w.now = w.now.Add(youngList)
	b.reachable = true
	clear(w.members)
	w.members[b.node.id] = w.now
	if r, all := receipt(); all || r.Applied >= r.Known {
		t.Errorf("%d of %d, all: %v, from a list that lacks the node itself", r.Applied, r.Known, all)
	}
	a.heartbeat()
	if r, all := receipt(); !all || r.Applied != 2 || r.Known != 2 {
		t.Errorf("%d of %d, all: %v, out of a list that has all nodes", r.Applied, r.Known, all)
	}
}

func TestNode_Receipt_ReportsSupersededDecision(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	b.reachable = false
	b.skew = time.Hour
	b.must(t, KindTakedown, photo)
	older := a.must(t, KindTakedown, photo)
	w.settle()
	if r, _ := a.node.count(older, jetstream.Members{}); r.Superseded {
		t.Error("superseded by a decision that no node has received")
	}
	b.reachable = true
	w.settle()
	if r, _ := a.node.count(older, jetstream.Members{}); !r.Superseded || r.Applied != 2 {
		t.Errorf("superseded: %v, applied on %d nodes", r.Superseded, r.Applied)
	}
}

func TestNode_Flush_FullStream_StillSendsTakedowns(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	other, third := simOriginals[1], simOriginals[2]
	a.must(t, KindTakedown, third)
	w.settle()
	w.takedownsFull = true
	down := a.must(t, KindTakedown, photo)
	later := a.must(t, KindPurge, photo)
	lift := a.must(t, KindLift, third) // an existing entry is replaced, so it needs no more room
	purge := a.must(t, KindPurge, other)
	w.settle()
	sent := func(p *pending) bool { return p.out.sentAlready() }
	if !sent(purge) || !sent(lift) || b.state.TakenDown(third) {
		t.Error("a takedown that the full stream refused blocks entries about other originals")
	}
	if sent(down) || sent(later) {
		t.Error("a purge of the same original passed its takedown")
	}
	if r, _ := a.node.count(down, jetstream.Members{}); !strings.Contains(r.Waiting, "takedowns is full") {
		t.Errorf("the receipt says %q", r.Waiting)
	}
	if text := a.node.Waiting(); !strings.HasPrefix(text, "2 decisions wait") {
		t.Errorf("the node says %q", text)
	}
	w.takedownsFull = false
	w.settle()
	if !sent(down) || !sent(later) || !b.state.TakenDown(photo) || a.node.Waiting() != "" {
		t.Errorf("not sent when there is room again: %q", a.node.Waiting())
	}
}

func TestNode_Count_AsksOtherNodesAndRemovesNothing(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.cache.holds = map[imagecache.Original]int{}
	b.cache.holds = map[imagecache.Original]int{photo: 1}
	e := entryOf(KindPurge, imagecache.Target{Original: photo})
	e.ID = "count"
	p := a.node.expect(e)
	a.node.say(countSubject, message{Entry: e.ID, Count: &e})
	said := w.messages
	w.messages = nil
	for _, m := range said {
		for _, x := range w.nodes {
			x.node.hearCount(t.Context(), m.data)
		}
	}
	for len(w.messages) > 0 {
		w.deliver()
	}
	if p.sum.Variants != 1 || !p.applied[b.node.id] || p.applied[a.node.id] || b.cache.holds[photo] != 1 {
		t.Errorf("counted %+v by %v, node 2 holds %v", p.sum, p.applied, b.cache.holds)
	}
}

// listener is a cluster that hands over messages for as long as it is connected.
type listener struct {
	Cluster
	messages [][]byte
}

func (l *listener) Listen(ctx context.Context, _ string, heard func([]byte)) error {
	for _, m := range l.messages {
		heard(m)
	}
	<-ctx.Done()
	return nil
}

func (*listener) Say(string, []byte) {}

// slowCounts is a cache whose dry runs take a second.
type slowCounts struct {
	Cache
	counted atomic.Int32
}

func (c *slowCounts) Count(ctx context.Context, _ imagecache.Target) (imagecache.Receipt, error) {
	select {
	case <-time.After(time.Second):
		c.counted.Add(1)
		return imagecache.Receipt{}, nil
	case <-ctx.Done():
		return imagecache.Receipt{}, ctx.Err()
	}
}

// A dry run of a tag asks for each of its originals, while the shared store may be slow.
func TestNode_ListenCounts_CountsAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := quietWorld(t, 1).nodes[0]
		cache := new(slowCounts)
		l := new(listener)
		for range 3 * maxCounts {
			e := entryOf(KindPurge, imagecache.Target{Original: photo})
			text, err := json.Marshal(message{Node: "other", Entry: "e", Count: &e})
			if err != nil {
				t.Fatal(err)
			}
			l.messages = append(l.messages, text)
		}
		x.node.cfg.Cluster, x.node.cfg.Cache = l, cache
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second+time.Millisecond)
		defer cancel()
		if err := x.node.listenCounts(ctx); err != nil || cache.counted.Load() != 3*maxCounts {
			t.Errorf("%d counted in 3 s, %v; want %d", cache.counted.Load(), err, 3*maxCounts)
		}
	})
}

// If the list of nodes is lost while a node joins, no receipt counts the node. Then it must not
// become ready with the state of the stream that it read before.
func TestNode_Join_PutsItselfAgain_AfterAPause(t *testing.T) {
	w := quietWorld(t, 1)
	a := w.nodes[0]
	c := w.addNode()
	c.skew = 0
	c.start()
	for range 20 {
		c.follow(1000)
	}
	a.must(t, KindPurge, photo)
	if _, err := a.node.flush(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	c.chores() // sends its heartbeat; it has to apply the purge before it is ready
	clear(w.members)
	w.now = w.now.Add(10 * time.Second)
	for range 20 {
		c.follow(1000)
	}
	if c.node.Ready() == nil {
		t.Error("ready, and not in the list")
	}
	c.chores()
	if _, listed := w.members[c.node.id]; !listed || c.node.Ready() != nil {
		t.Errorf("listed: %v, %v", listed, c.node.Ready())
	}
}

func TestNode_Replay_ContinuesWithoutDisk(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.reachable = false
	a.must(t, KindPurge, photo)
	a.end() // a crash; the purge is in the outbox
	a.cache.broken = true
	a.reachable = true
	a.start()
	b.must(t, KindTakedown, simOriginals[1])
	w.settle()
	if !a.state.TakenDown(simOriginals[1]) {
		t.Error("a disk that cannot take purges delays a takedown")
	}
	if len(a.node.owed) != 2 || a.node.Ready() == nil {
		t.Errorf("%d purges wait, ready: %v", len(a.node.owed), a.node.Ready())
	}
	a.cache.broken = false
	w.settle()
	if len(a.node.owed) != 0 || a.node.Ready() != nil {
		t.Errorf("the disk is back: %d purges wait, ready: %v", len(a.node.owed), a.node.Ready())
	}
}

// The purge of a takedown fails, and succeeds later. That is no acknowledgement: an old object in
// the shared store is trusted until the entry is read from the stream of purges.
func TestNode_Repay_AcknowledgesOnlyTheStreamOfPurges(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	p := a.must(t, KindTakedown, photo)
	data, err := json.Marshal(p.entry)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.node.sendDecision(t.Context(), p.entry, data); err != nil {
		t.Fatal(err)
	}
	b.cache.broken = true
	for range 9 {
		b.follow(1000)
	}
	if len(b.node.owed) != 1 {
		t.Fatalf("%d purges wait, want that of the takedown", len(b.node.owed))
	}
	b.cache.broken = false
	b.chores()
	if len(b.node.owed) != 0 || len(w.messages) != 0 {
		t.Errorf("%d purges wait, messages %v; want none", len(b.node.owed), w.messages)
	}
	w.settle()
	if !p.applied[b.node.id] {
		t.Error("not acknowledged when the stream of purges has the entry")
	}
}

func TestNode_Replay_ContinuesOnceFailedPurgesFit(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	x.reachable = false
	x.must(t, KindPurge, photo)
	x.end()
	x.start()
	x.cache.broken = true
	for i := range maxOwed {
		x.node.owed[fmt.Sprint(i)] = owedPurge{Entry: Entry{Stamp: Stamp{ID: fmt.Sprint(i)}, Kind: KindLift}}
	}
	x.node.replay(t.Context())
	if x.node.replayed {
		t.Fatal("replayed though the purge neither succeeded nor waits")
	}
	x.cache.broken = false
	x.node.repay(t.Context())
	if !x.node.replayed || len(x.node.owed) > 0 {
		t.Errorf("replayed: %v, %d purges wait", x.node.replayed, len(x.node.owed))
	}
}

// failingCache fails purges of some originals.
type failingCache struct {
	Cache
	fails  map[string]bool
	purges int
}

func (c *failingCache) Purge(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	if c.purges++; c.fails[target.Original.Name] {
		return imagecache.Receipt{}, errSim
	}
	return imagecache.Receipt{}, nil
}

// Each attempt moves epochs, which keeps running fills of some other originals from being stored.
func TestNode_Repay_TriesFewPurgesWhileTheyFail(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	cache := &failingCache{Cache: x.cache, fails: make(map[string]bool)}
	x.node.cfg.Cache = cache
	const owed = 5 * repayFaults
	for i := range owed {
		name := fmt.Sprintf("%03d", i)
		cache.fails[name] = true
		x.node.owed[name] = owedPurge{Entry: Entry{Stamp: Stamp{ID: name}, Kind: KindPurge, Name: []byte(name)}}
	}
	x.node.repay(t.Context())
	if cache.purges != repayFaults || len(x.node.owed) != owed {
		t.Errorf("%d attempts, %d purges wait", cache.purges, len(x.node.owed))
	}
	for i := 2 * repayFaults; i < owed; i++ { // the others fail for good
		delete(cache.fails, fmt.Sprintf("%03d", i))
	}
	for range 9 {
		x.node.repay(t.Context())
	}
	if len(x.node.owed) != 2*repayFaults {
		t.Errorf("%d purges wait, want %d", len(x.node.owed), 2*repayFaults)
	}
	clear(cache.fails)
	x.node.repay(t.Context())
	if len(x.node.owed) != 0 {
		t.Errorf("%d purges wait, and the disk is back", len(x.node.owed))
	}
}

func TestNode_Owe_IsBounded(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	for i := range maxOwed {
		if err := x.node.owe(Entry{Stamp: Stamp{ID: fmt.Sprint(i)}}, sharedstore.Position{}, errSim); err != nil {
			t.Fatal(err)
		}
	}
	err := x.node.owe(Entry{Stamp: Stamp{ID: "more"}}, sharedstore.Position{}, errSim)
	if !errors.Is(err, errOwed) || !errors.Is(err, errSim) {
		t.Errorf("%v", err)
	}
	if err := x.node.owe(Entry{Stamp: Stamp{ID: "0"}}, sharedstore.Position{}, errSim); err != nil {
		t.Errorf("an entry that is queued already: %v", err)
	}
}

func TestNode_DeleteShared_DeletesOnceMore_WhenWritesHaveEnded(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	data := []byte(`{"at":"2027-01-01T00:00:00Z","id":"p","kind":"purge","source":"posts","name":"YQ=="}`)
	appended := w.now
	x.shared.fails = 1
	deleted := 0
	for again := time.Duration(1); again > 0; w.now = w.now.Add(again) {
		w.objects[photo] = simObject{version: 1} // a late write
		again = x.node.deleteShared(t.Context(), jetstream.Entry{Data: data, At: appended})
		if _, held := w.objects[photo]; !held {
			deleted++
		}
	}
	if age := w.now.Sub(appended); deleted != 2 || age < time.Minute {
		t.Errorf("deleted %d times, the last time after %v", deleted, age)
	}
}

// mapStore is an object store in memory.
type mapStore struct{ sync.Map }

func (s *mapStore) Get(context.Context, string) ([]byte, error) { return nil, sharedstore.ErrNotFound }

func (s *mapStore) Put(_ context.Context, key string, object []byte) error {
	s.Store(key, object)
	return nil
}

func (s *mapStore) List(_ context.Context, prefix string) (found []sharedstore.Object, _ error) {
	s.Range(func(key, _ any) bool {
		if text, ok := key.(string); ok && strings.HasPrefix(text, prefix) {
			found = append(found, sharedstore.Object{Key: text})
		}
		return true
	})
	return found, nil
}

func (s *mapStore) DeleteAll(ctx context.Context, prefix string) ([]sharedstore.Object, error) {
	found, err := s.List(ctx, prefix)
	for _, o := range found {
		s.Map.Delete(o.Key)
	}
	return found, err
}

// The path of a purge has no digest of the watermark, and the key of the object has one.
func TestNode_DeleteShared_VariantWithAWatermark(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	synctest.Test(t, func(t *testing.T) {
		store := new(mapStore)
		tier, err := sharedstore.New(sharedstore.Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		x.node.cfg.Shared = tier
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = tier.Run(ctx) }()
		const path = "/40x-wm.logo/v.1/posts/a.webp"
		marked := imagecache.NewKey(path+"?wm=0123456789abcdef", photo)
		if err := tier.Put(ctx, marked, imagecache.Image{Body: []byte("image")}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if objects, _ := store.List(ctx, ""); len(objects) != 1 {
			t.Fatalf("%d objects are stored", len(objects))
		}
		data, err := json.Marshal(entryOf(KindPurge, imagecache.Target{Key: imagecache.NewKey(path, photo)}))
		if err != nil {
			t.Fatal(err)
		}
		x.node.deleteShared(ctx, jetstream.Entry{Data: data})
		if objects, _ := store.List(ctx, ""); len(objects) != 0 {
			t.Errorf("%d objects are left", len(objects))
		}
		cancel()
	})
}

func TestNode_Follow_TrustsNoObject_BeforeItKnowsRecentPurges(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	x.must(t, KindPurge, photo)
	w.settle()
	old, fresh := sharedstore.Position{Log: 1}, sharedstore.Position{Log: 1, Entry: 1}
	trusts := func(at sharedstore.Position) bool { return x.shared.Trusts(photo, at, x.state.Position()) }
	x.end()
	x.start()
	if trusts(fresh) {
		t.Error("trusted before the stream is followed")
	}
	if from, err := x.node.beginPurges(w.streams[jetstream.Purges].state()); from != 1 || err != nil || trusts(fresh) {
		t.Errorf("reads from %d, trusted: %v, %v", from, trusts(fresh), err)
	}
	// The connection is lost before the first entry was read.
	if from, err := x.node.beginPurges(w.streams[jetstream.Purges].state()); from != 1 || err != nil {
		t.Errorf("reads from %d, %v", from, err)
	}
	if err := x.node.applyPurges(t.Context(), w.streams[jetstream.Purges].from(1, 10)); err != nil {
		t.Fatal(err)
	}
	if trusts(old) || !trusts(fresh) {
		t.Errorf("written before the purge: %v, after it: %v", trusts(old), trusts(fresh))
	}
}

// A node that has lost the cluster but not the store must not write a variant of a purged original
// after its objects were deleted for the last time.
func TestNode_Follow_WritesNoObject_WhenItMayMissAPurge(t *testing.T) {
	w := quietWorld(t, 2)
	x, y := w.nodes[0], w.nodes[1]
	w.settle()
	stores := func() bool {
		delete(w.objects, photo)
		x.cache.queued[photo] = simObject{at: x.state.Position()}
		x.write(photo)
		x.write(photo)
		_, ok := w.objects[photo]
		return ok
	}
	if !stores() {
		t.Error("nothing is written by a node that knows all purges")
	}
	x.reachable = false
	y.must(t, KindPurge, photo)
	w.settle()
	w.now = w.now.Add(maxUnseen - time.Second)
	if !stores() {
		t.Error("nothing is written after a short break, before the last deletion")
	}
	w.now = w.now.Add(time.Second)
	if stores() {
		t.Errorf("written %v after the last proof", maxUnseen)
	}
	x.reachable = true
	end := w.streams[jetstream.Purges].last
	x.node.lookAtPurges(x.look(w.streams[jetstream.Purges]))
	if stores() {
		t.Errorf("written before entry %d is applied", end)
	}
	w.settle()
	if !stores() {
		t.Error("nothing is written again")
	}
}

// The objects of a purge are deleted later than usual if the store was down. A node that starts
// then reads its entry, however many are behind it.
func TestNode_BeginPurges_ReadsWhatIsNotDeletedYet(t *testing.T) {
	const last = 3 * rememberPurges
	for name, test := range map[string]struct{ first, shared, want uint64 }{
		"all deleted":           {1, last, last - rememberPurges},
		"some not deleted":      {1, 99, 100},
		"none deleted":          {1, 0, 1},
		"no longer in the log":  {1000, 99, 1000},
		"the last ones are not": {1, last - 5, last - rememberPurges},
	} {
		t.Run(name, func(t *testing.T) {
			x := quietWorld(t, 1).nodes[0]
			log := jetstream.LogState{ID: 1, First: test.first, Last: last, Shared: test.shared}
			x.state.offsets.Purges = sharedstore.Position{Log: 1, Entry: last}
			x.node.recalled, x.node.begun = false, make(map[jetstream.Log]bool)
			if from, err := x.node.beginPurges(log); from != test.want || err != nil {
				t.Errorf("reads from %d, %v; want %d", from, err, test.want)
			}
		})
	}
}

// deletedShared notes up to which purge objects are deleted.
type deletedShared struct {
	*simShared
	to sharedstore.Position
}

func (s *deletedShared) Deleted(to sharedstore.Position) { s.to = to }

func TestNode_LookAtPurges_NotesWhatIsDeleted(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	shared := &deletedShared{simShared: x.shared}
	x.node.cfg.Shared = shared
	if _, err := x.node.beginPurges(jetstream.LogState{ID: 1, First: 1, Last: 9, Shared: 4}); err != nil {
		t.Fatal(err)
	}
	if want := (sharedstore.Position{Log: 1, Entry: 4}); shared.to != want {
		t.Errorf("deleted up to %v at the start, want %v", shared.to, want)
	}
	x.node.lookAtPurges(jetstream.LogState{ID: 1, First: 1, Last: 9, Shared: 7})
	if want := (sharedstore.Position{Log: 1, Entry: 7}); shared.to != want {
		t.Errorf("deleted up to %v, want %v", shared.to, want)
	}
}

// The servers have lost the last entries, and give their numbers to new ones. A running node has applied the lost
// ones, so that it would take the new ones for those.
func TestNode_Begin_AppliesAllAgain_AfterAReset(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	for _, of := range simOriginals {
		a.must(t, KindTakedown, of)
		w.settle()
	}
	if err := b.node.Take(t.Context(), []Pair{{Tag: "post:1", Of: photo}}, nil); err != nil {
		t.Fatal(err)
	}
	w.settle()
	for _, s := range w.streams {
		s.entries = s.entries[:len(s.entries)-1]
		s.last--
	}
	end := w.streams[jetstream.Purges].last
	old := simObject{at: sharedstore.Position{Log: 1, Entry: end + 1}}
	if !a.shared.Trusts(photo, old.at, a.state.Position()) {
		t.Fatal("an object is not trusted before the reset")
	}
	b.reachable = false // and purges meanwhile
	for _, x := range w.nodes {
		x.cache.holds[photo] = 0
	}
	p := b.must(t, KindPurge, photo)
	if _, err := b.node.take(t.Context(), nil, []string{"post:1"}); err != nil {
		t.Fatal(err)
	}
	b.reachable = true
	if _, err := b.node.flush(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if got := w.streams[jetstream.Purges].last; got != end+1 {
		t.Fatalf("the purge has number %d", got)
	}
	for _, x := range w.nodes {
		x.reset = true
		clear(x.following)
	}
	w.settle()
	if _, ok := a.cache.holds[photo]; ok || !p.applied[a.node.id] {
		t.Errorf("the purge is not applied: %v", p.applied)
	}
	if !a.state.tags.Ended("post:1", time.Time{}) {
		t.Error("the end of the tag is not applied")
	}
	if a.shared.Trusts(simOriginals[1], old.at, a.state.Position()) {
		t.Error("an object of a lost position is trusted")
	}
	c := w.addNode()
	c.start()
	w.settle()
	for _, of := range simOriginals {
		if !c.state.TakenDown(of) {
			t.Errorf("a new node does not have %s taken down", of.Name)
		}
	}
}

// A node that was down while the servers lost entries may have missed others of the same numbers.
func TestNode_BeginPurges_AfterAResetMeanwhile(t *testing.T) {
	w := quietWorld(t, 1)
	x, s := w.nodes[0], w.streams[jetstream.Purges]
	x.decide(entryOf(KindTakedown, imagecache.Target{Original: photo}))
	w.settle()
	x.stop(true)
	x.start()
	if x.state.offsets.Takedowns.Entry == 0 {
		t.Error("the takedowns have no offset before the reset")
	}
	want := jetstream.Applied{Log: s.id, Number: s.last, At: s.entries[len(s.entries)-1].at}
	got := x.node.appliedBefore(jetstream.Purges)
	if got.Log != want.Log || got.Number != want.Number || !got.At.Equal(want.At) {
		t.Errorf("%+v, want %+v", got, want)
	}
	for range 9 {
		x.follow(1) // perhaps the takedowns
	}
	x.node.begun[jetstream.Purges], x.reset = false, true
	_, err := x.node.beginPurges(x.look(s))
	if !errors.Is(err, ErrBehind) {
		t.Errorf("%v, want ErrBehind", err)
	}
	x.stopBehind(err)
	x.start()
	if o := x.state.offsets; o.Takedowns.Entry != 0 || o.Tags.Entry != 0 || o.Purges.Entry != s.last {
		t.Errorf("after the reset it starts with the offsets %+v", o)
	}
}

func TestNode_BeginPurges_NewNodeAndEmptiedStream(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	x.state.offsets.Purges = sharedstore.Position{} // like a node that could not read the stream at its start
	if _, err := x.node.beginPurges(jetstream.LogState{ID: 99, First: 2, Last: 1}); !errors.Is(err, ErrBehind) {
		t.Errorf("a purge was dropped, and how old it was is not known: %v", err)
	}
}

func TestNode_Purge_IsNotAcknowledgedWhenTheOutboxIsFull(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	x.reachable = false
	x.state.outbox.maxEntries = 2
	x.must(t, KindPurge, photo)
	x.must(t, KindTakedown, photo)
	if _, err := x.node.Purge(t.Context(), imagecache.Target{Original: photo}); !errors.Is(err, ErrOutboxFull) {
		t.Errorf("purge: %v", err)
	}
	if _, _, err := x.node.Lift(t.Context(), photo); !errors.Is(err, ErrOutboxFull) || !x.state.TakenDown(photo) {
		t.Errorf("lift: %v, down: %v", err, x.state.TakenDown(photo))
	}
	x.reachable = true
	w.settle()
	x.must(t, KindPurge, photo)
	w.settle()
	if text := x.fs.Text("/cache/fleet/outbox"); len(text) > 0 {
		t.Errorf("the outbox has %q", text)
	}
}

func TestNode_Follow_StartsAtTheBeginningOfANewStream(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	for range 3 {
		a.must(t, KindPurge, photo)
	}
	w.settle()
	b.reachable = false
	w.streams[jetstream.Purges] = &simStream{id: 99, first: 1}
	b.cache.holds[photo] = 1
	for range 5 {
		a.must(t, KindPurge, photo)
	}
	w.settle()
	b.reachable = true
	w.settle()
	if _, held := b.cache.holds[photo]; held {
		t.Error("entries of the new stream were passed over")
	}
}

func TestOpenState_Fails_WhenAFileIsUnreadable(t *testing.T) {
	for _, name := range []string{"/cache/fleet/offsets.json", "/cache/fleet/outbox", "/cache/takedowns"} {
		for damage, spoil := range map[string]func(*jsonlogtest.FS){
			"I/O error": func(f *jsonlogtest.FS) { f.ReadErr[name] = errSim },
			"truncated": func(f *jsonlogtest.FS) { f.Set(name, append([]byte(`{"node":`), '\n')) },
		} {
			w := quietWorld(t, 1)
			x := w.nodes[0]
			x.end()
			spoil(x.fs)
			_, err := OpenState(t.Context(), StateConfig{
				Dir: "/cache", FS: x.fs,
				Empty: func() error {
					t.Errorf("%s %s: the caches are emptied", name, damage)
					return nil
				},
				Peek: func(context.Context) (jetstream.LogState, error) {
					return w.streams[jetstream.Purges].state(), nil
				},
			})
			if err == nil {
				t.Errorf("%s %s: no error", name, damage)
			}
		}
	}
}

func TestOpenState_EmptiesTheCaches_OnlyWhenPurgesMayBeMissed(t *testing.T) {
	log := jetstream.LogState{ID: 7, First: 100, Last: 200}
	for name, test := range map[string]struct {
		offsets string
		want    bool
	}{
		"new node":          {"", true},
		"in reach":          {`{"node":"a","purges":{"Log":7,"Entry":150}}`, false},
		"just in reach":     {`{"node":"a","purges":{"Log":7,"Entry":99}}`, false},
		"out of reach":      {`{"node":"a","purges":{"Log":7,"Entry":98}}`, true},
		"of another stream": {`{"node":"a","purges":{"Log":6,"Entry":150}}`, true},
		"never followed":    {`{"node":"a","purges":{"Log":0,"Entry":0}}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			fs := jsonlogtest.New()
			if test.offsets != "" {
				fs.Set("/cache/fleet/offsets.json", []byte(test.offsets))
			}
			emptied := false
			s, err := OpenState(t.Context(), StateConfig{
				Dir: "/cache", FS: fs, Empty: func() error { emptied = true; return nil },
				Peek: func(context.Context) (jetstream.LogState, error) { return log, nil },
			})
			if err != nil || emptied != test.want || (s.Caches() != "") != test.want {
				t.Fatalf("emptied: %v, marked %q, %v", emptied, s.Caches(), err)
			}
			if emptied && s.Position() != (sharedstore.Position{Log: 7, Entry: 200}) {
				t.Errorf("begins at %+v", s.Position())
			}
		})
	}
}

// Without its file of takedowns, a node must not continue behind them in the stream: it has
// forgotten them.
func TestOpenState_ReadsTakedownsAgain_WhenTheirFileIsGone(t *testing.T) {
	w := quietWorld(t, 2)
	a, b := w.nodes[0], w.nodes[1]
	a.must(t, KindTakedown, photo)
	w.settle()
	b.end()
	b.fs.Remove("/cache/takedowns")
	b.start()
	w.settle()
	if !b.state.TakenDown(photo) {
		t.Error("the takedown is forgotten")
	}
}

func TestOpenState_LocksItsDirectory(t *testing.T) {
	cfg := StateConfig{
		Dir: t.TempDir(), Empty: func() error { return nil },
		Peek: func(context.Context) (jetstream.LogState, error) { return jetstream.LogState{}, errSim },
	}
	s, err := OpenState(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenState(t.Context(), cfg); err == nil {
		t.Error("opened twice")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// Files that are larger than any that a node writes are neither read whole nor changed. Without some tags a node
// serves; without its takedowns or its outbox it does not.
func TestOpenState_HugeFile(t *testing.T) {
	for name, says := range map[string]string{
		"takedowns":          "takedowns:1: the line has more than",
		"fleet/outbox":       "outbox has more than",
		"fleet/offsets.json": "offsets.json: it has more than",
		"tags":               "",
	} {
		t.Run(name, func(t *testing.T) {
			cfg := StateConfig{
				Dir: t.TempDir(), Empty: func() error { return nil },
				Peek: func(context.Context) (jetstream.LogState, error) { return jetstream.LogState{}, errSim },
			}
			path := filepath.Join(cfg.Dir, filepath.FromSlash(name))
			err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, nil, 0o600),
				os.Truncate(path, 256<<20))
			if err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := OpenState(t.Context(), cfg)
			runtime.ReadMemStats(&after)
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > 64<<20 {
				t.Errorf("%d MiB were allocated", bytes>>20)
			}
			if says == "" {
				if err := errors.Join(err, s.Close()); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want %s", err, says)
			}
			if info, err := os.Stat(path); err != nil || info.Size() != 256<<20 {
				t.Errorf("the file is changed: %v", err)
			}
		})
	}
}

// A node that joins a fleet with 100,000 takedowns needs one sync per batch.
func TestNode_ApplyTakedowns_SyncsOnceForABatch(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	syncs := 0
	x.fs.Step = func(op, path string) error {
		if op == "sync" && path == "/cache/takedowns" {
			syncs++
		}
		return nil
	}
	var batch []jetstream.Numbered
	for i := range uint64(jetstream.MaxBatch) {
		e := fmt.Sprintf(`{"at":"2027-01-01T00:00:00Z","node":"b","id":"%d","kind":"takedown","source":"posts","name":"%08d"}`, i, i)
		batch = append(batch, jetstream.Numbered{Number: i + 1, Data: []byte(e)})
	}
	if err := x.node.applyTakedowns(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if syncs != 1 || len(x.state.List(imagecache.Original{}, 2000)) != jetstream.MaxBatch {
		t.Errorf("%d syncs, %d are down", syncs, len(x.state.List(imagecache.Original{}, 2000)))
	}
}

func TestState_List_Pages(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	for _, of := range simOriginals {
		x.must(t, KindTakedown, of)
	}
	x.must(t, KindLift, simOriginals[1])
	first := x.state.List(imagecache.Original{}, 1)
	if len(first) != 1 || first[0].Original != simOriginals[0] || !first[0].Since.Equal(w.now) {
		t.Errorf("%+v", first)
	}
	if rest := x.state.List(first[0].Original, 10); len(rest) != 1 || rest[0].Original != simOriginals[2] {
		t.Errorf("%+v", rest)
	}
}

func TestTagStore_Apply_EndsInTheSameStateInAnyOrder(t *testing.T) {
	at := func(seconds int) Stamp { return Stamp{At: Instant(int64(seconds) * 1e9)} }
	entries := []Entry{
		{Stamp: at(1), Kind: KindTags, Learn: []learnt{{"post:1", "posts", []byte("a"), true}}},
		{Stamp: at(2), Kind: KindTags, Forget: "post:1"},
		{Stamp: at(3), Kind: KindTags, Learn: []learnt{
			{"post:1", "posts", []byte("a"), false},
			{"post:1", "posts", []byte("b"), true},
		}},
		{Stamp: at(4), Kind: KindTags, End: []string{"post:1"}},
		{Stamp: at(5), Kind: KindTags, Learn: []learnt{{"post:2", "posts", []byte("c"), false}}},
		{Stamp: at(6), Kind: KindTags, End: []string{"post:2"}},
		{Stamp: at(7), Kind: KindTags, Learn: []learnt{{"post:2", "posts", []byte("c"), false}}},
	}
	var want string
	for i := range 50 {
		fs := jsonlogtest.New()
		open := func() *tagStore {
			s, skipped, err := openTags(jsonlog.Config{Path: "tags", FS: fs}, time.Now)
			if err != nil || skipped > 0 {
				t.Fatal(skipped, err)
			}
			return s
		}
		s := open()
		shuffled := slices.Clone(entries)
		if i > 0 {
			rand.Shuffle(len(shuffled), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
		}
		for _, e := range shuffled {
			if err := s.apply(e); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*tagStore{s, open()} { // at once, and after a restart
			got := ""
			for _, tag := range []string{"post:1", "post:2"} {
				all := s.Of(tag)
				slices.SortFunc(all, compareOriginals)
				got += fmt.Sprint(all, s.LiveOf(tag), s.Ended(tag, time.Unix(3, 0)), s.Ended(tag, time.Unix(10, 0)))
			}
			if want == "" {
				want = got
				if want != "[{posts a} {posts b}] [{posts b}] true false[{posts c}] [] false false" {
					t.Fatal(want)
				}
			}
			if got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
	}
}

// A purge by tag of a node that lacks entries of other nodes would miss originals.
func TestNode_Of_NotCaughtUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := quietWorld(t, 2)
		a, b := w.nodes[0], w.nodes[1]
		if _, err := a.node.take(t.Context(), []Pair{{Tag: "post:1", Of: photo, Live: true}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := a.node.flush(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		knows := func(n *Node) (bool, error) {
			all, err := n.Of(t.Context(), "post:1")
			live, liveErr := n.LiveOf(t.Context(), "post:1")
			if len(all) != len(live) || (err == nil) != (liveErr == nil) {
				t.Errorf("%v, %v of all, %v, %v of the live", all, err, live, liveErr)
			}
			return len(all) == 1, err
		}
		if ok, err := knows(b.node); ok || err == nil || !strings.Contains(err.Error(), "entry 1 of the log of tags") {
			t.Errorf("behind the log: %v, %v", ok, err)
		}
		w.settle()
		if ok, err := knows(b.node); !ok || err != nil {
			t.Errorf("caught up: %v, %v", ok, err)
		}
		b.reachable = false
		if ok, err := knows(b.node); ok || !errors.Is(err, jetstream.ErrUnavailable) {
			t.Errorf("NATS is away: %v, %v", ok, err)
		}
		for _, cfg := range []Config{{State: b.state}, {State: b.state, Cluster: b.node.cfg.Cluster, Alone: true}} {
			if ok, err := knows(New(cfg)); !ok || err != nil {
				t.Errorf("a single node: %v, %v", ok, err)
			}
		}
	})
}

func TestNode_Knows_Pair(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	pair := Pair{Tag: "post:1", Of: photo}
	live := Pair{Tag: "post:1", Of: photo, Live: true}
	want := func(when string, knows, knowsLive bool) {
		t.Helper()
		if x.node.Knows(pair) != knows || x.node.Knows(live) != knowsLive {
			t.Errorf("%s: knows it: %v, as live: %v", when, x.node.Knows(pair), x.node.Knows(live))
		}
		if x.node.Knows(Pair{Tag: "post:1", Of: simOriginals[1]}) && when != "ended" {
			t.Errorf("%s: knows another original", when)
		}
	}
	take := func(learn []Pair, end ...string) {
		t.Helper()
		if _, err := x.node.take(t.Context(), learn, end); err != nil {
			t.Fatal(err)
		}
	}
	want("nothing learned", false, false)
	take([]Pair{pair})
	want("learned", true, false)
	take([]Pair{live})
	want("learned as live", true, true)
	if err := x.node.Forget("post:1"); err != nil {
		t.Fatal(err)
	}
	want("forgotten", false, false)
	take(nil, "post:1")
	want("ended", true, true)
	take([]Pair{pair})
	want("begun again", true, false)
}

// No log accepts an entry with such a name: it would block the outbox.
func TestNode_Decide_RefusesLongName(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	for n, refused := range map[int]bool{imageurl.MaxName: false, imageurl.MaxName + 1: true} {
		of := imagecache.Original{Source: "posts", Name: strings.Repeat("n", n)}
		_, purge := x.node.decide(t.Context(), entryOf(KindPurge, imagecache.Target{Original: of}))
		_, tags := x.node.take(t.Context(), []Pair{{Tag: "post:1", Of: of}}, nil)
		for _, err := range []error{purge, tags} {
			if errors.Is(err, imageurl.ErrSyntax) != refused || !refused && err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
	if n := x.state.outbox.len(); n != 2 {
		t.Errorf("%d entries are in the outbox, want 2", n)
	}
}

// An entry that is larger than a message of the log would block the outbox. In JSON a "<" takes six bytes.
func TestNode_Take_EntriesFitIntoMessages(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	var pairs []Pair
	var end []string
	for i := range 500 {
		tag := fmt.Sprint("post:", strings.Repeat("<", 250), i)
		of := imagecache.Original{Source: "posts", Name: strings.Repeat("n", imageurl.MaxName)}
		pairs = append(pairs, Pair{Tag: tag, Of: of})
		end = append(end, tag)
	}
	if _, err := x.node.take(t.Context(), pairs, end); err != nil {
		t.Fatal(err)
	}
	entries := x.state.outbox.oldest(100, func(Entry) bool { return true })
	for _, out := range entries {
		text, err := json.Marshal(out.Entry)
		if err != nil || len(text) > 512<<10 {
			t.Errorf("an entry has %d bytes, want at most 512 KiB: %v", len(text), err)
		}
	}
	if len(entries) != 10 {
		t.Errorf("%d entries are in the outbox, want 10", len(entries))
	}
}

// Another node may be asked to purge by a tag as soon as its event is answered.
func TestNode_Take_WaitsForTheStream(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	last := func() uint64 { return w.streams[jetstream.Tags].last }
	take := func(tag string) error { return x.node.Take(t.Context(), []Pair{{Tag: tag, Of: photo}}, nil) }
	x.reachable = false
	if err := take("post:1"); !errors.Is(err, jetstream.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable", err)
	}
	// A sender repeats its event, whose tag is known here by then and not learned again.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.node.Take(ctx, nil, nil); !errors.Is(err, jetstream.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable while a tag is not sent", err)
	}
	x.reachable = true
	if _, err := x.node.flush(t.Context(), 1); err != nil || last() != 1 {
		t.Fatalf("%v, %d entries in the stream, want the one that was waiting", err, last())
	}
	if err := x.node.Take(t.Context(), nil, nil); err != nil {
		t.Error(err)
	}
	// An entry of another stream that cannot be sent holds up no tag.
	x.must(t, KindPurge, photo)
	if err := take("post:2"); err != nil || last() != 2 || x.state.outbox.len() != 1 {
		t.Errorf("%v, %d entries in the stream, %d wait", err, last(), x.state.outbox.len())
	}
	if _, err := x.node.flush(t.Context(), 1); err != nil || x.state.outbox.len() != 0 {
		t.Errorf("%v, %d wait", err, x.state.outbox.len())
	}
}

// An entry in front of the tags of another call, which is being written, does not hide them.
func TestNode_Take_WaitsForTagsOfOtherCalls(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	x.reachable = false
	err := x.node.Take(t.Context(), []Pair{{Tag: "post:1", Of: photo}}, nil)
	if !errors.Is(err, jetstream.ErrUnavailable) {
		t.Fatal(err)
	}
	o := x.state.outbox
	o.waiting = slices.Insert(o.waiting, 0, &outgoing{Entry: Entry{Kind: KindPurge}, sent: make(chan struct{})})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := x.node.Take(ctx, nil, nil); !errors.Is(err, jetstream.ErrUnavailable) {
		t.Errorf("%v, want ErrUnavailable while a tag is not sent", err)
	}
}

// A node whose cluster is gone for good may go on alone: its outbox has tags that are never sent.
func TestNode_Take_AloneAfterAFleet(t *testing.T) {
	w := quietWorld(t, 1)
	x := w.nodes[0]
	x.reachable = false
	err := x.node.Take(t.Context(), []Pair{{Tag: "post:1", Of: photo}}, nil)
	if !errors.Is(err, jetstream.ErrUnavailable) {
		t.Fatal(err)
	}
	x.stop(true)
	hooks := &simStream{id: 9, first: 1}
	w.streams[jetstream.Hooks] = hooks
	x.reachable = true
	for name, cluster := range map[string]Cluster{"no hook": nil, "hook": &simCluster{w: w, x: x}} {
		state, err := OpenState(t.Context(), StateConfig{Dir: "/cache", FS: x.fs})
		if err != nil {
			t.Fatal(err)
		}
		alone := New(Config{State: state, Cache: x.cache, Cluster: cluster, Alone: true})
		if err := alone.Take(t.Context(), []Pair{{Tag: "post:2", Of: photo}}, nil); err != nil {
			t.Errorf("%s: an event is refused: %v", name, err)
		}
		if cluster != nil {
			if _, err := alone.flush(t.Context(), 1); err != nil || hooks.last != 0 || state.outbox.len() != 0 {
				t.Errorf("%s: %v, %d tags sent to the CDN, %d wait", name, err, hooks.last, state.outbox.len())
			}
		}
		if err := state.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNode_Take_LeavesRoomForPurges(t *testing.T) {
	for name, limit := range map[string]func(*outbox){
		"entries": func(o *outbox) { o.maxEntries = 20 },
		"bytes":   func(o *outbox) { o.maxBytes = 4000 },
	} {
		t.Run(name, func(t *testing.T) {
			x := quietWorld(t, 1).nodes[0]
			x.reachable = false
			limit(x.state.outbox)
			var err error
			for i := 0; i < 100 && !errors.Is(err, ErrOutboxFull); i++ { // the sender repeats its event
				err = x.node.Take(t.Context(), []Pair{{Tag: "post:1", Of: photo}}, nil)
			}
			if !errors.Is(err, ErrOutboxFull) {
				t.Errorf("the tags fill the outbox: %v", err)
			}
			x.must(t, KindPurge, photo)
			x.must(t, KindTakedown, photo)
		})
	}
}

// A full outbox is rewritten only if that makes room.
func TestOutbox_Add_FullOfWaitingEntries_RewritesNothing(t *testing.T) {
	x := quietWorld(t, 1).nodes[0]
	x.reachable = false
	x.state.outbox.maxBytes = 1000
	purge := func() error {
		_, err := x.state.outbox.add(entryOf(KindPurge, imagecache.Target{Original: photo}))
		return err
	}
	for purge() == nil {
	}
	written := 0
	x.fs.Step = func(string, string) error { written++; return nil }
	if err := purge(); !errors.Is(err, ErrOutboxFull) || written > 0 {
		t.Errorf("%v, after %d writes", err, written)
	}
	o := x.state.outbox
	if err := o.remove(o.oldest(2, nil)); err != nil {
		t.Fatal(err)
	}
	if err := purge(); err != nil {
		t.Errorf("%v, although two entries were sent", err)
	}
}

func TestNode_ApplyPurges_GapWithinABatch(t *testing.T) {
	w := quietWorld(t, 1)
	x, s := w.nodes[0], w.streams[jetstream.Purges]
	for range 9 {
		s.append(simEntry{subject: "x", data: []byte("{}"), at: w.now}, false)
	}
	batch := s.from(1, 9)
	s.drop(6)
	if err := x.node.applyPurges(t.Context(), slices.Delete(batch, 2, 6)); !errors.Is(err, ErrBehind) {
		t.Errorf("entries 3 to 6 were dropped before they arrived: %v", err)
	}
}

func TestTagStore_Set_BoundsTagsWithoutOriginals(t *testing.T) {
	s, _, err := openTags(jsonlog.Config{Path: filepath.Join(t.TempDir(), "tags")}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.max = 100
	for i := range 1000 {
		s.set(tagLine{Tag: fmt.Sprint(i), At: 1, Ended: new(Instant)})
	}
	if len(s.known) > 100 || len(s.order) > 100 {
		t.Errorf("%d tags are known", len(s.known))
	}
}

func TestTagStore_Open_ReadsOldFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tags")
	text := `{"t":"post:1","s":"posts","n":"YQ==","live":true}` + "\n" +
		`{"t":"post:2","ended":"2026-11-01T00:00:00Z"}` + "\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s, skipped, err := openTags(jsonlog.Config{Path: path}, time.Now)
	if err != nil || skipped != 0 || len(s.LiveOf("post:1")) != 1 || !s.Ended("post:2", time.Time{}) {
		t.Errorf("%v, %d skipped, %v, %v", err, skipped, s.LiveOf("post:1"), s.Ended("post:2", time.Time{}))
	}
}
