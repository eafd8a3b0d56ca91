package dirorigin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/dirorigin"
)

// A file of 4 MB that was not read before: its hash is not known.
func BenchmarkReadAll_NewFile(b *testing.B) {
	dir := b.TempDir()
	src, err := dirorigin.Open(dirorigin.Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, 4<<20)
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		name := fmt.Sprintf("%d.jpg", i)
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := origin.ReadAll(b.Context(), src, name, origin.Cond{}, 8<<20); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = os.Remove(filepath.Join(dir, name))
		b.StartTimer()
	}
}
