package fleet

import (
	"context"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/internal/jetstream"
)

// simObject is the object of an original in the shared store.
type simObject struct {
	version int
	at      sharedstore.Position // of the node that wrote it
	// lost is the version below which its writer missed purges, because the stream was lost.
	lost int
}

// simDeletion is an entry of the purge stream for which one node has to delete objects.
type simDeletion struct {
	data    []byte
	at, due time.Time
}

// simShared is the shared store as one node sees it.
type simShared struct {
	*sharedstore.Trust
	w     *world
	fails int // deletions
}

func (s *simShared) Delete(_ context.Context, target imagecache.Target) error {
	s.w.step("delete", "")
	if s.fails > 0 || s.w.chance(s.w.faults, 5) {
		s.fails--
		return errSim
	}
	delete(s.w.objects, target.Original)
	return nil
}

// write begins a write, or completes one that has begun.
func (x *simNode) write(of imagecache.Original) {
	if object, ok := x.cache.writing[of]; ok {
		delete(x.cache.writing, of)
		x.w.objects[of] = object
		x.w.logf("%s has written version %d of %s at %v", x.name, object.version, of.Name, object.at)
	}
	if object, ok := x.cache.queued[of]; ok {
		delete(x.cache.queued, of)
		x.cache.writing[of] = object
	}
}

// read stores the object of the shared store in the cache, if the object is trusted.
func (x *simNode) read(of imagecache.Original) {
	object, ok := x.w.objects[of]
	if object.at.Entry+1 < x.w.first[object.at.Log] {
		return // the stream holds a week of entries; after a week the write has completed and its object was deleted
	}
	if ok && !x.state.TakenDown(of) && x.shared.Trusts(of, object.at, x.state.Position()) {
		x.w.logf("%s reads version %d of %s at %v", x.name, object.version, of.Name, object.at)
		x.cache.holds[of], x.cache.lost[of] = object.version, object.lost
	}
}

// deleteShared deletes the objects of one purge.
func (x *simNode) deleteShared() {
	w := x.w
	for i := range w.deletions {
		d := &w.deletions[i]
		if d.due.After(w.now) {
			continue
		}
		again := x.node.deleteShared(context.Background(), jetstream.Entry{Data: d.data, At: d.at})
		d.due = w.now.Add(again)
		if again == 0 {
			w.deletions = append(w.deletions[:i], w.deletions[i+1:]...)
		}
		return
	}
}
