package disktier_test

import (
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/novasocial/imagetier/imagecache/disktier"
)

// A FIFO in the directory blocks neither the start nor the end; opening it would.
func TestOpen_FIFO(t *testing.T) {
	for _, name := range []string{"lock", "purges-1", "counts", "0000000000000001.seg"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
				t.Fatal(err)
			}
			disktier.InUse(dir)
			tier, err := disktier.Open(disktier.Config{Dir: dir, MaxBytes: 16 << 20})
			if err != nil {
				return // refused
			}
			if err := tier.Close(); err != nil {
				t.Log(err)
			}
		})
	}
}

// Files that grew to 256 MiB, of zeros, are not read into memory. One good copy of the purge log is enough.
func TestOpen_HugeFiles(t *testing.T) {
	const huge = 256 << 20
	for _, name := range []string{"purges-1", "purges-2", "counts", "generation"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := disktier.Config{Dir: dir, Generation: "g"}
			tier := start(t, cfg)
			tier.fill(40, 1000)
			if _, err := tier.Purge(t.Context(), targetOf(0)); err != nil {
				t.Fatal(err)
			}
			tier.end()
			if err := os.Truncate(filepath.Join(dir, name), huge); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			tier = recovered(t, start(t, cfg))
			runtime.ReadMemStats(&after)
			if bytes := after.TotalAlloc - before.TotalAlloc; bytes > huge/4 {
				t.Errorf("%d MiB were allocated", bytes>>20)
			}
			want := 36 // four are of the purged original
			if name == "generation" {
				want = 0 // another generation
			}
			if hits := tier.hits(40); hits != want {
				t.Errorf("%d served, want %d", hits, want)
			}
			tier.end()
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > huge/4 {
				t.Errorf("the file was not replaced: %d bytes, %v", info.Size(), err)
			}
		})
	}
}
