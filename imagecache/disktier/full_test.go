package disktier_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
)

// mountSmall mounts a real tmpfs for the test.
func mountSmall(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a tmpfs is not permitted here (%v); the same is tested on a disk in memory", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

func TestTier_Put_UsesAFullFileSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for name, options := range map[string]string{"bytes": "size=50m", "inodes": "size=50m,nr_inodes=16"} {
		t.Run(name, func(t *testing.T) {
			mount := mountSmall(t, options)
			tier := start(
				t,
				disktier.Config{Dir: filepath.Join(mount, "cache"), MaxBytes: 256 << 20, SegmentBytes: 2 << 20},
			)
			stored, degraded := 0, false // it may serve again by the end
			const images = 6000
			for i := range images {
				tier.put(keyOf(i), imageOf(i, 20_000))
				if i%50 == 49 {
					tier.sync()
					degraded = degraded || tier.State().Degraded()
				}
				if tier.has(i) {
					stored++
				}
			}
			if stored < images*99/100 {
				t.Errorf("%d of %d were stored", stored, images)
			}
			if hits := tier.hits(images); hits < 400 {
				t.Errorf("%d are kept, want 400", hits)
			}
			if !degraded {
				t.Error("the state was never degraded")
			}
			before := tier.hits(images)
			tier.end()
			tier = recovered(
				t,
				start(
					t,
					disktier.Config{Dir: filepath.Join(mount, "cache"), MaxBytes: 256 << 20, SegmentBytes: 2 << 20},
				),
			)
			if hits := tier.hits(images); hits < before*9/10 {
				t.Errorf("%d are there after a restart, %d were before", hits, before)
			}
		})
	}
}

func TestTier_Put_RecoversWhenOthersFreeSpace(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s of real time")
	}
	t.Parallel()
	mount := mountSmall(t, "size=20m")
	tier := start(t, disktier.Config{Dir: filepath.Join(mount, "cache"), MaxBytes: 16 << 20})
	other, err := os.Create(filepath.Join(mount, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := syscall.Fallocate(int(other.Fd()), 0, 0, 19<<20); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		tier.put(keyOf(i), imageOf(i, 20_000))
	}
	tier.sync()
	if s := tier.State(); s != disktier.Full {
		t.Fatalf("state %v", s)
	}
	if err := other.Truncate(0); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	waitFor(t, "room", func() bool { return tier.State() == disktier.Serving })
	t.Logf("used again after %v", time.Since(began))
	tier.fill(600, 20_000)
	if hits := tier.hits(600); hits != 600 {
		t.Errorf("%d of 600", hits)
	}
}

func TestOpen_ServesAReadOnlyFileSystem(t *testing.T) {
	mount := mountSmall(t, "size=50m")
	cfg := disktier.Config{Dir: filepath.Join(mount, "cache"), MaxBytes: 32 << 20}
	tier := start(t, cfg)
	tier.fill(500, 5000)
	tier.end()
	if err := syscall.Mount("", mount, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("remounting is not permitted here: %v", err)
	}
	tier = recovered(t, start(t, cfg))
	if hits := tier.hits(500); hits != 500 {
		t.Errorf("%d of 500 are served", hits)
	}
	tier.put(keyOf(600), imageOf(600, 5000))
	tier.sync0()
	if s := tier.State(); s != disktier.ReadOnly {
		t.Errorf("state %v, %v", s, tier.Fault())
	}
	if _, err := tier.Purge(context.Background(), imagecache.Target{Key: keyOf(1)}); err == nil {
		t.Error("a purge that cannot be written succeeded")
	}
	if tier.has(1) {
		t.Error("the purged image is still served")
	}
}

// sync0 is like sync, but the Sync may fail.
func (r running) sync0() { r.Sync(context.Background()) }

func TestTier_Put_KeepsTheBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dir := t.TempDir()
	const budget = 8 << 20
	tier := start(t, disktier.Config{Dir: dir, MaxBytes: budget})
	stop := make(chan struct{})
	var writers, watcher sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for i := range 1500 {
				n := w*10_000 + i
				size := 100 + n*7919%30_000
				if i%300 == 0 {
					size = budget/4 - 4096
				}
				tier.Put(context.Background(), keyOf(n), imageOf(n, size))
				tier.Get(context.Background(), keyOf(n-n%7))
				if i%100 == 0 {
					tier.Purge(context.Background(), targetOf(n))
					tier.Sync(context.Background())
				}
			}
		})
	}
	var most int64
	watcher.Go(func() {
		for {
			most = max(most, du(t, dir))
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	writers.Wait()
	close(stop)
	watcher.Wait()
	if most > budget || most < budget/2 {
		t.Errorf("du said %d at most, the budget is %d", most, budget)
	}
	if used := tier.Stats().Bytes; used > budget {
		t.Errorf("Stats says %d", used)
	}
}
