package e2e

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// BenchmarkEvents posts events of one post each, including signing. A 202 means that the event is
// on disk. No images are made.
func BenchmarkEvents(b *testing.B) {
	_, origin := newCountingOrigin(b, "phone-android.jpg")
	x := start(b, warmFlags(origin, "--cache-dir", b.TempDir(), "--warm", "none")...)
	var n atomic.Int64
	event := func() {
		i := n.Add(1)
		x.mustPostEvent(fmt.Sprintf("msg_%d", i), published(fmt.Sprintf("p%d", i), fmt.Sprintf("%d.jpg", i), "v.1"))
	}
	event()
	b.Run("one sender", func(b *testing.B) {
		for b.Loop() {
			event()
		}
	})
	b.Run("16 senders", func(b *testing.B) {
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				event()
			}
		})
	})
}
