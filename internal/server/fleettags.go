package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/durable"
	"github.com/novasocial/imagetier/internal/jetstream"
	"github.com/novasocial/imagetier/prefetch/tags"
)

// tagStore is what is known of tags: by this node alone, or by all of a fleet.
type tagStore interface {
	Of(tag string) []imagecache.Original
	LiveOf(tag string) []imagecache.Original
	Ended(tag string, since time.Time) bool
	Forget(tag string) error
	// Take notes, durably, what an event says. The same id again may add nothing.
	Take(ctx context.Context, id string, learn []tags.Pair, end []string) error
	Run(ctx context.Context) error
	Close() error
}

// alone is the store of one node.
type alone struct{ *tags.Store }

func (a alone) Take(_ context.Context, _ string, learn []tags.Pair, end []string) error {
	return errors.Join(a.Learn(learn...), a.End(end...))
}

func (alone) Run(context.Context) error { return nil }

// fleetTags has every node of a fleet know what any was taught: it is an entry of a log
// (jetstream.Tags), which each follows. Whoever asks what bears a tag is answered when all is applied
// that was in the log at that moment: a post that one node was told of can be purged by its tag
// at any other.
//
// What this node is taught it notes at once, and again when the log comes to it. In between an
// older entry may undo it for a moment; in the end what the log says last holds everywhere.
//
// An event is accepted also while the log has no leader: its entries wait in a file (the
// outbox), and the other nodes know of them as soon as they could be appended.
type fleetTags struct {
	*tags.Store
	bus  *jetstream.Bus
	path string // of the file that says how far this node is
	log  *slog.Logger

	mu      sync.Mutex // guards all below
	place   tagPlace
	goal    uint64 // what the log had when following it began
	held    []tags.Pair
	saved   time.Time
	applied chan struct{} // closed when place moves

	telling sync.Mutex // guards outbox; held while one is appended, so that they stay in order
	outbox  []lesson
}

// lesson is an entry that is to be appended.
type lesson struct {
	ID    string `json:"id"`
	Entry taught `json:"entry"`
}

// tagPlace is how far a node is in the log of tags.
type tagPlace struct {
	Log   uint64 `json:"log"`
	Entry uint64 `json:"entry"`
}

// taught is an entry.
type taught struct {
	Learn  []taughtPair `json:"learn,omitempty"`
	End    []string     `json:"end,omitempty"`
	Forget string       `json:"forget,omitempty"`
}

type taughtPair struct {
	Tag    string `json:"t"`
	Source string `json:"s"`
	Name   []byte `json:"n"` // base64: a name may be any bytes
	Live   bool   `json:"live,omitempty"`
}

// Bounds and times of fleetTags.
const (
	pairsAtOnce   = 100             // in one entry
	heldPairs     = 1000            // that are noted together while this node catches up: each note is synced
	tagAppendTime = time.Second     // then it waits in the outbox
	catchUpTime   = 5 * time.Second // how long a question waits for the log
	placeEvery    = time.Second     // what was applied since is applied again after a kill, which changes nothing
)

func newFleetTags(store *tags.Store, b *jetstream.Bus, path string, log *slog.Logger) *fleetTags {
	f := &fleetTags{Store: store, bus: b, path: path, log: log, applied: make(chan struct{})}
	if text, err := os.ReadFile(path); err == nil && store.Len() > 0 && json.Unmarshal(text, &f.place) != nil {
		f.place = tagPlace{} // from the beginning, then
	}
	if text, err := os.ReadFile(f.outboxFile()); err == nil && json.Unmarshal(text, &f.outbox) != nil {
		log.Error("what the other nodes were to be taught of tags does not read: they do not learn it", "file", f.outboxFile())
	}
	return f
}

// Take is tagStore's.
func (f *fleetTags) Take(ctx context.Context, id string, learn []tags.Pair, end []string) error {
	if err := errors.Join(f.Learn(learn...), f.End(end...)); err != nil {
		return err
	}
	if id == "" {
		id = rand.Text()
	}
	n := 0
	for chunk := range slices.Chunk(learn, pairsAtOnce) {
		var entry taught
		for _, p := range chunk {
			entry.Learn = append(entry.Learn, taughtPair{p.Tag, p.Of.Source, []byte(p.Of.Name), p.Live})
		}
		if err := f.append(ctx, fmt.Sprintf("%s.%d", id, n), entry); err != nil {
			return err
		}
		n++
	}
	if len(end) > 0 {
		return f.append(ctx, id+".end", taught{End: end})
	}
	return nil
}

// append appends an entry, or has it wait in the outbox. Its error is that it could do neither.
func (f *fleetTags) append(ctx context.Context, id string, entry taught) error {
	f.telling.Lock()
	defer f.telling.Unlock()
	one := lesson{id, entry}
	if len(f.outbox) == 0 && f.tell(ctx, one) == nil {
		return nil
	}
	f.outbox = append(f.outbox, one)
	if err := f.saveOutbox(); err != nil {
		f.outbox = f.outbox[:len(f.outbox)-1]
		return fmt.Errorf("teach the fleet: %w", err)
	}
	return nil
}

func (f *fleetTags) tell(ctx context.Context, one lesson) error {
	data, err := json.Marshal(one.Entry)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, tagAppendTime)
	defer cancel()
	_, err = f.bus.Append(ctx, jetstream.Tags, "of", one.ID, data)
	return err
}

// flush appends what waits in the outbox, oldest first, until ctx is done.
func (f *fleetTags) flush(ctx context.Context) {
	tick := time.NewTicker(tagAppendTime)
	defer tick.Stop()
	for {
		f.telling.Lock()
		n := 0
		for n < len(f.outbox) && f.tell(ctx, f.outbox[n]) == nil {
			n++
		}
		if n > 0 {
			f.outbox = slices.Clone(f.outbox[n:])
			if err := f.saveOutbox(); err != nil {
				f.log.Warn("what the other nodes were taught of tags cannot be taken out of its file: they are taught it again after a restart", "err", err)
			}
		}
		f.telling.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (f *fleetTags) outboxFile() string { return f.path + ".outbox" }

// saveOutbox is durable when it returns: an event is accepted for it.
func (f *fleetTags) saveOutbox() error {
	text, err := json.Marshal(f.outbox)
	if err != nil {
		return err
	}
	return durable.WriteFile(f.outboxFile(), text)
}

// Of is tagStore's, of what the fleet was taught.
func (f *fleetTags) Of(tag string) []imagecache.Original {
	f.catchUp(tag)
	return f.Store.Of(tag)
}

// LiveOf is tagStore's, of what the fleet was taught.
func (f *fleetTags) LiveOf(tag string) []imagecache.Original {
	f.catchUp(tag)
	return f.Store.LiveOf(tag)
}

// Forget has every node forget. Others that are not told keep it until there is no room.
func (f *fleetTags) Forget(tag string) error {
	if err := f.Store.Forget(tag); err != nil {
		return err
	}
	return f.append(context.Background(), "forget "+rand.Text(), taught{Forget: tag})
}

// catchUp waits until all is applied that is in the log now. Where the log cannot be asked, what
// this node knows has to do: then a purge reaches no other node either, and its receipt says so.
func (f *fleetTags) catchUp(tag string) {
	ctx, cancel := context.WithTimeout(context.Background(), catchUpTime)
	defer cancel()
	err := f.bus.Ready(ctx)
	var now jetstream.LogState
	if err == nil {
		now, err = f.bus.State(ctx, jetstream.Tags)
	}
	for err == nil {
		f.mu.Lock()
		there, applied := f.place.Log == now.ID && f.place.Entry >= now.Last, f.applied
		f.mu.Unlock()
		if there || now.First > now.Last {
			return
		}
		select {
		case <-applied:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	f.log.Warn("what other nodes were taught of a tag is not known here yet", "tag", tag, "err", err)
}

// Run follows the log until ctx is done.
func (f *fleetTags) Run(ctx context.Context) error {
	var flushing sync.WaitGroup
	flushing.Go(func() { f.flush(ctx) })
	defer flushing.Wait()
	err := f.bus.Follow(ctx, jetstream.Tags, jetstream.Follower{Begin: f.begin, Apply: f.apply})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saveLocked()
	return err
}

func (f *fleetTags) begin(log jetstream.LogState) (from uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.place.Log != log.ID || f.place.Entry > log.Last {
		f.place = tagPlace{Log: log.ID}
	}
	f.goal, f.held = log.Last, nil
	return f.place.Entry + 1, nil
}

func (f *fleetTags) apply(ctx context.Context, at uint64, data []byte) {
	var entry taught
	if err := json.Unmarshal(data, &entry); err != nil {
		f.log.Error("an entry of the log of tags does not read", "entry", at, "err", err)
	}
	f.mu.Lock()
	held, goal := f.held, f.goal
	f.mu.Unlock()
	for _, p := range entry.Learn {
		held = append(held, tags.Pair{Tag: p.Tag, Of: imagecache.Original{Source: p.Source, Name: string(p.Name)}, Live: p.Live})
	}
	if wait := at < goal && len(held) < heldPairs && len(entry.End) == 0 && entry.Forget == ""; wait {
		f.mu.Lock()
		f.held = held // and the place stays before them
		f.mu.Unlock()
		return
	}
	for try := 0; ; try++ {
		err := errors.Join(f.Learn(held...), f.End(entry.End...))
		if entry.Forget != "" {
			err = errors.Join(err, f.Store.Forget(entry.Forget))
		}
		if err == nil {
			break
		}
		if try == 0 {
			f.log.Error("tags of another node cannot be noted: trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held, f.place.Entry = nil, at
	close(f.applied)
	f.applied = make(chan struct{})
	if time.Since(f.saved) > placeEvery {
		f.saveLocked()
	}
}

func (f *fleetTags) saveLocked() {
	if f.place.Log == 0 {
		return
	}
	f.saved = time.Now()
	text, err := json.Marshal(f.place)
	if err == nil {
		err = durable.WriteFile(f.path, text)
	}
	if err != nil {
		f.log.Warn("the place in the log of tags cannot be written: after a restart entries are applied again", "err", err)
	}
}
