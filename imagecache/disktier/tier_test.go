package disktier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/disktier"
	"github.com/novasocial/imagetier/imagecache/tiertest"
)

// running is a Tier whose Run is active.
type running struct {
	*disktier.Tier
	t   testing.TB
	end func() // ends Run and closes; may be called early
}

func quiet(cfg disktier.Config) disktier.Config {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// start opens a directory and runs its Tier until the test ends.
func start(t testing.TB, cfg disktier.Config) running {
	t.Helper()
	tier, err := disktier.Open(quiet(cfg))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- tier.Run(context.Background()) }()
	closed := false
	end := func() {
		if closed {
			return
		}
		closed = true
		if err := tier.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	}
	t.Cleanup(end)
	return running{tier, t, end}
}

// recovered waits until all segments are recovered.
func recovered(t testing.TB, tier running) running {
	t.Helper()
	waitFor(t, "recovery", func() bool { return !tier.Stats().Recovering })
	return tier
}

// waitFor polls until done returns true: the tier has no other sign of what it waits for.
func waitFor(t testing.TB, condition string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(30 * time.Second); !done(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited 30 s for %s", condition)
		}
	}
}

func (r running) sync() {
	r.t.Helper()
	if err := r.Sync(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

func (r running) put(key imagecache.Key, img imagecache.Image) {
	r.t.Helper()
	if err := r.Put(context.Background(), key, img); err != nil {
		r.t.Fatalf("put %s: %v", key, err)
	}
}

func (r running) has(n int) bool {
	r.t.Helper()
	img, err := r.Get(context.Background(), keyOf(n))
	if err == imagecache.ErrMiss {
		return false
	}
	if err != nil {
		r.t.Fatalf("get %s: %v", keyOf(n), err)
	}
	if want := imageOf(n, len(img.Body)); !bytes.Equal(img.Body, want.Body) || img.ETag != want.ETag {
		r.t.Fatalf("get %s: wrong bytes", keyOf(n))
	}
	return true
}

// hits counts how many of the first n images are in the tier.
func (r running) hits(n int) int {
	r.t.Helper()
	hits := 0
	for i := range n {
		if r.has(i) {
			hits++
		}
	}
	return hits
}

func (r running) fill(n, size int) {
	r.t.Helper()
	for i := range n {
		r.put(keyOf(i), imageOf(i, size))
		if i%200 == 199 {
			r.sync() // or the queue is full
		}
	}
	r.sync()
}

func originalOf(n int) imagecache.Original {
	return imagecache.Original{Source: "posts", Name: fmt.Sprintf("2026/11/%d.jpg", n/4)}
}

func targetOf(n int) imagecache.Target { return imagecache.Target{Original: originalOf(n)} }

// keyOf returns the key of image n; four images share an original.
func keyOf(n int) imagecache.Key {
	of := originalOf(n)
	return imagecache.NewKey(fmt.Sprintf("/%dx/v.1/posts/%s.webp", 100+n%4, of.Name), of)
}

// imageOf returns image n; its body depends on n and the size.
func imageOf(n, size int) imagecache.Image {
	body := make([]byte, size)
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for i := 0; i < size; i += 8 {
		v := random.Uint64()
		for j := i; j < min(i+8, size); j++ {
			body[j] = byte(v >> (8 * (j - i)))
		}
	}
	return imagecache.Image{
		Body: body, ContentType: "image/webp", ETag: fmt.Sprintf(`"%d"`, n),
		LastModified: time.Unix(1_800_000_000, 0).UTC(),
	}
}

func segmentsIn(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func du(t testing.TB, dir string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-s", "-B1", dir).Output()
	var n int64
	if _, scanErr := fmt.Sscan(string(out), &n); scanErr != nil {
		t.Fatalf("du: %v, %v", err, scanErr) // err alone: a file went while du looked
	}
	return n
}

func TestTier_Get_FindsPutsBeforeAndAfterARestart(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	for i := range 500 {
		tier.put(keyOf(i), imageOf(i, 1000+i))
		if !tier.has(i) {
			t.Fatalf("image %d is not found", i)
		}
	}
	tier.end()
	if hits := recovered(t, start(t, disktier.Config{Dir: dir})).hits(500); hits != 500 {
		t.Errorf("%d of 500 after a restart", hits)
	}
}

// The records of a segment enter the index in pieces of 1,024: with -race.
func TestTier_Get_DuringRecovery(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	tier.fill(4000, 100)
	tier.end()
	tier = start(t, disktier.Config{Dir: dir})
	for tier.Stats().Recovering {
		tier.has(3999)
	}
	if hits := tier.hits(4000); hits != 4000 {
		t.Errorf("%d of 4000 after a restart", hits)
	}
}

func TestTier_Put_ReplacesAlsoAfterARestart(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir})
	for version := range 5 {
		tier.put(keyOf(7), imageOf(version, 3000))
		if version%2 == 0 {
			tier.sync()
		}
	}
	for range 2 {
		img, err := tier.Get(context.Background(), keyOf(7))
		if err != nil || img.ETag != `"4"` {
			t.Fatalf("got %s, %v", img.ETag, err)
		}
		tier.end()
		tier = recovered(t, start(t, disktier.Config{Dir: dir}))
	}
}

func TestOpen_RefusesALockedDirectory(t *testing.T) {
	dir := t.TempDir()
	first := start(t, disktier.Config{Dir: dir})
	if _, err := disktier.Open(quiet(disktier.Config{Dir: dir})); !errors.Is(err, disktier.ErrLocked) {
		t.Fatalf("second: %v", err)
	}
	first.end()
	start(t, disktier.Config{Dir: dir}).end()
}

func TestTier_Put_SkipsTooLargeImages(t *testing.T) {
	tier := start(t, disktier.Config{Dir: t.TempDir(), MaxBytes: 4 << 20})
	tier.put(keyOf(1), imageOf(1, 1000))
	tier.sync()
	tier.put(keyOf(1), imageOf(2, 1<<20+1))
	if _, err := tier.Get(context.Background(), keyOf(1)); err != imagecache.ErrMiss {
		t.Errorf("got %v", err)
	}
	if n := tier.Stats().Skipped[disktier.SkipTooLarge]; n != 1 {
		t.Errorf("%d skipped", n)
	}
	tier.put(keyOf(2), imageOf(2, 1<<20-1000)) // larger than a segment, but not than a quarter
	tier.sync()
	if !tier.has(2) {
		t.Error("an image of just a quarter of the budget was not kept")
	}
}

func TestTier_Put_SkipsWhenTheQueueIsFull(t *testing.T) {
	tier, err := disktier.Open(quiet(disktier.Config{Dir: t.TempDir(), QueueBytes: 10_000}))
	if err != nil {
		t.Fatal(err)
	}
	// Nothing runs, so nothing leaves the queue.
	for i := range 20 {
		if err := tier.Put(context.Background(), keyOf(i), imageOf(i, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	st := tier.Stats()
	if st.QueueBytes > 10_000 || st.QueueLen < 5 || int(st.Skipped[disktier.SkipQueueFull])+st.QueueLen != 20 {
		t.Errorf("%+v", st)
	}
	if err := tier.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTier_Close_WritesWithoutRun(t *testing.T) {
	dir := t.TempDir()
	tier, err := disktier.Open(quiet(disktier.Config{Dir: dir}))
	if err != nil {
		t.Fatal(err)
	}
	tier.Put(context.Background(), keyOf(1), imageOf(1, 1000))
	if err := tier.Close(); err != nil {
		t.Fatal(err)
	}
	if !recovered(t, start(t, disktier.Config{Dir: dir})).has(1) {
		t.Error("the image is lost after a restart")
	}
}

func TestTier_Purge_HoldsAfterARestart(t *testing.T) {
	for _, test := range []struct {
		name   string
		target imagecache.Target
		gone   []int
	}{
		{"one image", imagecache.Target{Key: keyOf(5)}, []int{5}},
		{"an original", imagecache.Target{Original: originalOf(5)}, []int{4, 5, 6, 7}},
	} {
		for _, when := range []string{"queued", "written"} {
			t.Run(test.name+" "+when, func(t *testing.T) {
				dir := t.TempDir()
				tier := start(t, disktier.Config{Dir: dir})
				for i := range 12 {
					tier.put(keyOf(i), imageOf(i, 1000))
				}
				if when == "written" {
					tier.sync()
				}
				removed, err := tier.Purge(context.Background(), test.target)
				if err != nil || removed.Images != len(test.gone) || removed.Bytes != int64(1000*len(test.gone)) {
					t.Errorf("removed %+v, %v", removed, err)
				}
				tier.put(keyOf(20), imageOf(20, 1000))
				for range 3 {
					for _, i := range test.gone {
						if tier.has(i) {
							t.Errorf("image %d is there", i)
						}
					}
					if hits := tier.hits(12); hits != 12-len(test.gone) || !tier.has(20) {
						t.Errorf("%d others left", hits)
					}
					tier.end()
					tier = recovered(t, start(t, disktier.Config{Dir: dir}))
				}
				// An image that is put after the purge stays.
				tier.put(keyOf(5), imageOf(5, 2000))
				tier.end()
				if !recovered(t, start(t, disktier.Config{Dir: dir})).has(5) {
					t.Error("an image put after the purge was lost with it")
				}
			})
		}
	}
}

func TestTier_Put_EvictsTheOldestUnread(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the tier")
	}
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir, MaxBytes: 4 << 20})
	const hot = 6 // fewer bytes than a quarter of a segment
	for i := range 2000 {
		tier.put(keyOf(i), imageOf(i, 8000))
		if i%20 == 19 {
			tier.sync()
			tier.hits(hot)
			if used := du(t, dir); used > 4<<20 {
				t.Fatalf("du says %d of %d", used, 4<<20)
			}
		}
	}
	if hits := tier.hits(hot); hits != hot {
		t.Errorf("%d of %d that were read all the time are there", hits, hot)
	}
	if tier.has(hot+1) || !tier.has(1999) {
		t.Error("an old unread image is there, or the newest is not")
	}
	st := tier.Stats()
	if st.Evicted[disktier.EvictedForBudget] == 0 || st.Kept == 0 {
		t.Errorf("%+v", st)
	}
	entries := st.Entries
	tier.end()
	tier = recovered(t, start(t, disktier.Config{Dir: dir, MaxBytes: 4 << 20}))
	if st := tier.Stats(); st.Entries != entries {
		t.Errorf("%d entries after a restart, %d before", st.Entries, entries)
	}
}

func TestTier_Put_KeepsAtMostAQuarterOfASegment(t *testing.T) {
	if testing.Short() {
		t.Skip("fills the tier")
	}
	tier := start(t, disktier.Config{Dir: t.TempDir(), MaxBytes: 4 << 20})
	for i := range 2000 {
		tier.put(keyOf(i), imageOf(i, 5000))
		if i%20 == 19 {
			tier.sync()
			for j := i - 19; j <= i; j++ {
				tier.has(j) // everything is read
			}
		}
	}
	st := tier.Stats()
	if evicted := st.Evicted[disktier.EvictedForBudget]; evicted < 500 || st.Kept == 0 || st.Kept*3 > evicted*11/10 {
		t.Errorf("%d evicted, %d kept", evicted, st.Kept)
	}
}

func TestOpen_AppliesASmallerBudget(t *testing.T) {
	dir := t.TempDir()
	tier := start(t, disktier.Config{Dir: dir, MaxBytes: 16 << 20})
	tier.fill(1000, 10_000)
	tier.end()
	tier = recovered(t, start(t, disktier.Config{Dir: dir, MaxBytes: 4 << 20}))
	waitFor(t, "the budget", func() bool { return du(t, dir) <= 4<<20 })
	if hits := tier.hits(1000); hits < 200 {
		t.Errorf("%d are left", hits)
	}
}

func TestTier_Run_StartsOverWhenTheDirectoryIsRemoved(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s of real time")
	}
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cache")
	tier := start(t, disktier.Config{Dir: dir})
	tier.fill(10, 1000)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	i := 0
	waitFor(t, "a new directory", func() bool {
		tier.put(keyOf(i), imageOf(i, 4<<20)) // over a segment each
		i++
		return i > 10 && len(segmentsIn(t, dir)) > 0
	})
}

func TestOpen_RefusesBadConfigs(t *testing.T) {
	dir := t.TempDir()
	for name, cfg := range map[string]disktier.Config{
		"no directory":         {MaxBytes: 1 << 30},
		"a budget of 0":        {Dir: dir},
		"too small a budget":   {Dir: dir, MaxBytes: disktier.MinBytes - 1},
		"segments too small":   {Dir: dir, MaxBytes: 1 << 30, SegmentBytes: 1},
		"segments too large":   {Dir: dir, MaxBytes: 1 << 30, SegmentBytes: 1 << 29},
		"too many segments":    {Dir: dir, MaxBytes: 1 << 42, SegmentBytes: 1 << 20},
		"a negative queue":     {Dir: dir, MaxBytes: 1 << 30, QueueBytes: -1},
		"negative open files":  {Dir: dir, MaxBytes: 1 << 30, OpenFiles: -1},
		"a negative SyncEvery": {Dir: dir, MaxBytes: 1 << 30, SyncEvery: -1},
	} {
		tier, err := disktier.Open(cfg)
		if err == nil {
			tier.Close()
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), "open disk tier") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTier_Conformance(t *testing.T) {
	t.Run("on disk", func(t *testing.T) {
		tiertest.Run(t, func(t *testing.T) imagecache.Tier {
			return start(t, disktier.Config{Dir: t.TempDir(), MaxBytes: 32 << 20})
		})
	})
	t.Run("before anything is written", func(t *testing.T) {
		tiertest.Run(t, func(t *testing.T) imagecache.Tier {
			tier, err := disktier.Open(quiet(disktier.Config{Dir: t.TempDir()}))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { tier.Close() })
			return tier
		})
	})
}
