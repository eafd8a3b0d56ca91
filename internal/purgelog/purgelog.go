// Package purgelog has every purge, soft purge, takedown and lift reach every node of a
// fleet: they are entries of logs that a NATS cluster keeps (jetstream.Purges, jetstream.Takedowns).
//
// A purge is applied here first, and appended then; every node, this one too, applies the
// entries in order and notes on its disk how far it is. So whoever was away applies what it
// missed before Ready says nil. A purge twice is a purge. The second one is needed: between
// the first and the entry another node may have shared what it had not purged yet.
//
// While the cluster cannot be reached, a purge holds on this node alone, the receipt says so,
// and the entry waits in a file (the outbox) until it can be appended.
//
// A node without a place in the log, or with one that the log does not reach back to, begins
// with empty caches. Takedowns do not depend on that: the last word about each original is
// kept for good, and followed apart.
package purgelog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/imagecache/takedown"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// Cache is what is purged.
type Cache interface {
	Purge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
	SoftPurge(ctx context.Context, what imagecache.Target) (imagecache.Receipt, error)
}

// Config of a Node.
type Config struct {
	Dir   string        // where place and outbox are kept; made if missing
	URL   string        // of the cluster
	Empty func() error  // removes what the caches hold on disk, before they are opened
	Wait  time.Duration // how long a receipt waits for other nodes; 0 is 5 s
	// Hooked: somebody is told of purges when every node has applied them (jetstream.Batch of
	// jetstream.Purges), and hears it as what is said of done. Entries have the JSON of
	// purgehook.Order.
	Hooked bool
	Log    *slog.Logger   // nil drops it
	Down   *takedown.List // set by Use
}

// Node is one node's side of the logs.
type Node struct {
	cfg    Config
	id     string
	lock   *os.File
	bus    *jetstream.Bus
	cache  Cache
	shared *sharedstore.Tier // nil: there is none

	mu      sync.Mutex
	place   place
	owed    map[uint64]entry // applied with an error: tried again, and the place waits
	goal    [2]uint64        // what has to be applied before this node is ready
	begun   [2]bool
	words   map[imagecache.Original]bool // told by the log, while it is read from its start
	outbox  []entry
	late    []lateAck
	heard   map[string]time.Time
	waiting map[string]*waiting
}

// place is how far this node is, as its file says it.
type place struct {
	Node      string               `json:"node"`
	Purges    sharedstore.Position `json:"purges"`
	Takedowns sharedstore.Position `json:"takedowns"`
}

// entry is one of either log.
type entry struct {
	ID     string `json:"id"`
	From   string `json:"from"`
	Kind   string `json:"kind"` // purge, soft, takedown, lift
	Source string `json:"source"`
	Name   []byte `json:"name"`
	Path   string `json:"path,omitempty"` // of a variant
	Why    string `json:"why,omitempty"`  // of a purge: takedown or lift, if it is for one
	Word   uint64 `json:"word,omitempty"` // the number of that in the other log
}

const (
	kindPurge    = "purge"
	kindSoft     = "soft"
	kindTakedown = "takedown"
	kindLift     = "lift"
)

func (e entry) original() imagecache.Original {
	return imagecache.Original{Source: e.Source, Name: string(e.Name)}
}

func (e entry) target() imagecache.Target {
	target := imagecache.Target{Original: e.original()}
	if e.Path != "" {
		target.Key = imagecache.NewKey(e.Path, target.Original)
	}
	return target
}

func (e entry) log() jetstream.Log {
	if e.Kind == kindTakedown || e.Kind == kindLift {
		return jetstream.Takedowns
	}
	return jetstream.Purges
}

// about is one token of a subject: the takedowns keep the last entry of each.
func (e entry) about() string {
	sum := sha256.Sum256([]byte(e.Source + "\x00" + string(e.Name)))
	return hex.EncodeToString(sum[:16])
}

// peekTime is how long the start asks the cluster whether this node is too far behind.
const peekTime = 3 * time.Second

// Open takes the directory, reads this node's place, and empties the caches if what was
// missed cannot be known: there is no place, or the log does not reach back to it.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if cfg.Wait == 0 {
		cfg.Wait = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("directory of the purge log: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("directory of the purge log: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is in use by another process: %w", cfg.Dir, err), lock.Close())
	}
	n := &Node{cfg: cfg, lock: lock, owed: make(map[uint64]entry), heard: make(map[string]time.Time), waiting: make(map[string]*waiting)}
	text, err := os.ReadFile(n.placeFile())
	if err == nil {
		err = json.Unmarshal(text, &n.place)
	}
	why := ""
	switch {
	case err != nil || n.place.Node == "":
		n.place = place{Node: rand.Text()[:12]}
		why = "this node has no place in the log of purges"
	case n.place.Purges.Log != 0:
		peek, cancel := context.WithTimeout(ctx, peekTime)
		state, err := jetstream.PeekLog(peek, cfg.URL, jetstream.Purges)
		cancel()
		if err == nil && behind(n.place.Purges, state) {
			why = "the log of purges does not reach back to where this node was"
			n.place.Purges = sharedstore.Position{}
		}
	default:
		why = "this node never followed the log of purges"
	}
	n.id = n.place.Node
	if why != "" {
		cfg.Log.Warn("the caches are emptied", "why", why)
		if err := cfg.Empty(); err != nil {
			return nil, errors.Join(fmt.Errorf("empty the caches: %w", err), lock.Close())
		}
	}
	n.outbox = n.readOutbox()
	return n, nil
}

// behind reports whether purges may have been missed that the log has no more.
func behind(at sharedstore.Position, log jetstream.LogState) bool {
	return at.Log != log.ID || at.Entry+1 < log.First || at.Entry > log.Last
}

// Parts are what a Node works on, which are made after it was opened.
type Parts struct {
	Bus    *jetstream.Bus
	Cache  Cache
	Down   *takedown.List
	Shared *sharedstore.Tier // nil: there is none
}

// Use gives the parts, before Run and before anything is purged.
func (n *Node) Use(p Parts) { n.bus, n.cache, n.cfg.Down, n.shared = p.Bus, p.Cache, p.Down, p.Shared }

// Close gives the directory back.
func (n *Node) Close() error { return n.lock.Close() }

// Position is how far this node is in the log of purges.
func (n *Node) Position() sharedstore.Position {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.place.Purges
}

// errMissed is why a node is not ready.
var errMissed = errors.New("purges and takedowns that were missed are not applied yet")

// Ready returns nil once all is applied that was in the logs when this node began to
// follow them. It stays so: a cluster that is lost later takes no node away.
func (n *Node) Ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.begun[0] || !n.begun[1] || n.place.Purges.Entry < n.goal[0] || n.place.Takedowns.Entry < n.goal[1] {
		return errMissed
	}
	return nil
}

// Run follows the logs until ctx is done. The error is ErrBehind, or nil.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func(context.Context) error{
		func(ctx context.Context) error {
			return n.bus.Follow(ctx, jetstream.Purges, jetstream.Follower{Begin: n.beginPurges, Apply: n.applyPurge})
		},
		func(ctx context.Context) error {
			return n.bus.Follow(ctx, jetstream.Takedowns, jetstream.Follower{Begin: n.beginTakedowns, Apply: n.applyWord})
		},
		func(ctx context.Context) error { return n.bus.Listen(ctx, "node", n.hear) },
		func(ctx context.Context) error { return n.bus.Listen(ctx, "ack."+n.id, n.hearAck) },
		n.beat,
	}
	if n.shared != nil {
		parts = append(parts, func(ctx context.Context) error { return n.bus.Share(ctx, n.delete) })
	}
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

// ErrBehind ends a node whose caches may hold what was purged: it begins with empty ones
// when it is started again.
var ErrBehind = errors.New("the log of purges does not reach back to where this node was: started again, it begins with empty caches")

// rememberPurges is how many entries before its place a node reads again to know which
// shared objects are not to be believed; freshEntries is how many a node applies that began empty, for
// what it may have made while it was still connecting.
const (
	rememberPurges = 20_000
	freshEntries   = 1_000
)

func (n *Node) beginPurges(log jetstream.LogState) (from uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	back := func(entries uint64) uint64 { return max(log.First, log.Last-min(log.Last, entries)) }
	switch at := n.place.Purges; {
	case at.Log == 0:
		n.place.Purges = sharedstore.Position{Log: log.ID, Entry: back(freshEntries) - min(back(freshEntries), 1)}
	case n.begun[0] && at.Log != log.ID:
		// The log was lost while this node followed it: it had applied all of it, up to what
		// was appended in the moment of the loss, and goes on with the new one.
		n.cfg.Log.Error("the log of purges was lost: another has begun")
		n.place.Purges = sharedstore.Position{Log: log.ID}
	case behind(at, log):
		if err := os.Remove(n.placeFile()); err != nil {
			n.cfg.Log.Error("the place in the log cannot be forgotten", "err", err)
		}
		return 0, ErrBehind
	}
	n.begun[0], n.goal[0] = true, log.Last
	from = n.place.Purges.Entry + 1
	if log.First > log.Last { // it is empty
		n.place.Purges.Entry = max(n.place.Purges.Entry, log.Last)
	} else if n.shared != nil {
		from = min(from, back(rememberPurges))
	}
	n.saveLocked()
	return from, nil
}

func (n *Node) applyPurge(ctx context.Context, at uint64, data []byte) {
	var e entry
	n.mu.Lock()
	log, done := n.place.Purges.Log, at <= n.place.Purges.Entry
	n.mu.Unlock()
	if err := json.Unmarshal(data, &e); err != nil {
		n.cfg.Log.Error("an entry of the log of purges does not read", "entry", at, "err", err)
	} else if !done {
		receipt, err := n.remove(ctx, e)
		for try := 0; err != nil && try < 3 && ctx.Err() == nil; try++ {
			time.Sleep(50 * time.Millisecond)
			receipt, err = n.remove(ctx, e)
		}
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			n.cfg.Log.Error("a purge of another node could not be applied: trying again", "entry", at, "source", e.Source, "name", string(e.Name), "err", err)
			n.mu.Lock()
			n.owed[at] = e
			n.mu.Unlock()
		} else {
			n.acknowledge(e, receipt)
		}
	}
	if n.shared != nil && e.ID != "" {
		n.shared.Purged(e.original(), sharedstore.Position{Log: log, Entry: at})
	}
	if done {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.place.Purges.Entry = at
	n.saveLocked()
}

func (n *Node) remove(ctx context.Context, e entry) (imagecache.Receipt, error) {
	if e.Kind == kindSoft {
		return n.cache.SoftPurge(ctx, e.target())
	}
	return n.cache.Purge(ctx, e.target())
}

func (n *Node) beginTakedowns(log jetstream.LogState) (from uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.place.Takedowns.Log != log.ID {
		n.place.Takedowns = sharedstore.Position{Log: log.ID}
		n.words = make(map[imagecache.Original]bool)
	}
	n.begun[1], n.goal[1] = true, log.Last
	if log.First > log.Last {
		n.place.Takedowns.Entry = log.Last
	}
	if n.words != nil && n.place.Takedowns.Entry >= log.Last {
		n.tellLocked()
	}
	return n.place.Takedowns.Entry + 1, nil
}

// tellLocked puts into the outbox what is taken down here and has no word in the log: this
// node was alone before, or the log was lost.
func (n *Node) tellLocked() {
	for _, of := range n.cfg.Down.All() {
		if !n.words[of] {
			n.outbox = append(n.outbox, n.entryOf(kindTakedown, imagecache.Target{Original: of}))
		}
	}
	n.words = nil
	n.saveOutboxLocked()
	n.saveLocked()
}

func (n *Node) applyWord(ctx context.Context, at uint64, data []byte) {
	var e entry
	err := json.Unmarshal(data, &e)
	of := e.original()
	if err == nil {
		for try := 0; ; try++ {
			if err = n.obey(ctx, e); err == nil || ctx.Err() != nil {
				break
			}
			// A takedown that this node cannot keep must not be passed over: the place waits,
			// and so does readiness if it is the start.
			if try == 0 {
				n.cfg.Log.Error("a takedown of another node could not be applied: trying again", "source", of.Source, "name", of.Name, "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
		if err != nil {
			return
		}
	} else {
		n.cfg.Log.Error("an entry of the log of takedowns does not read", "entry", at, "err", err)
	}
	defer n.acknowledgeLate()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.words != nil {
		n.words[of] = true
	}
	n.place.Takedowns.Entry = max(n.place.Takedowns.Entry, at)
	if n.words != nil && at >= n.goal[1] {
		n.tellLocked()
	}
	n.saveLocked()
}

func (n *Node) obey(ctx context.Context, e entry) error {
	if e.Kind == kindLift {
		_, err := n.cfg.Down.Lift(e.original())
		return err
	}
	added, err := n.cfg.Down.Add(e.original())
	if err != nil || !added {
		return err
	}
	_, err = n.cache.Purge(ctx, imagecache.Target{Original: e.original()})
	return err
}

// settleDelay is after how long shared objects are deleted once more: writes that were under
// way in nodes that had not heard of the purge have ended then.
const settleDelay = time.Minute

func (n *Node) delete(ctx context.Context, data []byte, times int) (again time.Duration) {
	var e entry
	if err := json.Unmarshal(data, &e); err != nil {
		return 0
	}
	if err := n.shared.Delete(ctx, e.target()); err != nil {
		n.cfg.Log.Warn("purged objects cannot be deleted from the derived store: trying again", "source", e.Source, "name", string(e.Name), "err", err)
		return 10 * time.Second
	}
	if times == 1 {
		return settleDelay
	}
	return 0
}

// saveLocked writes the place. Nothing is synced: a kill loses nothing, and after a power
// cut some entries are applied again.
func (n *Node) saveLocked() {
	p := n.place
	if p.Purges.Log == 0 {
		return
	}
	first := uint64(math.MaxUint64)
	for at := range n.owed {
		first = min(first, at)
	}
	p.Purges.Entry = min(p.Purges.Entry, first-1)
	text, err := json.Marshal(p)
	if err == nil {
		err = replace(n.placeFile(), text)
	}
	if err != nil {
		n.cfg.Log.Warn("the place in the log of purges cannot be written: after a restart entries are applied again", "err", err)
	}
}

func (n *Node) placeFile() string { return filepath.Join(n.cfg.Dir, "place.json") }

func replace(path string, text []byte) error {
	if err := os.WriteFile(path+".tmp", text, 0o640); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
