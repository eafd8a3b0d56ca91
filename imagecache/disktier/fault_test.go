package disktier_test

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
)

// recovery is how long the tier may take after the disk has come back.
const recovery = 30 * time.Second

// backWithin waits in fake time until the tier serves again.
func backWithin(t *testing.T, tier running, limit time.Duration) {
	t.Helper()
	began := time.Now()
	waitFor(t, "the tier to serve again", func() bool { return tier.State() == disktier.Serving })
	if took := time.Since(began); took > limit {
		t.Errorf("the tier served again after %v, want %v", took, limit)
	}
	if err := tier.Fault(); err != nil {
		t.Errorf("serving, with a fault: %v", err)
	}
}

func TestTier_Put_RecoversFromFailedWrites(t *testing.T) {
	for _, test := range []struct {
		err error
		ops []string
	}{
		{syscall.EIO, []string{"write"}},
		{syscall.EIO, []string{"sync"}},
		{syscall.EROFS, []string{"write", "create", "remove", "rename", "truncate", "sync"}},
		{syscall.EACCES, []string{"create"}},
	} {
		t.Run(test.err.Error()+" "+test.ops[0], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemDisk()
				tier := recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
				defer tier.end()
				tier.fill(100, 5000)
				disk.failing(test.err, test.ops...)
				for i := 100; tier.State() == disktier.Serving && i < 1000; i++ {
					tier.put(keyOf(i), imageOf(i, 5000))
					time.Sleep(100 * time.Millisecond) // fake
				}
				if s := tier.State(); s != disktier.ReadOnly || !s.Degraded() || tier.Fault() == nil {
					t.Fatalf("state %v, %v", s, tier.Fault())
				}
				if hits := tier.hits(100); hits != 100 {
					t.Errorf("%d of 100 are served", hits)
				}
				disk.failing(nil)
				backWithin(t, tier, recovery)
				tier.put(keyOf(2000), imageOf(2000, 5000))
				tier.sync()
				if !tier.has(2000) {
					t.Error("nothing is kept after it came back")
				}
			})
		})
	}
}

func TestTier_Get_TurnsOffWhileReadsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		tier := recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
		defer tier.end()
		tier.fill(100, 5000)
		disk.failing(syscall.EIO, "read")
		failed := 0
		for i := range 100 {
			if _, err := tier.Get(context.Background(), keyOf(i)); err != imagecache.ErrMiss {
				failed++
			}
		}
		if failed == 0 || failed > 10 {
			t.Errorf("%d Gets returned the error", failed)
		}
		if s := tier.State(); s != disktier.Off || tier.Fault() == nil {
			t.Fatalf("state %v, %v", s, tier.Fault())
		}
		disk.failing(nil)
		backWithin(t, tier, recovery)
		if hits := tier.hits(100); hits != 100-failed {
			t.Errorf("%d of 100 after %d failed", hits, failed)
		}
		if n := tier.Stats().Damaged; n != uint64(failed) {
			t.Errorf("%d counted as damaged, %d were", n, failed)
		}
	})
}

func TestTier_Get_StaysOnAfterOneBadSector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		tier := recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
		defer tier.end()
		tier.fill(100, 5000)
		for i := range 50 {
			disk.failing(syscall.EIO, "read")
			tier.Get(context.Background(), keyOf(i))
			disk.failing(nil)
			if !tier.has(50 + i) {
				t.Fatal("the tier stopped serving")
			}
		}
		if s := tier.State(); s != disktier.Serving {
			t.Errorf("state %v", s)
		}
	})
}

// Records of segments that cannot be opened for a while are healthy.
func TestTier_Get_KeepsRecordsWithoutFreeDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		cfg := disktier.Config{Dir: "/c", MaxBytes: 8 << 20, SegmentBytes: 64 << 10, OpenFiles: 1}.On(disk)
		tier := recovered(t, start(t, cfg))
		tier.fill(100, 5000)
		noDescriptors(disk)
		failed := 0
		for i := range 100 {
			if _, err := tier.Get(context.Background(), keyOf(i)); err != nil && err != imagecache.ErrMiss {
				failed++
			}
		}
		if failed == 0 || tier.State() != disktier.Off {
			t.Errorf("%d Gets failed, state %v", failed, tier.State())
		}
		disk.failing(nil)
		backWithin(t, tier, recovery)
		if hits, damaged := tier.hits(100), tier.Stats().Damaged; hits != 100 || damaged != 0 {
			t.Errorf("%d of 100 are left, %d counted as damaged", hits, damaged)
		}

		tier.end()
		noDescriptors(disk)
		tier = start(t, cfg)
		defer tier.end()
		time.Sleep(time.Minute) // fake
		disk.failing(nil)
		backWithin(t, recovered(t, tier), recovery)
		if hits := tier.hits(100); hits != 100 {
			t.Errorf("%d of 100 are left after a restart", hits)
		}
	})
}

// A start while the disk cannot be read must not take healthy segments for lost, also if there is
// only one. A segment that alone cannot be read is given up, since others wait for it.
func TestOpen_KeepsSegmentsWhileReadsFail(t *testing.T) {
	for name, images := range map[string]int{"one segment": 10, "several": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemDisk()
				cfg := disktier.Config{Dir: "/c", MaxBytes: 8 << 20, SegmentBytes: 64 << 10}.On(disk)
				tier := recovered(t, start(t, cfg))
				tier.fill(images, 5000)
				tier.end()
				last := disk.newest()
				unreadable(disk, func(path string) bool { return strings.HasSuffix(path, ".seg") && path <= last })
				tier = start(t, cfg)
				for i := range 24 {
					tier.put(keyOf(1000+i), imageOf(1000+i, 5000)) // can be read: only the old ones cannot
					time.Sleep(10 * time.Second)                   // fake
				}
				disk.failing(nil)
				backWithin(t, recovered(t, tier), recovery)
				if hits, damaged := tier.hits(images), tier.Stats().Damaged; hits != images || damaged != 0 {
					t.Errorf("%d of %d are left, %d counted as damaged", hits, images, damaged)
				}
				tier.end()

				last = disk.newest()
				unreadable(disk, func(path string) bool { return path == last })
				tier = start(t, cfg)
				defer tier.end()
				time.Sleep(6 * time.Minute) // fake
				backWithin(t, recovered(t, tier), recovery)
				if hits := tier.hits(images); images > 10 && hits < images/2 {
					t.Errorf("%d of %d are served when the newest segment is given up", hits, images)
				}
				tier.put(keyOf(2000), imageOf(2000, 5000))
				tier.sync()
				if !tier.has(2000) || tier.Stats().Damaged == 0 {
					t.Errorf("nothing is kept, or %d are counted as damaged", tier.Stats().Damaged)
				}
			})
		})
	}
}

// unreadable makes reads of these files fail.
func unreadable(d *memDisk, which func(path string) bool) {
	d.set(func(d *memDisk) {
		d.fault = func(op, path string) error {
			if op == "read" && which(path) {
				return &fs.PathError{Op: op, Path: path, Err: syscall.EIO}
			}
			return nil
		}
	})
}

// A segment that cannot be removed is found again by the next start, which needs its tombstones.
func TestTier_Purge_HoldsForSegmentsThatCannotBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		cfg := disktier.Config{Dir: "/c", MaxBytes: 1 << 20, SegmentBytes: 64 << 10}.On(disk)
		tier := recovered(t, start(t, cfg))
		tier.fill(8, 5000)
		purge := func(i int) {
			if _, err := tier.Purge(t.Context(), targetOf(i)); err != nil {
				t.Fatal(err)
			}
		}
		purge(0)
		first := disk.newest()
		disk.set(func(d *memDisk) {
			d.fault = func(op, path string) error {
				if op == "remove" && path == first {
					return &fs.PathError{Op: op, Path: path, Err: syscall.EBUSY}
				}
				return nil
			}
		})
		for i := range 1500 { // enough to compact the log of purges
			tier.put(keyOf(100+i), imageOf(100+i, 5000))
			purge(50 + i)
			tier.sync()
		}
		tier.end()
		disk.failing(nil)
		tier = recovered(t, start(t, cfg))
		defer tier.end()
		for i := range 4 {
			if tier.has(i) {
				t.Fatalf("image %d is served, but it was purged", i)
			}
		}
	})
}

// noDescriptors makes the disk fail to open segments as a process without free file descriptors does.
func noDescriptors(d *memDisk) {
	d.set(func(d *memDisk) {
		d.fault = func(op, path string) error {
			if op == "open" && strings.HasSuffix(path, ".seg") {
				return &fs.PathError{Op: op, Path: path, Err: syscall.EMFILE}
			}
			return nil
		}
	})
}

func TestOpen_FailingDirectory_IsRetried(t *testing.T) {
	for _, test := range []struct {
		op  string
		err error
	}{{"mkdir", syscall.EROFS}, {"create", syscall.ENOSPC}, {"create", syscall.EACCES}, {"readdir", syscall.EIO}} {
		t.Run(test.op+" "+test.err.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemDisk()
				disk.failing(test.err, test.op)
				tier := start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk))
				defer tier.end()
				tier.put(keyOf(1), imageOf(1, 1000))
				if tier.has(1) || tier.State() != disktier.Off {
					t.Errorf("state %v", tier.State())
				}
				if _, err := tier.Purge(context.Background(), imagecache.Target{Key: keyOf(1)}); err == nil {
					t.Error("a purge that will not last succeeded")
				}
				disk.failing(nil)
				backWithin(t, tier, recovery)
				tier.put(keyOf(1), imageOf(1, 1000))
				tier.sync()
				if !tier.has(1) {
					t.Error("nothing is kept after it came back")
				}
			})
		})
	}
}

func TestTier_Put_EvictsWhileTheDiskIsFull(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, test := range []struct {
		name       string
		fill, free func(d *memDisk)
	}{
		{"bytes", func(d *memDisk) { d.capacity = 3 << 20 }, func(d *memDisk) { d.capacity = 0 }},
		{"inodes", func(d *memDisk) { d.inodes = 9 }, func(d *memDisk) { d.inodes = 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemDisk()
				disk.set(test.fill)
				tier := recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
				defer tier.end()
				stored := 0
				for i := range 1500 {
					tier.put(keyOf(i), imageOf(i, 5000))
					tier.sync()
					if tier.has(i) {
						stored++
					}
				}
				if stored < 1490 {
					t.Errorf("%d of 1500 were stored", stored)
				}
				if st := tier.Stats(); !st.State.Degraded() || st.Evicted[disktier.EvictedForSpace] == 0 ||
					st.Limit >= 8<<20 {
					t.Errorf("%+v", tier.Stats())
				}
				if hits := tier.hits(1500); hits < 200 {
					t.Errorf("%d are kept on 3 MiB", hits)
				}
				disk.set(test.free)
				backWithin(t, tier, recovery)
				tier.fill(2000, 5000)
				if used := disk.used(); used < 6<<20 || used > 8<<20 {
					t.Errorf("the tier uses %d of %d bytes", used, 8<<20)
				}
			})
		})
	}
}

func TestTier_Purge_ReportsFailedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		tier := recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
		defer tier.end()
		tier.fill(8, 1000)
		for _, op := range []string{"write", "sync"} {
			disk.failing(syscall.EIO, op)
			if _, err := tier.Purge(context.Background(), imagecache.Target{Original: originalOf(0)}); err == nil ||
				!strings.Contains(err.Error(), "purge") {
				t.Errorf("%s: %v", op, err)
			}
			if tier.has(0) {
				t.Error("the purged image is still served")
			}
		}
		disk.failing(nil)
		if _, err := tier.Purge(context.Background(), imagecache.Target{Original: originalOf(0)}); err != nil {
			t.Errorf("repeated: %v", err)
		}
		tier.end()
		tier = recovered(t, start(t, disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)))
		defer tier.end()
		if hits := tier.hits(8); hits != 4 {
			t.Errorf("%d are left", hits)
		}
	})
}

// Every image has a version, which is its size. A power failure may lose images that were not
// synced, but never synced ones, and never brings back a purged image. (A newer version that was
// torn leaves a miss: it had replaced the older one.)
func TestTier_Sync_SurvivesAPowerFailure(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	for seed := range rounds {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(uint64(seed), 2))
			disk := newMemDisk()
			oldest := make(map[int]int)  // minimum version that may be found
			newest := make(map[int]int)  // maximum version that may be found
			latest := make(map[int]int)  // the version in the tier, as far as the test knows
			synced := make(map[int]bool) // latest is known, so a miss is a loss
			version := 0
			for range 3 {
				tier := recovered(
					t,
					start(t, disktier.Config{Dir: "/c", MaxBytes: 4 << 20, SyncEvery: time.Hour}.On(disk)),
				)
				for key, least := range oldest {
					latest[key] = checkVersion(t, seed, tier, key, least, newest[key], synced[key])
				}
				for range 200 {
					key := random.IntN(30)
					switch random.IntN(12) {
					case 0:
						tier.sync()
						for key := range latest {
							if latest[key] > 0 {
								oldest[key], synced[key] = latest[key], true
							}
						}
					case 1:
						target := imagecache.Target{Original: originalOf(key)}
						if _, err := tier.Purge(context.Background(), target); err != nil {
							t.Fatal(err)
						}
						for k := key / 4 * 4; k < key/4*4+4; k++ {
							oldest[k], newest[k], latest[k], synced[k] = 0, 0, 0, false
						}
					case 2:
						if _, err := tier.Purge(context.Background(), imagecache.Target{Key: keyOf(key)}); err != nil {
							t.Fatal(err)
						}
						oldest[key], newest[key], latest[key], synced[key] = 0, 0, 0, false
					default:
						version++
						tier.put(keyOf(key), imageOf(key, 500+version))
						newest[key], latest[key], synced[key] = 500+version, 500+version, false
						if _, ok := oldest[key]; !ok {
							oldest[key] = 0
						}
					}
				}
				synctest.Wait() // the queue is written, but not synced
				disk = func() *memDisk {
					crashed := disk.afterPowerFailure(random)
					tier.end()
					return crashed
				}()
			}
		})
	}
}

func checkVersion(t *testing.T, seed int, tier running, key, least, most int, synced bool) (found int) {
	t.Helper()
	img, err := tier.Get(context.Background(), keyOf(key))
	size := len(img.Body)
	switch {
	case err != nil && err != imagecache.ErrMiss:
		t.Fatalf("seed %d: %v", seed, err)
	case err != nil && synced:
		t.Fatalf("seed %d: image %d was synced as %d and is lost", seed, key, least)
	case err == nil && (size < least || size > most):
		t.Fatalf("seed %d: image %d is %d, not %d to %d", seed, key, size, least, most)
	}
	tier.has(key) // compares every byte
	return size
}
