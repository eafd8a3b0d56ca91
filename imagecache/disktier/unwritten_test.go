package disktier_test

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
)

// purgeFails purges an original, and fails the test unless that returns an error: the purge is not
// durable.
func purgeFails(t *testing.T, tier running, n int) {
	t.Helper()
	if _, err := tier.Purge(context.Background(), targetOf(n)); err == nil {
		t.Error("a purge that cannot be durable yet returned no error")
	}
}

// filled returns a tier on disk with eight images, and its configuration.
func filled(t *testing.T, disk *memDisk) (disktier.Config, running) {
	t.Helper()
	cfg := disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)
	tier := recovered(t, start(t, cfg))
	tier.fill(8, 1000)
	return cfg, tier
}

// onlyLater fails the test unless the first original of eight images is gone and the second is
// there, also after a restart.
func onlyLater(t *testing.T, tier running, cfg disktier.Config) {
	t.Helper()
	for range 2 {
		if recovered(t, tier).hits(4) != 0 || tier.hits(8) != 4 {
			t.Errorf("%d of the purged images are served, %d of all; want 0, 4", tier.hits(4), tier.hits(8))
		}
		tier.end()
		tier = start(t, cfg)
	}
	tier.end()
}

func TestTier_Purge_HoldsForMissingDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		cfg, tier := filled(t, disk)
		tier.end()
		disk.failing(syscall.EIO, "readdir")
		tier = start(t, cfg)
		purgeFails(t, tier, 0)
		time.Sleep(48 * time.Hour)
		disk.failing(nil)
		backWithin(t, tier, recovery)
		onlyLater(t, tier, cfg)
	})
}

// The disk fails, its files vanish, and it is mounted again with all of them.
func TestTier_Purge_HoldsForRemountedDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		cfg, tier := filled(t, disk)
		disk.failing(syscall.ENOENT, "write", "readdir")
		purgeFails(t, tier, 0)
		waitFor(t, "the tier to be off", func() bool { return tier.State() == disktier.Off })
		disk.failing(nil)
		backWithin(t, tier, recovery)
		onlyLater(t, tier, cfg)
	})
}

func TestTier_Purge_IsWrittenOnceTheDiskCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemDisk()
		cfg, tier := filled(t, disk)
		disk.failing(syscall.EIO, "write")
		purgeFails(t, tier, 0)
		disk.failing(nil)
		time.Sleep(recovery)
		onlyLater(t, tier, cfg)
	})
}

func TestTier_Purge_DiscardsTheDiskBeyondTheLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("makes 200,000 purges")
	}
	for name, ops := range map[string][]string{"not there": {"readdir"}, "not written": {"write", "create"}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				disk := newMemDisk()
				cfg := disktier.Config{Dir: "/c", MaxBytes: 8 << 20}.On(disk)
				tier := recovered(t, start(t, cfg))
				tier.fill(8, 1000)
				tier.end()
				if ops[0] == "readdir" {
					disk.failing(syscall.EIO, ops...)
				}
				tier = start(t, cfg)
				if ops[0] == "write" {
					recovered(t, tier)
					disk.failing(syscall.EIO, ops...)
				}
				for n := range 100_001 {
					target := imagecache.Target{Key: keyOf(1_000_000 + n)}
					if n == 100_000 {
						target = targetOf(0)
					}
					if _, err := tier.Purge(context.Background(), target); err == nil {
						t.Fatal("a purge that cannot be durable yet returned no error")
					}
				}
				disk.failing(nil)
				time.Sleep(recovery)
				backWithin(t, tier, recovery)
				if hits := recovered(t, tier).hits(8); hits != 0 {
					t.Errorf("%d images are served", hits)
				}
				tier.fill(8, 2000)
				tier.end()
				tier = recovered(t, start(t, cfg))
				defer tier.end()
				if hits := tier.hits(8); hits != 8 {
					t.Errorf("%d of 8 later images are kept", hits)
				}
			})
		})
	}
}
