package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// damagedPictures fit into the budgets of damageDisks, in several segments of each tier.
const damagedPictures = 90

var damageDisks = []string{
	"--cache-memory-size", "8MiB", "--cache-disk-size", "16MiB", "--cache-originals-size", "64MiB",
}

// damages are kinds of damage to the files of a tier, oldest first. Each returns how many
// thumbnails it hit, or -1 if that is unknown.
var damages = map[string]func(t *testing.T, a *album, random *rand.Rand, paths []string) (hit int){
	"bits of bodies": func(t *testing.T, a *album, random *rand.Rand, paths []string) (hit int) {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for i, n := range a.known() {
					body := a.right[a.path(n)]
					if at := bytes.Index(b, body); i%3 == 0 && at >= 0 {
						b[at+random.IntN(len(body))] ^= 1 << random.IntN(8)
						hit++
					}
				}
				return b
			})
		}
		return hit
	},
	"bits anywhere": func(t *testing.T, _ *album, random *rand.Rand, paths []string) int {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for range 40 {
					b[random.IntN(len(b))] ^= 1 << random.IntN(8)
				}
				return b
			})
		}
		return -1
	},
	"zeroed pages": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for page := 0; page < len(b); page += 20 * 4096 {
					clear(b[page:min(len(b), page+4096)])
				}
				return b
			})
		}
		return -1
	},
	"misplaced pages": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for page := 8 * 4096; page+4096 <= len(b); page += 20 * 4096 {
					copy(b[page:page+4096], b[page-4*4096:])
				}
				return b
			})
		}
		return -1
	},
	"cut files": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		for i, path := range paths {
			edit(t, path, func(b []byte) []byte { return b[:len(b)*(i+1)/(len(paths)+1)] })
		}
		return -1
	},
	"emptied files": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		for _, path := range paths[:(len(paths)+1)/2] {
			edit(t, path, func([]byte) []byte { return nil })
		}
		return -1
	},
	"missing files": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		for _, path := range paths[:(len(paths)+1)/2] {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		return -1
	},
	"exchanged files": func(t *testing.T, _ *album, _ *rand.Rand, paths []string) int {
		other := paths[0] + ".other"
		for _, move := range [][2]string{{paths[0], other}, {paths[1], paths[0]}, {other, paths[1]}} {
			if err := os.Rename(move[0], move[1]); err != nil {
				t.Fatal(err)
			}
		}
		return -1
	},
}

// A cache directory is damaged while it is unused or in use. Readers start at once, even during
// recovery, and none of them gets a wrong byte.
func TestTier_DamagedDisk_ServesNoWrongByte(t *testing.T) {
	t.Parallel()
	a := newAlbum(t)
	whole := t.TempDir()
	x := a.start(whole, damageDisks...)
	a.ask(x, 0, damagedPictures)
	x.stop()
	for kind, damage := range damages {
		for _, inUse := range []bool{false, true} {
			name := kind
			if inUse {
				name += " in use"
				if strings.HasPrefix(kind, "missing") || strings.HasPrefix(kind, "exchanged") {
					continue // no effect: the tier has the files open
				}
			}
			t.Run(name, func(t *testing.T) {
				a := a.with(t)
				cache := t.TempDir()
				if err := os.CopyFS(cache, os.DirFS(whole)); err != nil {
					t.Fatal(err)
				}
				var x *tier
				if inUse {
					x = a.start(cache, damageDisks...)
					waitRecovered(x, damagedPictures)
				}
				random := rand.New(rand.NewPCG(1, 1))
				damage(t, a, random, segmentsIn(t, cache, "originals"))
				hit := damage(t, a, random, segmentsIn(t, cache, "variants"))
				if !inUse {
					x = a.start(cache, damageDisks...)
				}
				hits := a.askFor(x, a.known())
				verify := x.number(`imagetier_cache_errors_total{op="verify",tier="disk"}`)
				lost := damagedPictures - hits
				if hit >= 0 && inUse && (lost != hit || verify != float64(hit)) {
					t.Errorf("%d were damaged, %d are made again, %g are counted", hit, lost, verify)
				}
				if inUse && (lost == 0 || verify == 0 || verify > float64(lost)) {
					t.Errorf("%d are made again, %g are counted as damaged", lost, verify)
				}
				// Another size is made from originals that were damaged too.
				for _, n := range a.known() {
					if _, err := a.getPath(t.Context(), x, n, a.pathOf(n, "120x")); err != nil {
						t.Error(err)
					}
				}
				if again := a.askFor(x, a.known()); again != damagedPictures {
					t.Errorf("%d of %d are hits once they were made again", again, damagedPictures)
				}
				if got := x.number(`imagetier_cache_errors_total{op="verify",tier="disk"}`); inUse && got != verify {
					t.Errorf("%g damaged records are counted, want the %g after the requests", got, verify)
				}
				if status := x.condition(); status.Status != "ok" {
					t.Errorf("health is %v, want ok: damaged files are not a fault of the disk", status)
				}
			})
		}
	}
}

// with returns the album for a subtest, so that wrong answers fail the subtest.
func (a *album) with(t *testing.T) *album {
	return &album{t: t, source: a.source, client: a.client, right: a.right, seen: a.seen}
}

// Requests do not wait while a slow disk is scanned after a start.
func TestTier_DiskRecovery_DoesNotDelayRequests(t *testing.T) {
	t.Parallel()
	disk := newFaultyDisk(t)
	a := newAlbum(t)
	cache := filepath.Join(disk.dir, "cache")
	const pictures = 40
	x := a.start(cache, smallDisks...)
	a.ask(x, 0, pictures)
	x.stop()

	release := disk.hold(".seg", opRead)
	defer release()                   // also after a failure: a tier that waits for the disk cannot be killed
	x = a.start(cache, smallDisks...) // it became ready
	eventually(t, recovery, "the directory to be read", func() bool { return disk.held.Load() > 0 })
	if hits := a.ask(x, 0, pictures/2); hits != 0 {
		t.Errorf("%d hits of images that are not scanned yet", hits)
	}
	release()
	waitRecovered(x, pictures)
	if hits := a.ask(x, pictures/2, pictures); hits != pictures/2 {
		t.Errorf("%d of %d are hits once the directory was read", hits, pictures/2)
	}
}

// du returns the disk usage of a directory; a file with several links counts once.
func du(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		total += info.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if err != nil {
		t.Errorf("du: %v", err)
	}
	return total
}

// ignoreMissing ignores files that were removed after they were listed.
func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// Readers continuously request more than fits. The two budgets are never exceeded.
func TestTier_Disk_StaysWithinBudgets(t *testing.T) {
	t.Parallel()
	const budget = 16 << 20
	a := newAlbum(t)
	cache := t.TempDir()
	x := a.start(cache, "--cache-memory-size", "8MiB", "--cache-disk-size", "16MiB", "--cache-originals-size", "16MiB")
	var most [3]int64
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		for tick := time.Tick(time.Millisecond); ; <-tick {
			for i, dir := range []string{"variants", "originals", "."} {
				most[i] = max(most[i], du(t, filepath.Join(cache, dir)))
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	var writers sync.WaitGroup
	pictures := fromEnvironment(t, "IMAGETIER_E2E_PICTURES", 60, 50)
	for w := range 4 {
		writers.Go(func() {
			for i := range pictures {
				n := w*pictures + i
				for _, path := range []string{
					a.pathOf(n, "120x"), signedPath(t, fmt.Sprintf("/240x/v.1/posts/%d.png.png", n)),
				} {
					if _, err := a.getPath(t.Context(), x, n, path); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	watcher.Wait()
	for i, limit := range []int64{budget, budget, 2 * budget} {
		if most[i] > limit || most[i] < limit/2 {
			t.Errorf("du of %s said %d at most, the budget is %d",
				[...]string{"variants", "originals", "all"}[i], most[i], limit)
		}
	}
	for _, name := range []string{"disk", "originals"} {
		evicted := x.number(fmt.Sprintf(`imagetier_cache_evictions_total{reason="budget",tier=%q}`, name))
		if evicted == 0 {
			t.Errorf("the %s tier evicted nothing", name)
		}
	}
}
