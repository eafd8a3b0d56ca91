package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// recovery bounds the time until the tier uses a repaired disk again.
const recovery = 30 * time.Second

// mountSmall mounts a tmpfs of 50 MB for the test.
func mountSmall(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=50m"+options); err != nil {
		t.Skipf(
			"mounting a tmpfs is not permitted here (%v): run it as root; package disktier tries the same on a disk in memory",
			err,
		)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// fills are ways to fill a small file system: with bytes or with inodes.
var fills = map[string]struct {
	options string
	fill    func(t *testing.T, dir string, left int) // leaves left bytes or inodes free
	few     int                                      // free bytes or inodes: the tier starts, and soon runs out
}{
	"bytes": {"", func(t *testing.T, dir string, left int) {
		f, err := os.Create(filepath.Join(dir, "other"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-int64(left)); err != nil {
			t.Fatal(err)
		}
	}, 8 << 20},
	"inodes": {",nr_inodes=100", func(t *testing.T, dir string, left int) {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		for i := range int(st.Ffree) - left {
			if err := os.WriteFile(filepath.Join(dir, "other-"+strconv.Itoa(i)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}, 16},
}

func removeOthers(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "other*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// smallDisks are budgets that fit on the 50 MB once no other file is there.
var smallDisks = []string{
	"--cache-memory-size", "8MiB", "--cache-disk-size", "16MiB", "--cache-originals-size", "24MiB",
}

// Other files fill the disk before the tier starts or while it runs. Every answer is right, and
// once the files are removed, the tier uses the disk again.
func TestTier_FullDisk_ServesAndRecovers(t *testing.T) {
	for name, full := range fills {
		for _, when := range []string{"before the start", "in use"} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel() // it mostly waits
				dir := mountSmall(t, full.options)
				a := newAlbum(t)
				if when == "before the start" {
					full.fill(t, dir, 0)
				} else {
					full.fill(t, dir, full.few)
				}
				cache := filepath.Join(dir, "cache")
				x := a.start(cache, smallDisks...)
				readers := a.crowd(x, 4, 0)
				x.waitCondition(recovery, "degraded")
				readers.waitFor(200)
				if got := fetch(t, x.private+"/readyz"); got.StatusCode != 200 {
					t.Errorf("/readyz is %s, want 200: a node with a full disk still serves", got.Status)
				}
				if status := x.condition().Status; status != "degraded" {
					t.Errorf("health is %q although the disk is still full", status)
				}

				removeOthers(t, dir)
				x.waitCondition(recovery, "ok")
				readers.waitFor(50)
				readers.leave()
				keepsAcrossARestart(t, a, x, cache, int(readers.next.Load()))
			})
		}
	}
}

// keepsAcrossARestart fails unless images requested from x now are disk hits after a restart.
func keepsAcrossARestart(t *testing.T, a *album, x *tier, cache string, first int) {
	t.Helper()
	const pictures = 20
	a.ask(x, first, first+pictures)
	x.stop()
	x = a.start(cache, smallDisks...)
	waitRecovered(x, pictures)
	if hits := a.ask(x, first, first+pictures); hits != pictures {
		t.Errorf("%d of %d are hits after a restart", hits, pictures)
	}
}

// waitRecovered waits until the disk tier of x has recovered that many images.
func waitRecovered(x *tier, images int) {
	x.t.Helper()
	eventually(x.t, recovery, "the images on disk to be recovered", func() bool {
		return x.number(`imagetier_cache_entries{tier="disk"}`) >= float64(images)
	})
}
