package e2e

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The disk of a running tier fails: every answer is right, the health says what is wrong, and when
// the disk works again the tier still has its images.
func TestTier_FailingDisk_ServesAndRecovers(t *testing.T) {
	for _, c := range []struct {
		name  string
		err   syscall.Errno
		ops   []diskOp
		state string
		// served: images on the disk are still served.
		served bool
	}{
		{"reads fail", syscall.EIO, diskReads, "disk tier: off", false},
		{"writes fail", syscall.EIO, diskWrites, "disk tier: read-only", true},
		{"it turned read-only", syscall.EROFS, diskWrites, "disk tier: read-only", true},
		{"everything fails", syscall.EIO, diskAll, "disk tier: off", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			disk := newFaultyDisk(t)
			a := newAlbum(t)
			cache := filepath.Join(disk.dir, "cache")
			const pictures = 100
			x := a.start(cache, smallDisks...)
			a.ask(x, 0, pictures)
			x.stop() // empties the memory tier
			x = a.start(cache, smallDisks...)
			waitRecovered(x, pictures)

			disk.fail(c.err, c.ops...)
			readers := a.crowd(x, 4, pictures)
			hits := a.ask(x, 0, pictures/2)
			switch {
			case c.served && hits != pictures/2:
				t.Errorf("%d of %d were hits while the disk could be read", hits, pictures/2)
			case !c.served && hits != 0:
				t.Errorf("%d hits of a disk that cannot be read", hits)
			}
			x.waitCondition(recovery, "degraded", c.state)
			readers.waitFor(100)
			if got := fetch(t, x.private+"/readyz"); got.StatusCode != 200 {
				t.Errorf("/readyz is %s, want 200: a node with a bad disk still serves", got.Status)
			}
			if disk.failed.Load() == 0 {
				t.Error("no operation failed: the test has no effect")
			}

			disk.repair()
			x.waitCondition(recovery, "ok")
			readers.leave()
			if hits := a.ask(x, pictures/2, pictures); hits < pictures/2*9/10 {
				t.Errorf("%d hits of %d that were on the disk all the time", hits, pictures/2)
			}
			keepsAcrossARestart(t, a, x, cache, int(readers.next.Load()))
		})
	}
}

// A tier on a file system that was mounted read-only serves its images, and writes once it can.
func TestTier_ReadOnlyDisk_ServesAndRecovers(t *testing.T) {
	t.Parallel()
	dir := mountSmall(t, "")
	a := newAlbum(t)
	cache := filepath.Join(dir, "cache")
	const pictures = 40
	flags := append([]string{"--admin-token", token}, smallDisks...)
	x := a.start(cache, flags...)
	a.ask(x, 0, pictures)
	const down = `{"source":"posts","name":"7.png"}`
	if status, _ := x.ask("POST", "/v1/takedown", down); status != 200 {
		t.Fatalf("takedown: %d", status)
	}
	x.stop()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Skipf("remounting is not permitted here: %v", err)
	}

	x = a.start(cache, flags...)
	waitRecovered(x, pictures-1)
	if got := x.get(a.path(7)); got.StatusCode != 451 {
		t.Errorf("the image that was taken down: status %s, want 451", got.Status)
	}
	if hits := a.ask(x, 10, pictures); hits != pictures-10 {
		t.Errorf("%d of %d were hits", hits, pictures-10)
	}
	a.ask(x, pictures, 2*pictures)
	x.waitCondition(recovery, "degraded", "disk tier: read-only")
	if status, _ := x.ask("POST", "/v1/takedown", `{"source":"posts","name":"8.png"}`); status < 500 {
		t.Errorf("a takedown that cannot be kept is %d", status)
	}
	if !strings.Contains(x.log.String(), "takedown list is read-only") {
		t.Error("the log does not mention that the takedown list is read-only")
	}

	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	x.waitCondition(recovery, "ok")
	if status, _ := x.ask("POST", "/v1/takedown", `{"source":"posts","name":"8.png"}`); status != 200 {
		t.Errorf("a takedown once the disk can be written: %d", status)
	}
	keepsAcrossARestart(t, a, x, cache, 3*pictures)
}
