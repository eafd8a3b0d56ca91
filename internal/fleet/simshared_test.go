package fleet

import (
	"context"
	"slices"
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
	// until is when its write fails, if it has not completed by then.
	until time.Time
}

// simWriteTime is more than a write takes, with the store's own part of it.
const simWriteTime = 25 * time.Second

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

func (s *simShared) Delete(_ context.Context, of imagecache.Original) error {
	s.w.step("delete", "")
	if s.fails > 0 || s.w.chance(s.w.faults, 5) {
		s.fails--
		return errSim
	}
	delete(s.w.objects, of)
	return nil
}

// write begins a write, or completes one that has begun.
func (x *simNode) write(of imagecache.Original) {
	if object, ok := x.cache.writing[of]; ok {
		delete(x.cache.writing, of)
		if x.w.now.After(object.until) {
			return
		}
		x.w.objects[of] = object
		x.w.logf("%s has written version %d of %s at %v", x.name, object.version, of.Name, object.at)
	}
	if object, ok := x.cache.queued[of]; ok {
		delete(x.cache.queued, of)
		if object.until = x.w.now.Add(simWriteTime); x.state.Current() {
			x.cache.writing[of] = object
		}
	}
}

// read stores the object of the shared store in the cache, if the object is trusted.
func (x *simNode) read(of imagecache.Original) {
	object, ok := x.w.objects[of]
	if object.at.Entry+1 < x.w.first[object.at.Log] && x.w.deletes(of) {
		return // the stream holds a week of entries, which is enough for the deletion
	}
	if ok && !x.state.TakenDown(of) && x.shared.Trusts(of, object.at, x.state.Position()) {
		x.w.logf("%s reads version %d of %s at %v", x.name, object.version, of.Name, object.at)
		x.cache.holds[of], x.cache.lost[of] = object.version, object.lost
	}
}

// deletes reports whether shared objects of an original are still to be deleted.
func (w *world) deletes(of imagecache.Original) bool {
	return slices.ContainsFunc(w.deletions, func(d simDeletion) bool {
		e, err := decode(d.data)
		return err == nil && e.original() == of
	})
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
