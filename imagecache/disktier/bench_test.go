package disktier_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

// For comparison, each benchmark of the tier also runs with one file per object that holds the same
// record: written to a temporary name and renamed, read whole and parsed.

const benchSize = 25_000

func benchEntries() int {
	if n, err := strconv.Atoi(os.Getenv("DISKTIER_BENCH_ENTRIES")); err == nil {
		return n
	}
	return 20_000
}

type store interface {
	Get(ctx context.Context, key imagecache.Key) (imagecache.Image, error)
	Put(ctx context.Context, key imagecache.Key, img imagecache.Image) error
}

type filePerObject struct{ dir string }

func (f filePerObject) path(key imagecache.Key) string {
	sum := sha256.Sum256([]byte(key.String()))
	h := hex.EncodeToString(sum[:16])
	return filepath.Join(f.dir, h[:2], h)
}

func (f filePerObject) Get(_ context.Context, key imagecache.Key) (imagecache.Image, error) {
	b, err := os.ReadFile(f.path(key))
	if err != nil {
		return imagecache.Image{}, imagecache.ErrMiss
	}
	_, img, err := imagecache.ParseRecord(b)
	return img, err
}

func (f filePerObject) Put(_ context.Context, key imagecache.Key, img imagecache.Image) error {
	path := f.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, imagecache.AppendRecord(nil, key, img), 0o640); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// stores calls bench with the tier and with files.
func stores(b *testing.B, bench func(b *testing.B, s store, settle func())) {
	b.Run("segments", func(b *testing.B) {
		tier := start(b, disktier.Config{Dir: b.TempDir(), MaxBytes: 40 << 30, SegmentBytes: 64 << 20})
		bench(b, tier, tier.sync)
	})
	b.Run("files", func(b *testing.B) { bench(b, filePerObject{b.TempDir()}, func() {}) })
}

func BenchmarkReadWarm(b *testing.B) {
	entries := benchEntries()
	img := imageOf(1, benchSize)
	stores(b, func(b *testing.B, s store, settle func()) {
		for i := range entries {
			s.Put(b.Context(), keyOf(i), img)
			if i%500 == 499 {
				settle()
			}
		}
		settle()
		var mu sync.Mutex
		var slowest []time.Duration
		b.SetBytes(benchSize)
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			var took []time.Duration
			for i := 0; pb.Next(); i++ {
				began := time.Now()
				if _, err := s.Get(context.Background(), keyOf(rand.IntN(entries))); err != nil {
					b.Error(err)
				}
				if i%8 == 0 {
					took = append(took, time.Since(began))
				}
			}
			mu.Lock()
			slowest = append(slowest, took...)
			mu.Unlock()
		})
		b.StopTimer()
		sort.Slice(slowest, func(i, j int) bool { return slowest[i] < slowest[j] })
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reads/s")
		b.ReportMetric(float64(slowest[len(slowest)*99/100].Microseconds()), "p99-µs")
	})
}

// BenchmarkWrite counts what is written, not what is queued.
func BenchmarkWrite(b *testing.B) {
	img := imageOf(1, benchSize)
	stores(b, func(b *testing.B, s store, settle func()) {
		b.SetBytes(benchSize)
		b.ReportAllocs()
		var n atomic.Int64
		for b.Loop() {
			i := int(n.Add(1))
			s.Put(context.Background(), keyOf(i), img)
			if i%1000 == 0 {
				settleWrites(s)
			}
		}
		settleWrites(s)
		b.StopTimer()
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
		if r, ok := s.(running); ok && r.Stats().Skipped != [disktier.NumSkips]uint64{} {
			b.Errorf("skipped: %v", r.Stats().Skipped)
		}
	})
}

// settleWrites waits until the queue is written, without waiting for the disk as Sync does.
func settleWrites(s store) {
	if r, ok := s.(running); ok {
		for r.Stats().QueueLen > 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// BenchmarkRestart opens a directory until all segments are recovered: a directory that was closed
// properly, and one as a kill leaves it.
func BenchmarkRestart(b *testing.B) {
	entries := benchEntries()
	dir := b.TempDir()
	cfg := quiet(disktier.Config{Dir: dir, MaxBytes: 40 << 30, SegmentBytes: 64 << 20})
	tier := start(b, cfg)
	img := imageOf(1, benchSize)
	for i := range entries {
		tier.put(keyOf(i), img)
		if i%500 == 499 {
			tier.sync()
		}
	}
	tier.sync()
	b.Run("killed", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			cfg.Dir = linkDir(b, dir) // the first tier is still open, but no longer writes
			b.StartTimer()
			again := recovered(b, start(b, cfg))
			b.StopTimer()
			if st := again.Stats(); int(st.Entries) != entries {
				b.Fatalf("%d of %d", st.Entries, entries)
			}
			again.end()
			b.StartTimer()
		}
	})
	tier.end()
	cfg.Dir = dir
	b.Run("closed", func(b *testing.B) {
		size := float64(du(b, dir))
		for b.Loop() {
			again := recovered(b, start(b, cfg))
			st := again.Stats()
			if int(st.Entries) != entries {
				b.Fatalf("%d of %d", st.Entries, entries)
			}
			b.ReportMetric(float64(st.IndexBytes)/float64(entries), "index-B/entry")
			again.end()
		}
		b.ReportMetric((size/float64(entries)/benchSize-1)*100, "overhead-%")
		b.ReportMetric(0, "B/op")
	})
}

// linkDir returns a directory with the files of another, all but its lock.
func linkDir(b *testing.B, from string) string {
	b.Helper()
	to := b.TempDir()
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range names {
		if filepath.Base(name) == "lock" {
			continue
		}
		if err := os.Link(name, filepath.Join(to, filepath.Base(name))); err != nil {
			b.Fatal(err)
		}
	}
	return to
}

func BenchmarkPurge(b *testing.B) {
	tier := start(b, disktier.Config{Dir: b.TempDir(), MaxBytes: 1 << 30})
	tier.fill(20_000, 1000)
	i := 0
	for b.Loop() {
		if _, err := tier.Purge(context.Background(), targetOf(i)); err != nil {
			b.Fatal(err)
		}
		i += 4
	}
}

// A reader that recycles the memory of images that it has sent, as the handler of images does.
func BenchmarkTier_Get_Recycled(b *testing.B) {
	for _, recycle := range []bool{false, true} {
		b.Run("recycle="+strconv.FormatBool(recycle), func(b *testing.B) {
			tier := start(b, disktier.Config{Dir: b.TempDir(), MaxBytes: 1 << 30, SegmentBytes: 64 << 20})
			keys := make([]imagecache.Key, 500)
			for i := range keys {
				keys[i] = tiertest.Key(b, i, 1)
				if err := tier.Put(b.Context(), keys[i], tiertest.Image(uint64(i), 20_000)); err != nil {
					b.Fatal(err)
				}
			}
			tier.sync()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				img, err := tier.Get(b.Context(), keys[i%len(keys)])
				if err != nil {
					b.Fatal(err)
				}
				if recycle {
					img.Recycle()
				}
			}
		})
	}
}
