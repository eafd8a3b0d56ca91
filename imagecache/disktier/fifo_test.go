package disktier_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/novasocial/imagetier/imagecache/disktier"
)

// A FIFO in the directory does not block the start or the end; to open one would.
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
