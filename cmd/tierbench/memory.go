package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/imagecache/memtier"
)

// memoryCmd fills a memory tier and reads it.
type memoryCmd struct {
	MiB  int           `default:"2048" help:"Budget of the tier in MiB."`
	For  time.Duration `default:"10s" help:"Length of the run."`
	Size int           `default:"25000" help:"Size of an image in bytes."`
	Puts float64       `default:"1000" help:"New images per second."`
}

// Help implements kong.HelpProvider.
func (memoryCmd) Help() string {
	return `Sets the Go memory limit to budget × 1.2 + 250 MiB, as the tier does. Two readers per core read while
one writer stores new images, so that the tier evicts.`
}

// Run fills and reads the tier, and prints the results.
func (c *memoryCmd) Run() error {
	budget := int64(c.MiB) << 20
	debug.SetMemoryLimit(budget + budget/5 + 250<<20)
	tier, err := memtier.New(memtier.Config{MaxBytes: budget})
	if err != nil {
		return err
	}
	keys := make([]imagecache.Key, budget/int64(c.Size)*6/5)
	body := make([]byte, c.Size)
	put := func(i int) error {
		ref, err := imageurl.ParseRef(fmt.Sprintf("/640x/v.1/posts/%d.jpg.webp", i))
		if err != nil {
			return err
		}
		keys[i%len(keys)] = imagecache.KeyOf(ref)
		return tier.Put(
			context.Background(),
			keys[i%len(keys)],
			imagecache.Image{Body: body, ContentType: "image/webp"},
		)
	}
	for i := range keys {
		if err := put(i); err != nil {
			return err
		}
	}
	held := make([]imagecache.Key, 0, len(keys))
	for _, key := range keys {
		if _, err := tier.Get(context.Background(), key); err == nil {
			held = append(held, key)
		}
	}
	if len(held) == 0 {
		return errors.New("the tier holds nothing")
	}
	before := pauses()
	var gets, puts atomic.Int64
	var all sync.WaitGroup
	end := time.Now().Add(c.For)
	for range 2 * runtime.NumCPU() {
		all.Go(func() {
			for n := 0; ; n++ {
				if n&63 == 0 && time.Now().After(end) {
					gets.Add(int64(n))
					return
				}
				_, _ = tier.Get(context.Background(), held[rand.IntN(len(held))])
			}
		})
	}
	all.Go(func() {
		began := time.Now()
		for i := len(keys); time.Now().Before(end); time.Sleep(time.Millisecond) {
			// Catches up: busy readers delay its wake-ups.
			for due := int64(c.Puts * time.Since(began).Seconds()); puts.Load() < due; i++ {
				if put(i) != nil {
					return
				}
				puts.Add(1)
			}
		}
	})
	all.Wait()
	s := tier.Stats()
	p50, p99 := quantiles(before, pauses())
	fmt.Printf(
		"| budget | images | reads/s | puts/s beside | GC pause p50 / p99 | RSS | budget × 1.2 + 250 MiB |\n|---|---|---|---|---|---|---|\n",
	)
	fmt.Printf(
		"| %d MiB | %d | %.0f | %.0f | %s / %s | %d MiB | %d MiB |\n",
		c.MiB,
		s.Entries,
		float64(gets.Load())/c.For.Seconds(),
		float64(puts.Load())/c.For.Seconds(),
		p50,
		p99,
		rss()>>20,
		(budget+budget/5+250<<20)>>20,
	)
	return nil
}

// pauses returns the runtime's histogram of stop-the-world pauses of the collector.
func pauses() *metrics.Float64Histogram {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	return sample[0].Value.Float64Histogram()
}

func quantiles(before, after *metrics.Float64Histogram) (p50, p99 time.Duration) {
	counts := make([]uint64, len(after.Counts))
	total := uint64(0)
	for i := range counts {
		counts[i] = after.Counts[i] - before.Counts[i]
		total += counts[i]
	}
	at := func(q float64) time.Duration {
		sum := uint64(0)
		for i, n := range counts {
			if sum += n; float64(sum) >= q*float64(total) && total > 0 {
				return time.Duration(after.Buckets[i+1] * 1e9).Round(time.Microsecond)
			}
		}
		return 0
	}
	return at(0.5), at(0.99)
}

// rss returns the resident memory of this process in bytes.
func rss() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}
