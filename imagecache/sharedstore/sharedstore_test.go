package sharedstore_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/sharedstore"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

// fakeStore is a Store in a map, with configurable faults.
type fakeStore struct {
	mu      sync.Mutex
	objects map[string][]byte
	gets    atomic.Int32
	get     func(ctx context.Context) error // called before each Get
	put     func(ctx context.Context) error
	remove  func(ctx context.Context) error
}

func (s *fakeStore) Get(ctx context.Context, key string) ([]byte, error) {
	s.gets.Add(1)
	if s.get != nil {
		if err := s.get(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, ok := s.objects[key]; ok {
		return o, nil
	}
	return nil, sharedstore.ErrNotFound
}

func (s *fakeStore) Put(ctx context.Context, key string, object []byte) error {
	if s.put != nil {
		if err := s.put(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = make(map[string][]byte)
	}
	s.objects[key] = object
	return nil
}

func (s *fakeStore) List(_ context.Context, prefix string) (found []sharedstore.Object, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			found = append(found, sharedstore.Object{Key: key, Size: int64(len(o))})
		}
	}
	return found, nil
}

func (s *fakeStore) DeleteAll(ctx context.Context, prefix string) (deleted []sharedstore.Object, err error) {
	if s.remove != nil {
		if err := s.remove(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, o := range s.objects {
		if strings.HasPrefix(key, prefix) {
			delete(s.objects, key)
			deleted = append(deleted, sharedstore.Object{Key: key, Size: int64(len(o))})
		}
	}
	return deleted, nil
}

func (s *fakeStore) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.objects)
}

func open(t *testing.T, cfg sharedstore.Config) *sharedstore.Tier {
	t.Helper()
	cfg.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	tier, err := sharedstore.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tier.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return tier
}

func TestTier_Conformance(t *testing.T) {
	tiertest.Run(t, func(t *testing.T) imagecache.Tier {
		return open(t, sharedstore.Config{Store: &fakeStore{}}.KeepLive())
	})
}

func TestTier_Get_ReadsOtherNodesImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		old := open(t, sharedstore.Config{Store: store})
		key, img := tiertest.Key(t, 1, 1), tiertest.Image(1, 40_000)
		if err := old.Put(t.Context(), key, img); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, err := open(t, sharedstore.Config{Store: store}).Get(t.Context(), key); err != nil ||
			string(got.Body) != string(img.Body) ||
			got.ETag != img.ETag {
			t.Errorf("%d bytes, %v", len(got.Body), err)
		}
	})
}

func TestTier_Put_SkipsLiveImages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		tier := open(t, sharedstore.Config{Store: store})
		img := tiertest.Image(1, 1000)
		img.Fresh.Generated = time.Now()
		if err := tier.Put(t.Context(), tiertest.KeyAt(t, "/10x/live/posts/a.jpg.webp"), img); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if store.len() != 0 || tier.Stats().Skipped != 1 {
			t.Errorf("%d objects, %+v", store.len(), tier.Stats())
		}
	})
}

func TestTier_Get_MissesDamagedObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		tier := open(t, sharedstore.Config{Store: store})
		key := tiertest.Key(t, 1, 1)
		if err := tier.Put(t.Context(), key, tiertest.Image(1, 300)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		whole := store.objects[sharedstore.KeyOf(key)]
		for at := range whole {
			changed := append([]byte(nil), whole...)
			changed[at] ^= 1 << (at % 8)
			for _, object := range [][]byte{changed, whole[:at]} {
				store.objects[sharedstore.KeyOf(key)] = object
				if _, err := tier.Get(t.Context(), key); err != imagecache.ErrMiss {
					t.Fatalf("byte %d: %v", at, err)
				}
			}
		}
		if got := tier.Stats().Damaged; got != int64(2*len(whole)) {
			t.Errorf("%d counted, want %d", got, 2*len(whole))
		}
		store.objects[sharedstore.KeyOf(tiertest.Key(t, 1, 2))] = whole // valid, but of another key
		if _, err := tier.Get(t.Context(), tiertest.Key(t, 1, 2)); err != imagecache.ErrMiss {
			t.Error(err)
		}
	})
}

func hangs(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTier_Get_SkipsHangingStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{get: hangs}
		tier := open(t, sharedstore.Config{Store: store})
		began := time.Now()
		for range 100 {
			if _, err := tier.Get(t.Context(), tiertest.Key(t, 1, 1)); err == nil {
				t.Fatal("a hit")
			}
		}
		if took := time.Since(began); took != 5*300*time.Millisecond || store.gets.Load() != 5 {
			t.Errorf("%s and %d requests, want five of 300 ms", took, store.gets.Load())
		}
		store.get = nil
		time.Sleep(6 * time.Second) // fake time
		if _, err := tier.Get(t.Context(), tiertest.Key(t, 1, 1)); err != imagecache.ErrMiss || tier.Stats().Open {
			t.Errorf("%v, %+v: want another request after the pause", err, tier.Stats())
		}
	})
}

func TestTier_Put_DropsWhenTheQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{put: hangs}
		tier := open(t, sharedstore.Config{Store: store, QueueBytes: 20_000})
		began := time.Now()
		for i := range 50 {
			if err := tier.Put(t.Context(), tiertest.Key(t, i, 1), tiertest.Image(1, 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if s := tier.Stats(); time.Since(began) != 0 || s.Dropped == 0 || s.QueuedBytes > 20_000 {
			t.Errorf("after %s: %+v", time.Since(began), s)
		}
	})
}

func TestTier_Purge_WaitsForARunningWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		store := &fakeStore{put: func(context.Context) error { <-release; return nil }}
		tier := open(t, sharedstore.Config{Store: store})
		key := tiertest.Key(t, 1, 1)
		if err := tier.Put(t.Context(), key, tiertest.Image(1, 1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		purged := make(chan imagecache.Removed)
		go func() {
			removed, err := tier.Purge(t.Context(), imagecache.Target{Original: key.Original()})
			if err != nil {
				t.Error(err)
			}
			purged <- removed
		}()
		synctest.Wait()
		close(release)
		if removed := <-purged; removed.Images != 1 || removed.Bytes != 1000 || store.len() != 0 {
			t.Errorf("%+v, %d objects are left", removed, store.len())
		}
	})
}

func TestTier_Purge_RetriesFailedDeletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		tier := open(t, sharedstore.Config{Store: store})
		key := tiertest.Key(t, 1, 1)
		if err := tier.Put(t.Context(), key, tiertest.Image(1, 1000)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		var down atomic.Bool
		down.Store(true)
		store.remove = func(context.Context) error {
			if down.Load() {
				return errors.New("down")
			}
			return nil
		}
		if _, err := tier.Purge(t.Context(), imagecache.Target{Original: key.Original()}); err == nil {
			t.Error("the purge says that all is well")
		}
		if _, err := tier.Get(t.Context(), key); err != imagecache.ErrMiss {
			t.Errorf("%v: it is read", err)
		}
		down.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if store.len() != 0 {
			t.Error("the purged object is still stored")
		}
	})
}

// A store may process a write after it has timed out here.
func TestTier_Purge_DeletesLateWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		tier := open(t, sharedstore.Config{Store: store})
		key := tiertest.Key(t, 1, 1)
		put := func() {
			if err := tier.Put(t.Context(), key, tiertest.Image(1, 1000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put()
		object := store.objects[sharedstore.KeyOf(key)]
		store.put = hangs
		put()
		time.Sleep(6 * time.Second) // the write has timed out after five
		if _, err := tier.Purge(t.Context(), imagecache.Target{Original: key.Original()}); err != nil {
			t.Fatal(err)
		}
		store.objects[sharedstore.KeyOf(key)] = object
		if _, err := tier.Get(t.Context(), key); err != imagecache.ErrMiss {
			t.Errorf("%v: it is read", err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if store.len() != 0 {
			t.Error("the purged object is still stored")
		}
		store.put = nil
		put()
		if _, err := tier.Get(t.Context(), key); err != nil {
			t.Errorf("%v for an object written after the purge", err)
		}
	})
}

// The original is purged again, and that deletion fails, while the first deletion is retried.
func TestTier_Purge_FailsDuringARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		retry := make(chan struct{})
		var deletions atomic.Int32
		store := &fakeStore{remove: func(context.Context) error {
			switch deletions.Add(1) {
			case 1, 3: // the purges
				return errors.New("down")
			case 2:
				<-retry
			}
			return nil
		}}
		tier := open(t, sharedstore.Config{Store: store})
		key := tiertest.Key(t, 1, 1)
		purge := func() {
			if _, err := tier.Purge(t.Context(), imagecache.Target{Original: key.Original()}); err == nil {
				t.Error("the purge says that all is well")
			}
		}
		purge()
		time.Sleep(6 * time.Second)
		purge()
		close(retry)
		synctest.Wait()
		time.Sleep(10 * time.Second)
		if n := deletions.Load(); n != 4 {
			t.Errorf("%d deletions, want 4: the second purge was not retried", n)
		}
	})
}

// Another node that has not applied the purge yet writes a purged object just after it was deleted.
func TestTier_Get_DistrustsWritesOlderThanAPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		here, there := new(fakeFleet), new(fakeFleet)
		here.entry.Store(7)
		there.entry.Store(7)
		mine := open(t, sharedstore.Config{Store: store, Fleet: here})
		other := open(t, sharedstore.Config{Store: store, Fleet: there})
		key := tiertest.Key(t, 1, 1)
		purge := imagecache.Target{Original: key.Original()}
		mine.Recalled()
		mine.Purging(key.Original(), "purge")
		if _, err := mine.Purge(t.Context(), purge); err != nil {
			t.Fatal(err)
		}
		write := func() {
			if err := other.Put(t.Context(), key, tiertest.Image(1, 1000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		write()
		if _, err := mine.Get(t.Context(), key); err != imagecache.ErrMiss {
			t.Errorf("%v: believed while the purge has no place in the log", err)
		}
		mine.Purged(key.Original(), "purge", sharedstore.Position{Log: 1, Entry: 8})
		if _, err := mine.Get(t.Context(), key); err != imagecache.ErrMiss || mine.Stats().Distrusted != 1 {
			t.Errorf("%v: believed", err)
		}
		there.entry.Store(8)
		write()
		if _, err := mine.Get(t.Context(), key); err != nil {
			t.Errorf("%v for an object written after the purge", err)
		}
	})
}

// fakeFleet is a node that has applied the log of purges up to an entry.
type fakeFleet struct {
	entry  atomic.Uint64
	behind atomic.Bool
}

func (f *fakeFleet) Position() sharedstore.Position {
	return sharedstore.Position{Log: 1, Entry: f.entry.Load()}
}

func (f *fakeFleet) Current() bool { return !f.behind.Load() }

// However often a key is put, the newest image is written last.
func TestTier_Put_WritesTheNewestLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var puts atomic.Int32
		first := make(chan struct{})
		store := &fakeStore{put: func(context.Context) error {
			if puts.Add(1) == 1 {
				<-first
			}
			return nil
		}}
		tier := open(t, sharedstore.Config{Store: store, Writers: 2})
		key := tiertest.Key(t, 1, 1)
		images := []imagecache.Image{tiertest.Image(1, 1000), tiertest.Image(2, 1000), tiertest.Image(3, 1000)}
		if err := tier.Put(t.Context(), key, images[0]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // its write runs
		for _, img := range images[1:] {
			if err := tier.Put(t.Context(), key, img); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := puts.Load(); n != 1 {
			t.Errorf("%d writes, want none beside the first", n)
		}
		close(first)
		synctest.Wait()
		if got, err := tier.Get(t.Context(), key); err != nil || !bytes.Equal(got.Body, images[2].Body) {
			t.Errorf("%v, or not the newest image", err)
		}
	})
}

// A node that may not have heard of a purge could write an object after all objects of that
// original were deleted for good.
func TestTier_Run_WritesNothingWhilePurgesMayBeMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet, wait := new(fakeFleet), make(chan struct{})
		store := &fakeStore{put: func(context.Context) error { <-wait; return nil }}
		tier := open(t, sharedstore.Config{Store: store, Fleet: fleet, Writers: 1})
		put := func(i int) {
			if err := tier.Put(t.Context(), tiertest.Key(t, i, 1), tiertest.Image(1, 1000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		put(1)
		put(2) // waits in the queue, and the purges stop meanwhile
		fleet.behind.Store(true)
		close(wait)
		put(3)
		if s := tier.Stats(); s.Written != 1 || s.Dropped != 2 || s.QueuedObjects != 0 {
			t.Errorf("%+v, want the first written and two dropped", s)
		}
		fleet.behind.Store(false)
		put(3)
		if s := tier.Stats(); s.Written != 2 {
			t.Errorf("%+v, want two written", s)
		}
	})
}

// If writing the backlog took longer than the service manager's stop timeout, the disk tier
// would not be closed.
func TestTier_Run_StopsWritingSoonAfterItsContextIsDone(t *testing.T) {
	for name, took := range map[string]time.Duration{"slow": 400 * time.Millisecond, "hanging": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &fakeStore{put: func(ctx context.Context) error {
					select {
					case <-time.After(took):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				}}
				tier, err := sharedstore.New(
					sharedstore.Config{Store: store, Writers: 1, Log: slog.New(slog.DiscardHandler)},
				)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- tier.Run(ctx) }()
				for i := range 100 {
					if err := tier.Put(t.Context(), tiertest.Key(t, i, 1), tiertest.Image(1, 1000)); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				cancel()
				began := time.Now()
				if err := <-ended; err != nil || time.Since(began) != 3*time.Second {
					t.Errorf("%v after %s, want 3s", err, time.Since(began))
				}
				if want := int(3 * time.Second / took); store.len() != want {
					t.Errorf("%d objects were written, want %d", store.len(), want)
				}
			})
		})
	}
}

func TestTier_Run_WritesQueueAtShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &fakeStore{}
		tier, err := sharedstore.New(sharedstore.Config{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if err := tier.Put(t.Context(), tiertest.Key(t, 1, 1), tiertest.Image(1, 1000)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := tier.Run(ctx); err != nil || store.len() != 1 {
			t.Errorf("%v, %d objects; want 1", err, store.len())
		}
	})
}
