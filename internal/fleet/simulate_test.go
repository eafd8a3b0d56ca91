package fleet

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/internal/jsonlog/jsonlogtest"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "replay this seed of the simulation, with a trace")
	firstSeed = flag.Uint64("first-seed", 1, "the seed that the simulation begins with")
)

// TestSimulation runs some nodes over a cluster and disks in memory, with these faults: lost
// connections, crashes between any two writes with and without unsynced data, lost and repeated
// acknowledgements, lost streams and wrong clocks. After every step it checks the guarantees of
// package fleet. A seed that fails is printed, and `go test ./internal/fleet -run Simulation -seed
// N` replays it.
func TestSimulation(t *testing.T) {
	if *oneSeed != 0 {
		if err := simulate(*oneSeed, t.Logf); err != nil {
			t.Fatal(err)
		}
		return
	}
	seeds := uint64(2000)
	if text := os.Getenv("SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if testing.Short() {
		seeds = 200
	}
	var next atomic.Uint64
	next.Store(*firstSeed)
	var failed atomic.Int64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for failed.Load() < 5 {
				seed := next.Add(1) - 1
				if seed >= *firstSeed+seeds {
					return
				}
				if err := simulate(seed, nil); err != nil {
					failed.Add(1)
					t.Errorf("seed %d (go test ./internal/fleet -run Simulation -seed %d): %v", seed, seed, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d seeds", min(next.Load()-*firstSeed, seeds))
}

// world is one simulation. The seed determines all of it.
type world struct {
	rng      *rand.Rand
	trace    func(format string, args ...any)
	now      time.Time
	faults   bool
	ids      int
	crashIn  int // steps until the running node crashes; 0 is never
	crashes  int // one in this many actions ends in a crash; depends on the seed
	losses   int // per thousand steps: losses of all or part of a stream
	cuts     int // per thousand steps: nodes that are disconnected or reconnected
	nodes    []*simNode
	streams  map[jetstream.Log]*simStream
	oldReads map[string]simEntry
	members  map[string]time.Time
	// listBegan is when the list of members was created: a restarted cluster loses it.
	listBegan time.Time
	messages  []simMessage
	failure   error

	takedownsFull bool // the takedown stream refuses new originals
	objects       map[imagecache.Original]simObject
	deletions     []simDeletion
	first         map[uint64]uint64 // by log ID: the first entry of a purge stream that has dropped entries
	kinds         map[string]Kind   // of decisions, by id
	sentBy        map[string]Stamp  // the newest decision about an original that a node has appended
	resent        map[string]bool   // entries that were appended before

	version  map[imagecache.Original]int   // of the origin
	carries  map[string]int                // by entry: the version below which it purges
	appended map[imagecache.Original]int   // the highest that the stream of purges ever had
	promised map[imagecache.Original]int   // the highest that was acknowledged
	decided  map[imagecache.Original]Stamp // the newest decision that was acknowledged
}

// simNode is a node and its disk.
type simNode struct {
	w         *world
	name      string
	fs        *jsonlogtest.FS
	cache     *simCache
	skew      time.Duration
	reachable bool
	state     *State // nil while it is down
	node      *Node
	following map[jetstream.Log]*simCursor
	waiting   []*pending
	shared    *simShared
	lastPut   time.Time // into the list of nodes
	lastCut   time.Time // when it could not reach the cluster

	holds       map[imagecache.Original]Stamp // decisions for which a receipt counted this node
	purged      map[imagecache.Original]int   // versions below which a receipt counted its purges
	goalDemands map[imagecache.Original]int   // versions that it must have purged before it becomes ready
	ready       bool

	puts         int                         // into the list of nodes
	stateDemands map[imagecache.Original]int // versions of the purge stream when its state was read
	waived       map[imagecache.Original]int // purges of a lost stream
	reset        bool                        // streams have lost entries that it has applied
}

type simCursor struct{ id, next uint64 }

type crash struct{}

var errSim = errors.New("simulated fault")

func (w *world) chance(faults bool, oneIn int) bool { return faults && w.rng.IntN(oneIn) == 0 }

// step is called between any two changes of state: the running node may crash there.
func (w *world) step(string, string) {
	if w.crashIn > 0 {
		if w.crashIn--; w.crashIn == 0 {
			panic(crash{})
		}
	}
}

func (w *world) logf(format string, args ...any) {
	if w.trace != nil {
		w.trace(format, args...)
	}
}

func (w *world) fail(format string, args ...any) {
	if w.failure == nil {
		w.failure = fmt.Errorf(format, args...)
	}
}

func (w *world) wasAppended(l jetstream.Log, data []byte) {
	e, err := decode(data)
	if err != nil || l != jetstream.Purges {
		return
	}
	of := e.original()
	// A node's decisions about an original reach the CDN in the order of the stream.
	if by := e.Node + " " + of.Name; e.Compare(w.sentBy[by]) < 0 && !w.resent[e.ID] {
		w.fail("%s sends %s %s behind a newer entry of its own", e.Node, e.Kind, of.Name)
	} else {
		w.sentBy[by] = e.Stamp
	}
	w.resent[e.ID] = true
	if !e.purges() {
		return
	}
	w.appended[of] = max(w.appended[of], w.carries[e.ID])
	w.deletions = append(w.deletions, simDeletion{data: data, at: w.now, due: w.now})
	for _, x := range w.nodes {
		if w.carries[e.ID] >= x.waived[of] {
			delete(x.waived, of)
		}
	}
}

var simOriginals = []imagecache.Original{
	{Source: "posts", Name: "a"},
	{Source: "posts", Name: "b"},
	{Source: "posts", Name: "c"},
}

var simTags = []string{"post:1", "user:1"}

func newWorld(seed uint64, trace func(string, ...any)) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 1)), trace: trace, now: time.Unix(1_800_000_000, 0), faults: true,
		streams: make(map[jetstream.Log]*simStream), oldReads: make(map[string]simEntry),
		members: make(map[string]time.Time), version: make(map[imagecache.Original]int),
		carries: make(map[string]int), appended: make(map[imagecache.Original]int),
		promised: make(map[imagecache.Original]int), decided: make(map[imagecache.Original]Stamp),
		objects: make(map[imagecache.Original]simObject), kinds: make(map[string]Kind),
		first: make(map[uint64]uint64), sentBy: make(map[string]Stamp), resent: make(map[string]bool),
	}
	for i, l := range []jetstream.Log{jetstream.Purges, jetstream.Takedowns, jetstream.Tags} {
		w.streams[l] = &simStream{id: uint64(i + 1), first: 1}
	}
	w.crashes = []int{15, 60, 300}[w.rng.IntN(3)]
	w.losses = []int{0, 0, 2, 10}[w.rng.IntN(4)]
	w.cuts = []int{5, 20, 40}[w.rng.IntN(3)]
	for range 3 + w.rng.IntN(3) {
		w.addNode()
	}
	return w
}

func (w *world) addNode() *simNode {
	x := &simNode{
		w: w, name: fmt.Sprintf("node%d", len(w.nodes)), fs: jsonlogtest.New(), reachable: true,
		skew: time.Duration(w.rng.Int64N(int64(10*time.Second))) - 5*time.Second,
		cache: &simCache{
			w: w, holds: make(map[imagecache.Original]int), lost: make(map[imagecache.Original]int),
			filling: make(map[imagecache.Original]int),
			queued:  make(map[imagecache.Original]simObject), writing: make(map[imagecache.Original]simObject),
		},
		shared: &simShared{w: w}, lastCut: w.now.Add(-time.Hour), // before any list
		holds: make(map[imagecache.Original]Stamp), purged: make(map[imagecache.Original]int),
		waived: make(map[imagecache.Original]int),
	}
	x.fs.Step = func(op, path string) error {
		w.step(op, path)
		if w.chance(w.faults, 300) {
			return errSim
		}
		return nil
	}
	w.nodes = append(w.nodes, x)
	return x
}

// simulate runs one seed.
func simulate(seed uint64, trace func(string, ...any)) error {
	w := newWorld(seed, trace)
	steps := 150 + w.rng.IntN(250)
	for range steps {
		w.now = w.now.Add(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
		w.one()
		if w.failure != nil {
			return w.failure
		}
	}
	w.heal()
	return w.failure
}

// one makes a step of the world, or of one node.
func (w *world) one() {
	for _, x := range w.nodes {
		x.heartbeat()
	}
	x, roll := w.nodes[w.rng.IntN(len(w.nodes))], w.rng.IntN(1000)
	switch {
	case w.rng.IntN(150) == 0:
		w.takedownsFull = !w.takedownsFull
		w.logf("the takedown stream is full: %v", w.takedownsFull)
	case w.losses > 0 && w.rng.IntN(100) == 0:
		w.logf("the list of nodes is lost")
		clear(w.members)
		w.listBegan = w.now
		if x.node != nil && x.node.Ready() == nil {
			x.run(x.decideNow)
		}
	case roll < 3:
		w.now = w.now.Add(simWindow + time.Minute)
		w.logf("time passes")
	case roll < 3+w.losses:
		if w.rng.IntN(3) > 0 {
			s := w.streams[jetstream.Purges]
			s.drop(w.rng.IntN(4))
			w.first[s.id] = s.first
		} else {
			w.loseStream()
		}
	case roll < 20+w.cuts:
		x.reachable = !x.reachable
		w.logf("%s reachable: %v", x.name, x.reachable)
	case roll < 200 && len(w.messages) > 0:
		w.deliver()
	case roll < 240:
		of := simOriginals[w.rng.IntN(len(simOriginals))]
		w.version[of]++
	case x.node == nil:
		x.start()
	case roll < 245 && w.crashes < 300:
		x.stop(w.rng.IntN(3) > 0)
	default:
		x.run(x.act)
		x.check()
	}
}

// loseStream replaces a stream by a new, empty one. A running node misses the purges that it had
// not applied; a node that is down detects the loss when it starts.
func (w *world) loseStream() {
	l := []jetstream.Log{jetstream.Purges, jetstream.Takedowns}[w.rng.IntN(2)]
	w.logf("%s is lost", l)
	w.streams[l] = &simStream{id: w.streams[l].id + 10, first: 1}
	clear(w.oldReads)
	if l != jetstream.Purges {
		return
	}
	for _, x := range w.nodes {
		if x.node != nil {
			x.waived = maps.Clone(w.appended)
		}
	}
	w.deletions = nil
}

// heartbeat puts a node into the list of nodes, as Node.runMember does.
func (x *simNode) heartbeat() {
	if !x.reachable {
		x.lastCut = x.w.now
	}
	if x.node == nil || x.node.Ready() != nil || x.w.now.Sub(x.lastPut) < putEvery {
		return
	}
	if x.node.cfg.Cluster.PutMember(context.Background(), x.node.id) == nil {
		x.lastPut = x.w.now
	}
}

// deliver delivers a message, sometimes twice.
func (w *world) deliver() {
	i := w.rng.IntN(len(w.messages))
	m := w.messages[i]
	if w.rng.IntN(5) > 0 {
		w.messages = slices.Delete(w.messages, i, i+1)
	}
	for _, x := range w.nodes {
		if x.node != nil && x.reachable && x.node.id == nodeOf(m.subject) {
			x.node.hear(m.data)
			x.count()
		}
	}
}

// start starts a node. Sometimes its disk fails reads.
func (x *simNode) start() {
	w := x.w
	path := x.file([]string{"fleet/offsets.json", "fleet/outbox", "takedowns"}[w.rng.IntN(3)])
	clear(x.fs.ReadErr)
	unreadable := w.chance(w.faults, 10) && x.fs.Text(path) != nil
	if unreadable {
		x.fs.ReadErr[path] = errSim
	}
	x.run(func() {
		emptied := false
		state, err := OpenState(context.Background(), StateConfig{
			Dir: "/cache", FS: x.fs, Now: func() time.Time { return w.now.Add(x.skew) },
			NewID: func() string { w.ids++; return fmt.Sprintf("%012d", w.ids) },
			Peek: func(context.Context) (jetstream.LogState, error) {
				if !x.reachable {
					return jetstream.LogState{}, errSim
				}
				return w.streams[jetstream.Purges].state(), nil
			},
			Empty: func() error {
				emptied = true
				clear(x.cache.holds)
				clear(x.waived)
				w.step("emptied", "")
				return nil
			},
		})
		clear(x.fs.ReadErr)
		w.logf("%s starts: %v, emptied: %v", x.name, err, emptied)
		switch {
		case unreadable && (err == nil || emptied && path == x.file("fleet/offsets.json")):
			w.fail("%s took an unreadable %s for none", x.name, path)
		case err == nil:
			x.state, x.following, x.ready, x.goalDemands = state, make(map[jetstream.Log]*simCursor), false, nil
			x.shared.Trust, x.lastPut = new(sharedstore.Trust), time.Time{} // not set in a new process
			x.node = New(Config{State: state, Cache: x.cache, Shared: x.shared, Cluster: &simCluster{w: w, x: x}})
			x.check()
		}
	})
}

func (x *simNode) file(name string) string { return "/cache/" + name }

// run runs an action of a node, which may crash during it.
func (x *simNode) run(do func()) {
	w := x.w
	if w.chance(w.faults, w.crashes) {
		w.crashIn = 1 + w.rng.IntN(12)
	}
	defer func() {
		w.crashIn = 0
		switch r := recover(); r.(type) {
		case nil:
		case crash:
			x.crash()
		default:
			panic(r)
		}
	}()
	do()
}

// crash ends a node between two changes of state.
func (x *simNode) crash() {
	power := x.w.rng.IntN(2) == 0
	x.w.logf("%s crashes, keeping unsynced data: %v", x.name, power)
	x.fs.Crash(x.w.rng, power)
	x.end()
}

func (x *simNode) end() {
	x.node, x.state, x.waiting, x.ready = nil, nil, nil, false
	clear(x.cache.filling)
	clear(x.cache.queued)
}

// stop ends a node, with or without the work that a clean end does.
func (x *simNode) stop(clean bool) {
	if !clean {
		x.crash()
		return
	}
	x.w.logf("%s stops", x.name)
	x.run(func() {
		_ = x.node.cfg.Cluster.RemoveMember(context.Background(), x.node.id)
		_ = x.node.saveOffsets()
		_ = x.state.Close()
		x.end()
	})
}

// act runs one action of a running node.
func (x *simNode) act() {
	w, ctx := x.w, context.Background()
	of := simOriginals[w.rng.IntN(len(simOriginals))]
	switch w.rng.IntN(44) {
	case 0:
		kind := []Kind{KindPurge, KindSoft}[w.rng.IntN(2)]
		x.decide(entryOf(kind, imagecache.Target{Original: of}))
	case 1:
		x.decide(entryOf(KindTakedown, imagecache.Target{Original: of}))
	case 2:
		if x.state.TakenDown(of) {
			x.decide(entryOf(KindLift, imagecache.Target{Original: of}))
		}
	case 3:
		x.decideTags(of)
	case 4, 5:
		if !x.state.TakenDown(of) {
			x.cache.filling[of] = w.version[of]
		}
	case 6, 7:
		if version, ok := x.cache.filling[of]; ok {
			delete(x.cache.filling, of)
			x.cache.holds[of] = version
			delete(x.cache.lost, of)
			x.cache.queued[of] = simObject{version: version, at: x.state.Position(), lost: x.waived[of]}
		}
	case 8, 9, 12:
		x.chores()
	case 13, 14, 15:
		_, _ = x.node.flush(ctx, 1)
	case 17, 18, 19, 20, 21, 22:
		x.write(of)
	case 23, 24, 25, 26, 27, 28:
		x.read(of)
	case 10:
		x.deleteShared()
	case 11, 16:
		x.receipt()
	default:
		x.follow(1 + w.rng.IntN(5))
	}
}

// replay does what Node.Run does at its start.
func (x *simNode) replay() {
	if !x.node.replayed {
		x.node.replay(context.Background())
	}
}

func (x *simNode) chores() {
	w, ctx := x.w, context.Background()
	x.replay()
	x.node.repay(ctx)
	puts := x.puts
	err := x.node.join(ctx)
	if errors.Is(err, ErrBehind) {
		x.stopBehind(err)
		return
	}
	if err == nil && x.puts > puts && x.node.joined.Equal(w.now.Add(x.skew)) {
		x.goalDemands = x.stateDemands
	}
	_ = x.node.sendMissing(ctx)
	_ = x.node.saveOffsets()
}

// decide makes a decision, and records its guarantees if it was acknowledged.
func (x *simNode) decide(e Entry) {
	w, of, before := x.w, e.original(), x.holds[e.original()]
	version := w.version[of]
	w.ids++ // the next id becomes the entry's
	id := fmt.Sprintf("%012d", w.ids)
	w.ids--
	w.carries[id], w.kinds[id] = version, e.Kind
	p, err := x.node.decide(context.Background(), e)
	w.logf("%s: %s %s at version %d: %v", x.name, e.Kind, of.Name, version, err)
	if err != nil {
		return
	}
	if e.decides() && p.entry.Compare(before) <= 0 {
		w.fail("%s decides %v, which is older than %v, which it had applied", x.name, p.entry.Stamp, before)
	}
	if e.decides() && p.entry.Compare(w.decided[of]) > 0 {
		w.decided[of] = p.entry.Stamp
	}
	if e.purges() {
		w.promised[of] = max(w.promised[of], version)
	}
	x.waiting = append(x.waiting, p)
	x.count()
}

// decideNow takes an original down and requests the receipt at once.
func (x *simNode) decideNow() {
	x.heartbeat()
	x.decide(entryOf(KindTakedown, imagecache.Target{Original: simOriginals[0]}))
	_, _ = x.node.flush(context.Background(), 1)
	for range 9 {
		if x.node != nil {
			x.follow(1000)
		}
	}
	for x.node != nil && len(x.waiting) > 0 {
		before := len(x.waiting)
		if x.receipt(); len(x.waiting) == before {
			break
		}
	}
}

func (x *simNode) decideTags(of imagecache.Original) {
	tag := simTags[x.w.rng.IntN(len(simTags))]
	e := Entry{Kind: KindTags}
	switch x.w.rng.IntN(4) {
	case 0:
		e.End = []string{tag}
	case 1:
		e.Forget = tag
	default:
		e.Learn = []learnt{{tag, of.Source, []byte(of.Name), x.w.rng.IntN(2) == 0}}
	}
	_, err := x.node.decide(context.Background(), e)
	x.w.logf("%s: tags %+v: %v", x.name, e, err)
}

// count records the decisions for which nodes were counted: they must hold these from now on.
func (x *simNode) count() {
	for _, p := range x.waiting {
		of := p.entry.original()
		for _, y := range x.w.nodes {
			if y.id() == "" || !p.applied[y.id()] {
				continue
			}
			if p.entry.decides() && p.entry.Compare(y.holds[of]) > 0 {
				y.holds[of] = p.entry.Stamp
			}
			if p.entry.purges() {
				y.purged[of] = max(y.purged[of], x.w.carries[p.entry.ID])
			}
			y.check()
		}
	}
}

// id is the node's, also while it is down.
func (x *simNode) id() string {
	if x.node != nil {
		return x.node.id
	}
	var o offsets
	if text := x.fs.Text(x.file("fleet/offsets.json")); text != nil {
		_ = unmarshal(text, &o)
	}
	return o.Node
}

// receipt finishes a decision as Node.await does. A complete receipt must be true of every node
// that serves.
func (x *simNode) receipt() {
	if len(x.waiting) == 0 {
		return
	}
	p := x.waiting[0]
	select {
	case <-p.out.sent:
	default:
		return
	}
	members, err := x.node.cfg.Cluster.Members(context.Background())
	if err != nil {
		return
	}
	receipt, all := x.node.count(p, members)
	if !all {
		return
	}
	x.waiting = x.waiting[1:]
	x.node.forget(p)
	x.w.logf("%s: receipt of %s %s: %d of %d", x.name, p.entry.Kind, p.entry.Name, receipt.Applied, receipt.Known)
	if receipt.Applied < receipt.Known {
		return
	}
	for _, y := range x.w.nodes {
		if y.node == nil || y.node.Ready() != nil || !y.lastCut.Before(x.w.listBegan) {
			continue // a list that was recreated while a node was disconnected cannot contain that node
		}
		if p.entry.decides() && y.registerOf(p.entry.original()).Compare(p.entry.Stamp) < 0 {
			x.w.fail("%s answers that all nodes have %s %s; %s serves without",
				x.name, p.entry.Kind, p.entry.Name, y.name)
		}
	}
}

// follow begins to follow a stream, or applies some of its entries.
func (x *simNode) follow(limit int) {
	x.replay()
	if !x.reachable {
		return
	}
	n, ctx := x.node, context.Background()
	var l jetstream.Log
	var s *simStream
	var cursor *simCursor
	for range 3 { // a stream with entries that are not applied
		l = []jetstream.Log{jetstream.Purges, jetstream.Takedowns, jetstream.Tags}[x.w.rng.IntN(3)]
		s, cursor = x.w.streams[l], x.following[l]
		if cursor == nil || cursor.id != s.id || cursor.next < s.first || cursor.next <= s.last {
			break
		}
	}
	if cursor == nil || cursor.id != s.id || cursor.next < s.first { // as jetstream.Bus.Follow checks it
		begin := map[jetstream.Log]func(jetstream.LogState) (uint64, error){
			jetstream.Purges: n.beginPurges, jetstream.Takedowns: n.beginTakedowns, jetstream.Tags: n.beginTags,
		}[l]
		from, err := begin(x.look(s))
		x.w.logf("%s follows %s from %d: %v", x.name, l, from, err)
		if err != nil {
			x.stopBehind(err)
			return
		}
		x.following[l] = &simCursor{s.id, max(from, s.first)}
		return
	}
	entries := s.from(cursor.next, limit)
	if len(entries) == 0 {
		if l == jetstream.Purges {
			n.lookAtPurges(x.look(s))
		}
		return
	}
	apply := map[jetstream.Log]func(context.Context, []jetstream.Numbered) error{
		jetstream.Purges: n.applyPurges, jetstream.Takedowns: n.applyTakedowns, jetstream.Tags: n.applyTags,
	}[l]
	err := apply(ctx, entries)
	x.w.logf("%s applies %d entries of %s from %d: %v", x.name, len(entries), l, entries[0].Number, err)
	switch {
	case errors.Is(err, ErrBehind):
		x.stopBehind(err)
	case err == nil:
		cursor.next = entries[len(entries)-1].Number + 1
		if x.w.chance(x.w.faults, 20) {
			x.following[l] = nil // the connection was lost
		}
	}
}

// look returns the state of a stream as the node requests it now.
func (x *simNode) look(s *simStream) jetstream.LogState {
	state := s.state()
	state.Asked, state.Reset = x.w.now.Add(x.skew), x.reset
	return state
}

func (x *simNode) stopBehind(err error) {
	x.w.logf("%s ends: %v", x.name, err)
	_ = x.node.saveOffsets()
	_ = x.state.Close()
	x.end()
}

func (x *simNode) registerOf(of imagecache.Original) Stamp {
	d, _ := x.state.takedowns.of(of)
	return d.Stamp
}

// check checks the invariants that hold at any moment.
func (x *simNode) check() {
	if x.node == nil {
		return
	}
	w := x.w
	if !x.ready && x.node.Ready() == nil {
		x.ready = true
		for of, version := range x.goalDemands {
			x.purged[of] = max(x.purged[of], version) // from now on
		}
	}
	for _, of := range simOriginals {
		if got := x.registerOf(of); got.Compare(x.holds[of]) < 0 {
			w.fail("%s has decision %v about %s, and was counted for %v", x.name, got, of.Name, x.holds[of])
		}
		if got := x.registerOf(of); x.state.TakenDown(of) != (w.kinds[got.ID] == KindTakedown) {
			w.fail("%s has %s taken down: %v, and knows of %s", x.name, of.Name, x.state.TakenDown(of), w.kinds[got.ID])
		}
		if version, ok := x.cache.holds[of]; ok && version < x.purged[of] && x.purged[of] > x.cache.lost[of] {
			w.fail("%s holds version %d of %s, which was purged up to %d", x.name, version, of.Name, x.purged[of])
		}
	}
}

// heal ends all faults, runs all pending work of every node, and checks that the nodes agree.
func (w *world) heal() {
	w.faults, w.takedownsFull = false, false
	w.addNode() // has no state, and has to read everything from the streams
	for _, x := range w.nodes {
		x.reachable = true
	}
	for round := 0; ; round++ {
		if round == 60 {
			w.fail("nodes do not settle")
			return
		}
		settled := round > 10
		for _, x := range w.nodes {
			if x.node == nil {
				x.start()
				settled = false
				continue
			}
			for range 9 {
				if x.node != nil {
					x.follow(1000)
				}
			}
			if x.node == nil {
				settled = false
				continue
			}
			x.chores()
			if x.node == nil {
				settled = false
				continue
			}
			sent, _ := x.node.flush(context.Background(), 1)
			x.check()
			settled = settled && sent == 0 && x.node.Ready() == nil
		}
		if w.failure != nil {
			return
		}
		if settled {
			break
		}
	}
	for _, x := range w.nodes {
		w.checkAgreement(x)
	}
}

func (w *world) checkAgreement(x *simNode) {
	first := w.nodes[0]
	if x.state.outbox.len() > 0 {
		w.fail("%s has %d entries in its outbox", x.name, x.state.outbox.len())
	}
	for _, of := range simOriginals {
		got, want := x.registerOf(of), first.registerOf(of)
		if got != want || x.state.TakenDown(of) != first.state.TakenDown(of) {
			w.fail("%s has decision %v about %s, and %s has %v", x.name, got, of.Name, first.name, want)
		}
		if got.Compare(w.decided[of]) < 0 {
			w.fail("%s has decision %v about %s; %v was acknowledged", x.name, got, of.Name, w.decided[of])
		}
		subject := Entry{Source: of.Source, Name: []byte(of.Name)}.subject()
		if last, err := decode(w.streams[jetstream.Takedowns].lastOf(subject).data); err == nil && last.Stamp != got {
			w.fail("the stream has decision %v about %s, and %s has %v", last.Stamp, of.Name, x.name, got)
		}
		promised := w.promised[of]
		lost := max(x.waived[of], x.cache.lost[of])
		if version, ok := x.cache.holds[of]; ok && version < promised && promised > lost {
			w.fail("%s holds version %d of %s; a purge up to %d was acknowledged", x.name, version, of.Name, promised)
		}
	}
	for _, tag := range simTags {
		if got, want := x.tag(tag), first.tag(tag); got != want {
			w.fail("%s knows of %s %s, and %s %s", x.name, tag, got, first.name, want)
		}
	}
}

func (x *simNode) tag(tag string) string {
	all, live := x.state.tags.Of(tag), x.state.tags.LiveOf(tag)
	slices.SortFunc(all, compareOriginals)
	slices.SortFunc(live, compareOriginals)
	return fmt.Sprint(all, live, x.state.tags.Ended(tag, time.Time{}))
}
