package imagecache

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Watermarks are the configured watermarks: their digests by name. A digest is part of the key of
// every image with the watermark, so that another picture under the same name is another image. A nil
// *Watermarks has no watermarks. It is safe for concurrent use.
type Watermarks struct {
	digests atomic.Pointer[map[string]string] // the map is never changed
	changes atomic.Uint64                     // moves when a Replace begins and when it ends
	mu      sync.Mutex                        // held by Replace
}

// changing is the digest of a watermark that is being replaced: images that are made meanwhile may have
// either picture, and are not stored.
const changing = ""

// NewWatermarks returns watermarks with these digests, by name.
func NewWatermarks(digests map[string]string) *Watermarks {
	w := new(Watermarks)
	w.store(digests)
	return w
}

func (w *Watermarks) store(digests map[string]string) {
	digests = maps.Clone(digests)
	w.digests.Store(&digests)
}

func (w *Watermarks) load() map[string]string {
	if w == nil {
		return nil
	}
	return *w.digests.Load()
}

// version returns a number that moves with every change.
func (w *Watermarks) version() uint64 {
	if w == nil {
		return 0
	}
	return w.changes.Load()
}

// Has reports whether there is a watermark of that name.
func (w *Watermarks) Has(name string) bool {
	_, ok := w.load()[name]
	return ok
}

// Names returns the names of all watermarks, sorted.
func (w *Watermarks) Names() []string { return slices.Sorted(maps.Keys(w.load())) }

// Replace replaces all watermarks, unless they are the same. swap gives the resizer the new
// pictures: jobs that begin after it has returned use them. If it fails, the old watermarks stay.
//
// No image is stored under the digest of another picture:
//
//  1. Replace marks the watermarks that change. Images made from here on are not stored.
//  2. swap: jobs that begin now use the new picture.
//  3. Replace publishes the new digests.
//  4. A fill that began before 3, and may have either picture, ends. It finds that watermarks have
//     changed since it began, so it is answered and not stored: its key may have the current digest
//     again, if 2 failed or the old picture has come back.
func (w *Watermarks) Replace(digests map[string]string, swap func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.load()
	if maps.Equal(old, digests) {
		return nil
	}
	between := maps.Clone(old)
	for name, digest := range old {
		if digests[name] != digest {
			between[name] = changing
		}
	}
	w.store(between)
	w.changes.Add(1)
	err := swap()
	w.changes.Add(1) // before a digest is published: a fill that finds it current finds the change, too
	if err != nil {
		w.store(old)
		return err
	}
	w.store(digests)
	return nil
}

// marked returns key with the digest of the watermark that its Spec asks for, if any:
// "/640x-wm.logo/v.1/posts/cat.jpg.webp?wm=9f86d081884c7d65". No path of a Ref has a "?".
// A key that has one already stays as it is.
func (c *Cache) marked(key Key) Key {
	marks := c.marks.load()
	if len(marks) == 0 || strings.Contains(key.path, "?") {
		return key
	}
	if digest, ok := marks[watermarkOf(key)]; ok {
		key.path += "?wm=" + digest
	}
	return key
}

// watermarkOf returns the name of the watermark that the Spec of a key asks for, or "".
func watermarkOf(key Key) string {
	// Keys are canonical: the shape is everything up to the second slash, its options follow
	// dashes, and no name of a watermark contains a dash.
	shape, _, _ := strings.Cut(strings.TrimPrefix(key.path, "/"), "/")
	_, name, _ := strings.Cut(shape, "-wm.")
	name, _, _ = strings.Cut(name, "-")
	return name
}

// current reports whether key has the digest of the watermark as it is now, or needs none.
func (c *Cache) current(key Key) bool {
	name := watermarkOf(key)
	if name == "" {
		return true
	}
	_, digest, marked := strings.Cut(key.path, "?wm=")
	now, ok := c.marks.load()[name]
	return ok == marked && digest == now && !(ok && now == changing)
}
