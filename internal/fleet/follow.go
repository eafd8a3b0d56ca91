package fleet

import (
	"context"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// rememberPurges is how many of the last entries a node reads again at its start, to know which
// shared objects not to trust; more if the objects of older ones have not been deleted yet.
const rememberPurges = 20_000

// beginPurges returns the entry from which to follow the purge stream. The error is ErrBehind.
func (n *Node) beginPurges(log jetstream.LogState) (from uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	at := n.state.offsets.Purges
	switch {
	case at.Log == 0:
		// The caches were emptied at the start and the stream could not be read then: all its
		// entries are applied to what was filled since. Dropped entries must be older than the
		// start.
		at = sharedstore.Position{Log: log.ID, Entry: max(log.First, 1) - 1}
		// If the stream has dropped all entries, their age is unknown.
		empty := log.First > log.Last
		if at.Entry > 0 && (empty || !log.FirstAt.Before(n.state.opened.Add(-maxSkew))) {
			return 0, n.fallBehindLocked()
		}
	case n.begun[jetstream.Purges] && at.Log != log.ID:
		// The stream was lost while this node followed it. The node continues with the new one,
		// since otherwise all nodes would empty their caches at the same time. Entries that were
		// appended to the lost stream but not applied here are not purged here.
		n.cfg.Log.Error("purge stream lost and recreated; repeat the purges of the last minutes")
		at = sharedstore.Position{Log: log.ID}
	case n.begun[jetstream.Purges] && log.Reset:
		// The last entries of the stream were lost, and their numbers mean others now. The node has
		// applied the lost ones, and applies all that the stream has again.
		n.cfg.Log.Error("purge stream has lost its last entries, applying all purges again", "applied", at.Entry,
			"last", log.Last)
		if n.cfg.Shared != nil { // an object with the number of a lost entry may be older than it seems
			n.cfg.Shared.Forgotten(sharedstore.Position{Log: log.ID, Entry: n.applied[jetstream.Purges] + 1})
		}
		at.Entry = max(log.First, 1) - 1
		n.applied[jetstream.Purges] = at.Entry
	}
	reset := log.Reset && !n.begun[jetstream.Purges]
	if reset { // as the other streams, perhaps, which the next start reads from the beginning
		n.state.offsets.Takedowns, n.state.offsets.Tags = sharedstore.Position{}, sharedstore.Position{}
		n.begun[jetstream.Takedowns] = false // or their offset would be saved again
	}
	if reset || behind(at, log) {
		return 0, n.fallBehindLocked()
	}
	if n.state.offsets.Purges != at {
		n.state.offsets.PurgesAt = 0
	}
	if !n.begun[jetstream.Purges] || n.state.offsets.Purges.Log != log.ID {
		n.applied[jetstream.Purges] = at.Entry // else it may be ahead of the offset, by owed purges
	}
	n.state.offsets.Purges = at
	n.beginLocked(jetstream.Purges, log)
	seen := &n.state.seen
	if seen.next.ID != log.ID {
		seen.at = time.Time{}
	}
	seen.next = log
	seen.reach(n.applied[jetstream.Purges])
	n.noteDeleted(log)
	return n.recallLocked(log), nil
}

// noteDeleted notes up to which purge all objects are deleted.
func (n *Node) noteDeleted(log jetstream.LogState) {
	if n.cfg.Shared != nil {
		// After a reset, a consumer may be ahead of the log.
		n.cfg.Shared.Deleted(sharedstore.Position{Log: log.ID, Entry: min(log.Shared, log.Last)})
	}
}

// lookAtPurges notes the end of the purge stream, for State.Current.
func (n *Node) lookAtPurges(log jetstream.LogState) {
	n.noteDeleted(log)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	if s := &n.state.seen; log.ID == n.state.offsets.Purges.Log && s.isReached() {
		s.next = log
		s.reach(n.applied[jetstream.Purges])
	}
}

// recallLocked returns the entry to read from: the first one that was not applied or, once after
// each start, an earlier one, to learn again which shared objects are too old. Until the node has
// read up to the current end of the stream, it trusts no shared objects (invariant 4): the stream
// may even have its own purges that it had not applied when it ended.
func (n *Node) recallLocked(log jetstream.LogState) (from uint64) {
	from = n.applied[jetstream.Purges] + 1
	switch {
	case n.recalled:
		return from
	case log.First > log.Last: // it is empty
		n.recalledLocked()
		return from
	}
	n.recall = log.Last
	return min(from, max(log.First, min(log.Last-min(log.Last, rememberPurges), log.Shared+1), 1))
}

func (n *Node) recalledLocked() {
	if !n.recalled {
		n.recalled = true
		n.cfg.Shared.Recalled()
	}
}

// maxSkew is the maximum difference of the clocks of nodes and of the cluster, where they are
// compared. Stamps allow any skew.
const maxSkew = time.Minute

// fallBehindLocked makes the next start empty the caches.
func (n *Node) fallBehindLocked() error {
	n.state.offsets.Purges = sharedstore.Position{}
	if err := n.state.save(n.state.offsets); err != nil {
		n.cfg.Log.Error("offset not reset; the next start compares it with the stream again", "err", err)
	}
	return ErrBehind
}

// checkGap returns ErrBehind if the stream has dropped entries that were not applied here, because
// this node was too slow.
func (n *Node) checkGap(ctx context.Context) error {
	log, err := n.cfg.Cluster.State(ctx, jetstream.Purges)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	if n.begun[jetstream.Purges] && n.state.offsets.Purges.Log == log.ID && n.applied[jetstream.Purges]+1 < log.First {
		return n.fallBehindLocked()
	}
	return nil
}

// beginLocked sets the entry up to which a stream has to be applied before this node is ready.
func (n *Node) beginLocked(l jetstream.Log, log jetstream.LogState) {
	if log.First > log.Last { // it is empty
		n.applied[l] = max(n.applied[l], log.Last)
	}
	n.begun[l] = true
	if !n.ready {
		n.goal[l], n.joined = log.Last, time.Time{}
	}
}

// applyPurges applies entries of the purge stream. After an error it must be called again with the
// same entries.
//
// Invariant 2. The order is: decisions, with one sync; purges; acknowledgements. The offset is
// written later (saveOffsets): after a crash some entries are applied again, which changes nothing.
func (n *Node) applyPurges(ctx context.Context, numbered []jetstream.Numbered) error {
	n.mu.Lock()
	done := n.applied[jetstream.Purges]
	n.mu.Unlock()
	if gap(done, numbered) { // or an operator deleted some in between
		if err := n.checkGap(ctx); err != nil {
			return err
		}
	}
	log := n.state.Position().Log
	entries := n.decodeAll(jetstream.Purges, numbered)
	var fresh []Entry
	for i, e := range entries {
		if numbered[i].Number > done {
			fresh = append(fresh, e)
		}
	}
	if _, err := n.state.takedowns.apply(fresh...); err != nil {
		return err
	}
	for i, e := range entries {
		number := numbered[i].Number
		if e.ID == "" {
			continue
		}
		at := sharedstore.Position{Log: log, Entry: number}
		n.trustAfter(e, at) // before the purge: a read in between could bring back an old object
		if number <= done {
			continue
		}
		if err := n.applyPurge(ctx, e, at); err != nil {
			return err
		}
	}
	n.advance(jetstream.Purges, numbered)
	return nil
}

// gap reports whether entries are missing between the last one that was applied and the last of numbered.
func gap(done uint64, numbered []jetstream.Numbered) bool {
	for _, one := range numbered {
		if one.Number > done+1 {
			return true
		}
		done = max(done, one.Number)
	}
	return false
}

// beginTakedowns returns the entry from which to follow the takedown stream. If this node has not
// followed that stream before, it is the first one, and decisions that the stream lacks are noted.
func (n *Node) beginTakedowns(log jetstream.LogState) (from uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	at := n.state.offsets.Takedowns
	if at.Log != log.ID || at.Entry > log.Last || log.Reset || n.missing != nil {
		at = sharedstore.Position{Log: log.ID}
		n.missing = make(map[imagecache.Original]bool)
		for _, e := range n.state.takedowns.all() {
			n.missing[e.original()] = true
		}
		n.applied[jetstream.Takedowns] = 0
	}
	if !n.begun[jetstream.Takedowns] {
		n.applied[jetstream.Takedowns] = at.Entry
	}
	n.takedownLog, n.missingAfter = log.ID, log.Last
	n.beginLocked(jetstream.Takedowns, log)
	return n.applied[jetstream.Takedowns] + 1, nil
}

// applyTakedowns applies entries of the takedown stream, with one sync for all of them. After an
// error it must be called again with the same entries: a takedown that cannot be stored must not be
// skipped.
func (n *Node) applyTakedowns(ctx context.Context, numbered []jetstream.Numbered) error {
	entries := n.decodeAll(jetstream.Takedowns, numbered)
	if _, err := n.state.takedowns.apply(entries...); err != nil {
		return err
	}
	for _, e := range entries {
		if newest, ok := n.state.takedowns.of(e.original()); !ok || newest.Stamp != e.Stamp {
			continue
		}
		// The takedown is in effect already, even if the disk cannot take its purge.
		if _, err := n.remove(ctx, e); err != nil {
			_ = n.owe(e, sharedstore.Position{}, err)
		}
	}
	n.mu.Lock()
	for _, e := range entries {
		if of := e.original(); n.missing[of] && !n.newerHere(e) {
			delete(n.missing, of)
		}
	}
	n.mu.Unlock()
	n.advance(jetstream.Takedowns, numbered)
	return nil
}

// newerHere reports whether this node knows a newer decision than e.
func (n *Node) newerHere(e Entry) bool {
	newest, ok := n.state.takedowns.of(e.original())
	return ok && newest.Compare(e.Stamp) > 0
}

// beginTags returns the entry from which to follow the tag stream. Tags in dropped entries are
// unknown here, and purge fewer originals.
func (n *Node) beginTags(log jetstream.LogState) (from uint64, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	at := &n.state.offsets.Tags
	if at.Log != log.ID || at.Entry > log.Last || log.Reset {
		*at = sharedstore.Position{Log: log.ID}
	}
	n.applied[jetstream.Tags] = at.Entry
	n.beginLocked(jetstream.Tags, log)
	return at.Entry + 1, nil
}

// applyTags applies entries of the stream of tags, with one sync for all of them.
func (n *Node) applyTags(_ context.Context, numbered []jetstream.Numbered) error {
	if err := n.state.tags.apply(n.decodeAll(jetstream.Tags, numbered)...); err != nil {
		return err
	}
	n.advance(jetstream.Tags, numbered)
	return nil
}

// decodeAll decodes entries. An unreadable one is logged and becomes the zero Entry: no node can
// apply it, and waiting for it would stop all nodes forever.
func (n *Node) decodeAll(l jetstream.Log, numbered []jetstream.Numbered) []Entry {
	entries := make([]Entry, len(numbered))
	for i, one := range numbered {
		var err error
		if entries[i], err = decode(one.Data); err != nil {
			n.cfg.Log.Error("unreadable entry skipped", "log", l.String(), "number", one.Number, "err", err)
			entries[i] = Entry{}
		}
	}
	return entries
}

// advance moves the offset of a stream past applied entries.
func (n *Node) advance(l jetstream.Log, numbered []jetstream.Numbered) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(numbered) > 0 {
		n.applied[l] = max(n.applied[l], numbered[len(numbered)-1].Number)
	}
	n.state.mu.Lock()
	defer n.state.mu.Unlock()
	switch l {
	case jetstream.Purges:
		at := &n.state.offsets.Purges
		if at.Log == 0 {
			return
		}
		if entry := min(n.applied[l], n.firstOwedLocked(at.Log)-1); entry > at.Entry {
			at.Entry, n.state.offsets.PurgesAt = entry, appendedAt(numbered, entry)
		}
		n.state.seen.reach(n.applied[l])
		if len(numbered) > 0 && numbered[len(numbered)-1].Number >= n.recall {
			n.recalledLocked()
		}
	case jetstream.Tags:
		n.state.offsets.Tags.Entry = n.applied[l]
		close(n.moved)
		n.moved = make(chan struct{})
	}
	n.becomeReadyLocked()
}

// appendedAt returns when an entry was appended; 0 if it is not one of numbered.
func appendedAt(numbered []jetstream.Numbered, entry uint64) Instant {
	for _, one := range numbered {
		if one.Number == entry {
			return instantOf(one.At)
		}
	}
	return 0
}

// saveOffsets writes the offsets durably. If that fails, a restart applies some entries again.
func (n *Node) saveOffsets() error {
	n.saving.Lock()
	defer n.saving.Unlock()
	n.mu.Lock()
	n.state.mu.Lock()
	if n.missing == nil && n.begun[jetstream.Takedowns] {
		n.state.offsets.Takedowns = sharedstore.Position{Log: n.takedownLog, Entry: n.applied[jetstream.Takedowns]}
	}
	now := n.state.offsets
	n.state.mu.Unlock()
	n.mu.Unlock()
	if now == n.saved {
		return nil
	}
	if err := n.state.save(now); err != nil {
		return err
	}
	n.saved = now
	return nil
}

// replay repeats the purges in the outbox at the start, since a crash may have come between writing
// the outbox and purging the caches.
func (n *Node) replay(ctx context.Context) {
	purges := n.state.outbox.oldest(maxOutboxEntries, Entry.purges)
	for _, out := range purges {
		n.distrust(out.Entry)
	}
	for _, out := range purges {
		if _, err := n.remove(ctx, out.Entry); err != nil && n.owe(out.Entry, sharedstore.Position{}, err) != nil {
			return // repay continues with the rest
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replayed = true
	n.becomeReadyLocked()
}

// settleDelay is the age of a purge at which its shared objects are deleted again. By then, a
// minute later, writes by nodes that had not received the purge have ended: they begin none once
// they have missed purges for maxUnseen. Ages are off by up to maxSkew.
const settleDelay = time.Minute + maxSkew

// deleteShared deletes the shared objects that an entry purges, for the whole fleet. It returns the
// pause before it must be called again; 0 means never. A failed deletion is retried, and only one
// that succeeds at settleDelay or later is the last.
//
// A purge of one variant deletes those of the whole original, which are not trusted either. The key of a variant
// with a watermark has the digest of the node's own picture, so the entry cannot name its object.
func (n *Node) deleteShared(ctx context.Context, entry jetstream.Entry) (again time.Duration) {
	e, err := decode(entry.Data)
	if err != nil || !e.purges() {
		return 0
	}
	age := n.state.cfg.Now().Sub(entry.At)
	if err := n.cfg.Shared.Delete(ctx, e.original()); err != nil {
		n.cfg.Log.Warn("deleting purged objects from the shared store failed, will be retried",
			"source", e.Source, "name", string(e.Name), "err", err)
		return 10 * time.Second
	}
	return max(0, settleDelay-age)
}
