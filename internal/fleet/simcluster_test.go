package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// simStream is a stream in memory.
type simStream struct {
	id      uint64
	first   uint64 // number of the oldest entry
	last    uint64
	entries []simEntry
}

type simEntry struct {
	number  uint64
	subject string
	id      string
	data    []byte
	at      time.Time
}

func (s *simStream) state() jetstream.LogState {
	state := jetstream.LogState{ID: s.id, First: s.first, Last: s.last}
	if len(s.entries) > 0 {
		state.FirstAt, state.LastAt = s.entries[0].at, s.entries[len(s.entries)-1].at
	}
	return state
}

func (s *simStream) append(e simEntry, keepLast bool) uint64 {
	s.last++
	e.number = s.last
	if keepLast {
		s.entries = slices.DeleteFunc(s.entries, func(old simEntry) bool { return old.subject == e.subject })
	}
	s.entries = append(s.entries, e)
	s.first = s.entries[0].number
	return e.number
}

func (s *simStream) drop(n int) {
	s.entries = s.entries[min(n, len(s.entries)):]
	s.first = s.last + 1
	if len(s.entries) > 0 {
		s.first = s.entries[0].number
	}
}

func (s *simStream) from(number uint64, limit int) (found []jetstream.Numbered) {
	for _, e := range s.entries {
		if e.number >= number && len(found) < limit {
			found = append(found, jetstream.Numbered{Number: e.number, Data: e.data, At: e.at})
		}
	}
	return found
}

func (s *simStream) lastOf(subject string) (e simEntry) {
	for _, e := range slices.Backward(s.entries) {
		if e.subject == subject {
			return e
		}
	}
	return simEntry{}
}

// simWindow is how long a stream remembers the ids of messages, for deduplication.
const simWindow = 2 * time.Minute

// simCluster is the cluster as one node sees it: disconnected at times, with lost acknowledgements,
// and with slightly stale reads.
type simCluster struct {
	Cluster // methods that the simulation does not call
	w       *world
	x       *simNode
}

// reach fails for a node that is disconnected, and sometimes for a connected one.
func (c *simCluster) reach() error {
	c.w.step("network", "")
	if !c.x.reachable || c.w.chance(c.w.faults, 20) {
		return jetstream.ErrUnavailable
	}
	return nil
}

// acked sometimes fails although the operation succeeded.
func (c *simCluster) acked() error { return c.reach() }

func (c *simCluster) Append(_ context.Context, l jetstream.Log, subject, id string, data []byte) (uint64, error) {
	if err := c.reach(); err != nil {
		return 0, err
	}
	s := c.w.streams[l]
	for _, e := range s.entries {
		if e.id == id && c.w.now.Sub(e.at) < simWindow {
			return e.number, c.acked()
		}
	}
	number := s.append(simEntry{subject: subject, id: id, data: data, at: c.w.now}, false)
	c.w.wasAppended(l, data)
	return number, c.acked()
}

func (c *simCluster) AppendAfter(
	_ context.Context, l jetstream.Log, subject string, last uint64, data []byte,
) (uint64, error) {
	if err := c.reach(); err != nil {
		return 0, err
	}
	s := c.w.streams[l]
	if s.lastOf(subject).number != last {
		return 0, jetstream.ErrConflict
	}
	if c.w.takedownsFull && last == 0 {
		return 0, jetstream.ErrFull
	}
	number := s.append(simEntry{subject: subject, data: data, at: c.w.now}, true)
	c.w.logf("%s appends %d to %s behind %d: %s", c.x.name, number, l, last, data)
	return number, c.acked()
}

func (c *simCluster) Last(_ context.Context, l jetstream.Log, subject string) (uint64, []byte, error) {
	if err := c.reach(); err != nil {
		return 0, nil, err
	}
	e := c.w.streams[l].lastOf(subject)
	old := c.w.oldReads[subject]
	c.w.oldReads[subject] = e
	if c.w.chance(c.w.faults, 5) && old.number < e.number { // from a replica that is behind
		return old.number, old.data, nil
	}
	return e.number, e.data, nil
}

func (c *simCluster) State(_ context.Context, l jetstream.Log) (jetstream.LogState, error) {
	if err := c.reach(); err != nil {
		return jetstream.LogState{}, err
	}
	if l == jetstream.Purges {
		c.x.stateDemands = maps.Clone(c.w.appended)
		maps.DeleteFunc(c.x.stateDemands, func(of imagecache.Original, version int) bool {
			return version <= c.x.waived[of]
		})
	}
	return c.w.streams[l].state(), nil
}

func (c *simCluster) Say(subject string, data []byte) {
	c.w.step("network", "")
	if c.x.reachable && !c.w.chance(c.w.faults, 10) {
		c.w.messages = append(c.w.messages, simMessage{subject, data})
	}
}

func (c *simCluster) PutMember(_ context.Context, id string) error {
	if err := c.reach(); err != nil {
		return err
	}
	c.w.members[id] = c.w.now
	c.x.puts++
	return c.acked()
}

func (c *simCluster) RemoveMember(_ context.Context, id string) error {
	if err := c.reach(); err != nil {
		return err
	}
	delete(c.w.members, id)
	return c.acked()
}

func (c *simCluster) Members(context.Context) (list jetstream.Members, err error) {
	if err := c.reach(); err != nil {
		return jetstream.Members{}, err
	}
	list.Age = c.w.now.Sub(c.w.listBegan)
	for _, id := range slices.Sorted(maps.Keys(c.w.members)) {
		list.Nodes = append(list.Nodes, jetstream.Member{ID: id, Put: c.w.members[id]})
	}
	return list, nil
}

type simMessage struct {
	subject string
	data    []byte
}

// simCache is a cache on disk: the version of each original that it holds. A purge is durable when
// it returns.
type simCache struct {
	w       *world
	holds   map[imagecache.Original]int
	lost    map[imagecache.Original]int       // of the version read from the shared store: see simObject.lost
	filling map[imagecache.Original]int       // version that a running fill has read and not stored yet
	queued  map[imagecache.Original]simObject // version that a running fill will write to the shared store
	writing map[imagecache.Original]simObject // a write to the shared store that neither a purge nor a crash stops
	broken  bool                              // purges of the disk fail
}

func (c *simCache) Purge(_ context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	c.w.step("purge", "")
	of := target.Original
	delete(c.filling, of) // a fill that began before stores nothing
	delete(c.queued, of)
	if c.broken || c.w.chance(c.w.faults, 20) {
		return imagecache.Receipt{}, fmt.Errorf("disk: %w", errSim)
	}
	delete(c.holds, of)
	c.w.step("purged", "")
	return imagecache.Receipt{Variants: 1}, nil
}

func (c *simCache) Count(_ context.Context, target imagecache.Target) (receipt imagecache.Receipt, _ error) {
	if _, ok := c.holds[target.Original]; ok {
		receipt.Variants = 1
	}
	return receipt, nil
}

func (c *simCache) SoftPurge(ctx context.Context, target imagecache.Target) (imagecache.Receipt, error) {
	return c.Purge(ctx, target)
}

// nodeOf returns which node an acknowledgement is for.
func nodeOf(subject string) string { return strings.TrimPrefix(subject, ackSubject) }

func unmarshal(text []byte, to any) error { return json.Unmarshal(text, to) }
