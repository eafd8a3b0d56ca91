package disktier_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
)

// edit changes a file in place.
func edit(t *testing.T, path string, change func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b = change(b)
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

// copyDir copies a directory that is in use, as a crash would leave it.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	names, err := filepath.Glob(filepath.Join(from, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		in, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // renamed or removed since
		}
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		out, err := os.Create(filepath.Join(to, filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := io.Copy(out, in); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

const (
	damageImages = 400
	damageSize   = 5000
)

// damage damages a segment. It returns how many images it hit, or -1 if that is unknown.
type damage struct {
	name string
	do   func(t *testing.T, paths []string) (hit int)
}

var damages = []damage{
	{"flipped bits in bodies", func(t *testing.T, paths []string) int {
		random := rand.New(rand.NewPCG(3, 3))
		hit := 0
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for i := range damageImages {
					if at := bytes.Index(b, imageOf(i, damageSize).Body); at >= 0 && random.IntN(4) == 0 {
						b[at+random.IntN(damageSize)] ^= 1 << random.IntN(8)
						hit++
					}
				}
				return b
			})
		}
		return hit
	}},
	{"flipped bits in what is before a body", func(t *testing.T, paths []string) int {
		random := rand.New(rand.NewPCG(4, 4))
		hit := 0
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for i := range damageImages {
					// Only every eighth image: two damaged neighbours would count as one damaged
					// stretch.
					if at := bytes.Index(b, imageOf(i, damageSize).Body); at >= 0 && i%8 == 0 {
						b[at-1-random.IntN(90)] ^= 1 << random.IntN(8)
						hit++
					}
				}
				return b
			})
		}
		return hit
	}},
	{"zeroed pages", func(t *testing.T, paths []string) int {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for page := 3; page*4096 < len(b); page += 9 {
					clear(b[page*4096 : min(len(b), (page+1)*4096)])
				}
				return b
			})
		}
		return -1
	}},
	{"random bytes", func(t *testing.T, paths []string) int {
		random := rand.New(rand.NewPCG(5, 5))
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte {
				for range 30 {
					b[random.IntN(len(b))] ^= 1 << random.IntN(8)
				}
				return b
			})
		}
		return -1
	}},
	{"a damaged header", func(t *testing.T, paths []string) int {
		for _, path := range paths {
			edit(t, path, func(b []byte) []byte { b[9] ^= 1; return b })
		}
		return 0
	}},
	{"a truncated segment", func(t *testing.T, paths []string) int {
		edit(t, paths[0], func(b []byte) []byte { return b[:len(b)/2] })
		return -1
	}},
	{"an emptied segment", func(t *testing.T, paths []string) int {
		hit := imagesIn(t, paths[0])
		edit(t, paths[0], func(b []byte) []byte { return nil })
		return hit
	}},
	{"a missing segment", func(t *testing.T, paths []string) int {
		hit := imagesIn(t, paths[1])
		if err := os.Remove(paths[1]); err != nil {
			t.Fatal(err)
		}
		return hit
	}},
}

func imagesIn(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range damageImages {
		if bytes.Contains(b, imageOf(i, damageSize).Body) {
			n++
		}
	}
	return n
}

func TestTier_Get_CountsDamageOnceAndMisses(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	cfg := disktier.Config{MaxBytes: 16 << 20, SegmentBytes: 256 << 10, OpenFiles: 1}
	for _, d := range damages {
		for _, when := range []string{"in use", "after a clean stop", "after a crash"} {
			t.Run(d.name+" "+when, func(t *testing.T) {
				cfg := cfg
				cfg.Dir = t.TempDir()
				tier := start(t, cfg)
				tier.fill(damageImages, damageSize)
				switch when {
				case "after a clean stop":
					tier.end()
				case "after a crash":
					cfg.Dir = copyDir(t, cfg.Dir)
				}
				paths := segmentsIn(t, cfg.Dir)
				if len(paths) < 5 {
					t.Fatalf("%d segments", len(paths))
				}
				if when == "in use" {
					paths = paths[:len(paths)-1] // the tier writes in the last one
				}
				hit := d.do(t, paths)
				if when != "in use" {
					tier = recovered(t, start(t, cfg))
				}
				tier.hits(damageImages)
				hits := tier.hits(damageImages) // a second time: nothing is counted twice
				lost := damageImages - hits
				if hit >= 0 && lost != hit {
					t.Errorf("%d were hit, %d are lost", hit, lost)
				}
				if hits < damageImages/3 {
					t.Errorf("only %d of %d are left", hits, damageImages)
				}
				damaged := int(tier.Stats().Damaged)
				switch {
				case strings.HasSuffix(d.name, "segment"):
					waitFor(t, "the lost records to be counted", func() bool {
						return int(tier.Stats().Damaged) == lost
					})
				case hit >= 0 && damaged != hit:
					t.Errorf("%d were hit, %d counted", hit, damaged)
				case damaged == 0 && hit != 0 || damaged > lost+len(paths):
					t.Errorf("%d lost, %d counted", lost, damaged)
				}
				if d.name == "a missing segment" {
					waitFor(
						t,
						"the rest of it to be forgotten",
						func() bool { return tier.Stats().Entries == int64(hits) },
					)
				}
				// The image is fetched again, and stays.
				tier.fill(damageImages, damageSize)
				if hits := tier.hits(damageImages); hits != damageImages {
					t.Errorf("%d of %d once put again", hits, damageImages)
				}
				tier.end()
				tier = recovered(t, start(t, cfg))
				if hits := tier.hits(damageImages); hits != damageImages {
					t.Errorf("%d of %d once put again and restarted", hits, damageImages)
				}
			})
		}
	}
}

// The number of records of a sealed segment is known without its file. Lost records are counted
// once, and not again at the next start.
func TestOpen_CountsLostRecordsOnce(t *testing.T) {
	cut := func(left func(size int) int) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { return b[:left(len(b))] })
		}
	}
	for name, harm := range map[string]func(t *testing.T, path string){
		"removed": func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		},
		"emptied":               cut(func(int) int { return 0 }),
		"cut at 10 bytes":       cut(func(int) int { return 10 }),
		"cut behind the header": cut(func(int) int { return 64 }),
		"cut at 70 bytes":       cut(func(int) int { return 70 }),
		"cut in the middle":     cut(func(size int) int { return size / 2 }),
		"cut by a byte":         cut(func(size int) int { return size - 1 }),
		"without a marker": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { clear(b[:128]); return b[:len(b)-1] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := disktier.Config{Dir: t.TempDir(), MaxBytes: 16 << 20, SegmentBytes: 256 << 10}
			tier := start(t, cfg)
			tier.fill(100, damageSize)
			tier.end()
			for _, path := range segmentsIn(t, cfg.Dir)[:2] {
				harm(t, path)
			}
			tier = recovered(t, start(t, cfg))
			hits := tier.hits(100)
			waitFor(t, "the lost records to be counted", func() bool {
				return int(tier.Stats().Damaged) == 100-hits
			})
			tier.end()
			tier = recovered(t, start(t, cfg))
			if damaged := tier.Stats().Damaged; damaged != 0 || tier.hits(100) != hits {
				t.Errorf("%d counted again", damaged)
			}
		})
	}
}

// Records that an eviction or a purge removes do not count as lost, and a damaged file of counts
// adds none.
func TestOpen_CountsOnlyLostRecords(t *testing.T) {
	cfg := disktier.Config{Dir: t.TempDir(), MaxBytes: 2 << 20, SegmentBytes: 256 << 10}
	tier := start(t, cfg)
	tier.fill(600, damageSize)
	if n := tier.Stats().Evicted[disktier.EvictedForBudget]; n == 0 {
		t.Fatal("nothing was evicted")
	}
	cfg.Dir = copyDir(t, cfg.Dir) // as a crash leaves it
	for name, harm := range map[string]func(b []byte) []byte{
		"whole":   func(b []byte) []byte { return b },
		"flipped": func(b []byte) []byte { b[20] ^= 1; return b },
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := cfg
			cfg.Dir = copyDir(t, cfg.Dir)
			edit(t, filepath.Join(cfg.Dir, "counts"), harm)
			tier := recovered(t, start(t, cfg))
			if n := tier.Stats().Damaged; n != 0 {
				t.Errorf("%d counted", n)
			}
		})
	}
}

func TestOpen_SetsUnknownSegmentsAside(t *testing.T) {
	dir := t.TempDir()
	cfg := disktier.Config{Dir: dir, MaxBytes: 4 << 20}
	tier := start(t, cfg)
	tier.fill(300, 5000)
	tier.end()
	paths := segmentsIn(t, dir)
	hit := 0
	for _, path := range paths[:2] {
		hit += imagesIn(t, path)
		edit(t, path, asVersion2)
	}
	tier = recovered(t, start(t, cfg))
	if hits := tier.hits(300); hits != 300-hit {
		t.Errorf("%d of 300, %d are of another version", hits, hit)
	}
	aside, _ := filepath.Glob(filepath.Join(dir, "*.seg.unknown-1"))
	if len(aside) != 2 {
		t.Errorf("set aside: %v", aside)
	}
	tier.fill(2000, 5000)
	if used := du(t, dir); used > cfg.MaxBytes {
		t.Errorf("du says %d of %d", used, cfg.MaxBytes)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.unknown-*")); len(aside) != 0 {
		t.Errorf("still there although room was needed: %v", aside)
	}
}

func TestOpen_SetsAllAsideForAnUnknownPurgeLog(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	tier.fill(10, 5000)
	tier.end()
	for _, name := range []string{"purges-1", "purges-2"} {
		edit(t, filepath.Join(dir, name), asVersion2)
	}
	tier = recovered(t, start(t, disktier.Config{Dir: dir}))
	if hits := tier.hits(10); hits != 0 {
		t.Errorf("%d served", hits)
	}
	if aside, _ := filepath.Glob(filepath.Join(dir, "*.unknown-1")); len(aside) != 3 {
		t.Errorf("set aside: %v", aside)
	}
	tier.fill(10, 5000)
}

// asVersion2 turns a header into a valid one of format 2.
func asVersion2(b []byte) []byte {
	b[8] = 2
	return disktier.SignVersion(b)
}

func TestTier_Purge_SurvivesTheLossOfOneLog(t *testing.T) {
	for name, harm := range map[string]func(t *testing.T, path string){
		"missing": func(t *testing.T, path string) { os.Remove(path) },
		"emptied": func(t *testing.T, path string) { os.Truncate(path, 0) },
		"cut":     func(t *testing.T, path string) { os.Truncate(path, 30) },
		"zeroed": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { clear(b); return b })
		},
		"flipped": func(t *testing.T, path string) {
			edit(t, path, func(b []byte) []byte { b[30] ^= 1; return b })
		},
	} {
		for _, file := range []string{"purges-1", "purges-2"} {
			t.Run(file+" "+name, func(t *testing.T) {
				dir := t.TempDir()
				tier := start(t, disktier.Config{Dir: dir})
				tier.fill(40, 1000)
				for i := 0; i < 40; i += 8 {
					if _, err := tier.Purge(t.Context(), targetOf(i)); err != nil {
						t.Fatal(err)
					}
				}
				tier.end()
				harm(t, filepath.Join(dir, file))
				tier = recovered(t, start(t, disktier.Config{Dir: dir}))
				if hits := tier.hits(40); hits != 20 {
					t.Errorf("%d of 20 that were not purged", hits)
				}
				tier.end()
				a, _ := os.ReadFile(filepath.Join(dir, "purges-1"))
				b, _ := os.ReadFile(filepath.Join(dir, "purges-2"))
				if !slices.Equal(a, b) || len(a) < 100 {
					t.Error("the copies were not made alike again")
				}
			})
		}
	}
}

func TestOpen_DiscardsSegmentsWithoutAPurgeLog(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	tier.fill(10, 1000)
	tier.end()
	os.Remove(filepath.Join(dir, "purges-1"))
	os.Truncate(filepath.Join(dir, "purges-2"), 0)
	tier = recovered(t, start(t, disktier.Config{Dir: dir}))
	if hits := tier.hits(10); hits != 0 {
		t.Errorf("%d served", hits)
	}
}

func TestTier_Purge_ForgetsOldTombstones(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Run("intact", func(t *testing.T) { forgetsOldTombstones(t, 0) })
	t.Run("one copy damaged", func(t *testing.T) { forgetsOldTombstones(t, 50) })
}

// forgetsOldTombstones damages the first copy of the log before it puts the image of that number.
func forgetsOldTombstones(t *testing.T, damage int) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir, MaxBytes: 2 << 20})
	for i := range 6000 {
		if damage > 0 && i == damage {
			edit(t, filepath.Join(dir, "purges-1"), func(b []byte) []byte { b[30] ^= 1; return b })
		}
		tier.put(keyOf(i), imageOf(i, 2000))
		if i%4 == 0 {
			if _, err := tier.Purge(t.Context(), targetOf(i-8)); err != nil {
				t.Fatal(err)
			}
		}
		if i%100 == 99 {
			tier.sync()
		}
	}
	info, err := os.Stat(filepath.Join(dir, "purges-1"))
	if err != nil || info.Size() > 6000/4*24*9/10 {
		t.Errorf("the log has %d bytes, %v", info.Size(), err)
	}
	if tier.has(5999-40) || !tier.has(5999) {
		t.Error("a purged image is there, or the last one is not")
	}
}

func TestTier_Get_CountsDamageOnceAmongReaders(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	const images = 60
	tier.fill(images, damageSize)
	edit(t, segmentsIn(t, dir)[0], func(b []byte) []byte {
		for i := range images {
			b[bytes.Index(b, imageOf(i, damageSize).Body)] ^= 1
		}
		return b
	})
	for i := range images {
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() { tier.Get(context.Background(), keyOf(i)) })
		}
		readers.Wait()
	}
	if n := tier.Stats().Damaged; n != images {
		t.Errorf("%d counted, %d are damaged", n, images)
	}
}

func TestTier_Get_DoesNotReviveAReplacedRecord(t *testing.T) {
	for _, when := range []string{"sealed", "not sealed"} {
		t.Run(when, func(t *testing.T) {
			cfg := disktier.Config{Dir: t.TempDir()}
			tier := start(t, cfg)
			tier.put(keyOf(1), imageOf(1, damageSize))
			tier.end()
			tier = start(t, cfg)
			tier.put(keyOf(1), imageOf(2, damageSize))
			tier.sync()
			if when == "sealed" {
				tier.end()
			} else {
				cfg.Dir = copyDir(t, cfg.Dir)
			}
			paths := segmentsIn(t, cfg.Dir)
			edit(t, paths[len(paths)-1], func(b []byte) []byte {
				b[bytes.Index(b, imageOf(2, damageSize).Body)+100] ^= 1
				return b
			})
			for restart := range 3 {
				tier = recovered(t, start(t, cfg))
				for range 2 {
					if img, err := tier.Get(context.Background(), keyOf(1)); err != imagecache.ErrMiss {
						t.Errorf("start %d: got the image of %s, %v", restart, img.ETag, err)
					}
				}
				if n := tier.Stats().Damaged; restart == 0 && n != 1 {
					t.Errorf("%d counted", n)
				}
				tier.end()
			}
		})
	}
}

// A tombstone contains the number of its segment, so a new segment must not get that number, even
// if the file of the old one is lost.
func TestTier_Put_AfterALostSegmentIsNotPurged(t *testing.T) {
	cfg := disktier.Config{Dir: t.TempDir()}
	tier := start(t, cfg)
	tier.fill(4, 1000)
	tier.end()
	tier = start(t, cfg)
	tier.put(keyOf(9), imageOf(9, 100_000))
	tier.sync()
	if _, err := tier.Purge(context.Background(), targetOf(9)); err != nil {
		t.Fatal(err)
	}
	cfg.Dir = copyDir(t, cfg.Dir)
	paths := segmentsIn(t, cfg.Dir)
	if err := os.Remove(paths[len(paths)-1]); err != nil {
		t.Fatal(err)
	}
	tier = start(t, cfg)
	tier.put(keyOf(9), imageOf(9, 1000))
	tier.end()
	tier = recovered(t, start(t, cfg))
	if !tier.has(9) || !tier.has(0) {
		t.Error("an image is lost after a restart")
	}
}
