package disktier

import (
	"context"
	"io/fs"
	"log/slog"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
)

// hookedDisk calls a function before each write to a segment.
type hookedDisk struct {
	disk
	beforeWrite func()
}

func (d *hookedDisk) OpenFile(path string, flag int, perm fs.FileMode) (file, error) {
	f, err := d.disk.OpenFile(path, flag, perm)
	return hookedFile{f, d}, err
}

type hookedFile struct {
	file
	disk *hookedDisk
}

func (f hookedFile) WriteAt(b []byte, offset int64) (int, error) {
	if hook := f.disk.beforeWrite; hook != nil {
		f.disk.beforeWrite = nil
		hook()
	}
	return f.file.WriteAt(b, offset)
}

// stepped is a Tier whose writer is run by the test.
func stepped(t *testing.T, dir string, fs fileSystem) *Tier {
	t.Helper()
	tier, err := Open(Config{Dir: dir, MaxBytes: 4 << 20, Log: slog.New(slog.DiscardHandler), fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tier.Close() })
	tier.recovery(t.Context())()
	return tier
}

func raceKey(name string) (imagecache.Key, imagecache.Image) {
	of := imagecache.Original{Source: "posts", Name: name}
	return imagecache.NewKey("/64x/v.1/posts/"+name+".webp", of), imagecache.Image{Body: []byte("image of " + name)}
}

func holds(t *testing.T, tier *Tier, key imagecache.Key) bool {
	t.Helper()
	_, err := tier.Get(context.Background(), key)
	if err != nil && err != imagecache.ErrMiss {
		t.Fatal(err)
	}
	return err == nil
}

func TestTier_Get_DistinguishesHashCollisions(t *testing.T) {
	tier := stepped(t, t.TempDir(), nil)
	a, img := raceKey("a")
	b, _ := raceKey("b")
	tier.Put(t.Context(), a, img)
	tier.writeQueued()
	at, _ := tier.index.at(nameOf(a))
	tier.index.put(nameOf(b), at) // as if the two originals had the same hash
	if holds(t, tier, b) {
		t.Error("b is answered with a")
	}
	if removed, err := tier.Purge(t.Context(), imagecache.Target{Key: b}); err != nil || removed.Images != 0 {
		t.Errorf("a purge of b counts a: %+v, %v", removed, err)
	}
	if !holds(t, tier, a) || tier.Stats().Damaged != 0 {
		t.Errorf("a was lost, or counted as damaged: %+v", tier.Stats())
	}
}

// A purge may come at each moment of a write: before the writer takes the item, while it writes,
// and after. The item comes from a Put or from an eviction that moves it. It must be gone, also
// after a restart, and an image that is put after the purge must be there.
func TestTier_Purge_DuringAWrite(t *testing.T) {
	for _, moved := range []bool{false, true} {
		for _, moment := range []string{"before", "during", "after"} {
			for _, first := range []bool{false, true} { // whether the write begins a segment
				t.Run(map[bool]string{false: "put", true: "moved"}[moved]+" "+moment, func(t *testing.T) {
					dir := t.TempDir()
					disk := &hookedDisk{}
					tier := stepped(t, dir, disk)
					key, img := raceKey("a")
					tier.Put(t.Context(), key, img)
					var it *item
					if moved {
						tier.writeQueued()
						it = newItem(key, img)
						it.from, _ = tier.index.at(it.frame.name)
					} else {
						it = tier.takeNext()
					}
					if first {
						tier.seal()
					}
					again := make(chan struct{})
					purge := func() {
						if _, err := tier.Purge(t.Context(), imagecache.Target{Original: key.Original()}); err != nil {
							t.Error(err)
						}
						close(again)
					}
					switch moment {
					case "before":
						purge()
						tier.store(it)
					case "during":
						disk.beforeWrite = purge
						tier.store(it)
					case "after":
						tier.store(it)
						purge()
					}
					<-again
					if holds(t, tier, key) {
						t.Error("the purged image is stored")
					}
					tier.Close()
					tier = stepped(t, dir, disk)
					if holds(t, tier, key) {
						t.Error("the purged image is stored after a restart")
					}
					tier.Put(t.Context(), key, img)
					tier.Close()
					if tier = stepped(t, dir, disk); !holds(t, tier, key) {
						t.Error("the image put after the purge is lost")
					}
				})
			}
		}
	}
}

func TestTier_Put_AfterAPurgeWhileASegmentBegins(t *testing.T) {
	dir := t.TempDir()
	disk := &hookedDisk{}
	tier := stepped(t, dir, disk)
	other, otherImg := raceKey("other")
	key, img := raceKey("a")
	tier.Put(t.Context(), other, otherImg)
	// The write is the header of the new segment.
	disk.beforeWrite = func() {
		if _, err := tier.Purge(t.Context(), imagecache.Target{Key: key}); err != nil {
			t.Error(err)
		}
		tier.Put(t.Context(), key, img)
	}
	tier.writeQueued()
	tier.Close()
	tier = stepped(t, dir, disk)
	if !holds(t, tier, key) || !holds(t, tier, other) {
		t.Error("an image put after the purge is lost")
	}
}
