package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
)

// parseSeeds reads "21-30" or "21".
func parseSeeds(text string) (seeds []uint64, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 32)
	to, err2 := strconv.ParseUint(last, 10, 32)
	if err1 != nil || err2 != nil || to < from || to-from >= 100 {
		return nil, fmt.Errorf("seeds %q: want at most 100, like 21-30", text)
	}
	for seed := from; seed <= to; seed++ {
		seeds = append(seeds, seed)
	}
	return seeds, nil
}

// seedRun has the results of the network of a seed.
type seedRun struct {
	seed               uint64
	first, after, none dayRun // first day, day after, first day without warming
}

// playSeeds replays three days for each seed: the first day of a new tier, the next day with the
// statistics of the first, and the first day again without warming.
func (b *feedBench) playSeeds(ctx context.Context, rate float64) error {
	seeds, err := parseSeeds(b.Seeds)
	if err != nil {
		return err
	}
	var runs []seedRun
	for _, seed := range seeds {
		run, err := b.playSeed(ctx, seed, rate)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		runs = append(runs, run)
		fmt.Printf("\nseed %d\n", seed)
		fmt.Print(seedTable(runs[len(runs)-1:], seedRows))
		if err := os.RemoveAll(b.work); err != nil { // caches of hundreds of megabytes
			return err
		}
		if err := os.Mkdir(b.work, 0o700); err != nil {
			return err
		}
	}
	fmt.Printf("\nseeds %s: mean / worst\n", b.Seeds)
	fmt.Print(seedTable(runs, seedRows))
	return nil
}

func (b *feedBench) playSeed(ctx context.Context, seed uint64, rate float64) (run seedRun, err error) {
	c := *b.feedCmd
	c.Seed = seed
	cfg, part := c.dayAt(rate)
	day, watch := window{part.day, 0, cfg.Lasts}, sixHours(cfg.Lasts)
	describe(cfg, day, rate)
	run.seed = seed
	var learnt string
	if run.first, learnt, err = b.day(ctx, day, watch, "adaptive", ""); err != nil {
		return run, err
	}
	tomorrow := cfg
	tomorrow.Seed += 1000
	next := socialday.New(tomorrow)
	if run.after, _, err = b.day(ctx, window{&next, 0, cfg.Lasts}, watch, "adaptive", learnt); err != nil {
		return run, err
	}
	run.none, _, err = b.day(ctx, day, watch, "none", "")
	return run, err
}

// seedRow is a row of the table: a figure of a day, and whether higher is better.
type seedRow struct {
	label  string
	of     func(seedRun, dayRun) float64
	unit   string
	better int // 1: more, -1: less
	wanted string
}

var seedRows = []seedRow{
	{"first view of a new post is a hit", func(_ seedRun, d dayRun) float64 { return d.first.percent() }, "%", 1, "98.5 / 97"},
	{"first request for any size of a new post is a hit", func(_ seedRun, d dayRun) float64 { return d.variants.percent() }, "%", 1, "92 / 88"},
	{"first view of an old post that its page announced is a hit", func(_ seedRun, d dayRun) float64 { return d.old.percent() }, "%", 1, "75 / 65"},
	{"wasted CPU time of warming", func(_ seedRun, d dayRun) float64 { return 100 * d.warmed.cpuShare() }, "%", -1, "20"},
	{"wasted variants", func(_ seedRun, d dayRun) float64 { return 100 * d.warmed.share() }, "%", -1, ""},
	{"p99 of all live requests", func(_ seedRun, d dayRun) float64 { return milliseconds(d.p99) }, "ms", -1, "120"},
	{"p99 over that of the first day without warming", func(r seedRun, d dayRun) float64 {
		return milliseconds(d.p99) / max(milliseconds(r.none.p99), 0.001)
	}, "", -1, "0.5"},
	{"requests and events that failed", func(_ seedRun, d dayRun) float64 { return float64(d.failed + d.refused) }, "", -1, "0"},
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// planRows are those of seedRows that a simulation knows.
var planRows = seedRows[:5]

// seedTable prints the mean and the worst of each row.
func seedTable(runs []seedRun, rows []seedRow) string {
	var b strings.Builder
	b.WriteString("| | first day | day after | wanted |\n|---|---|---|---|\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "| %s |", row.label)
		for _, day := range []func(seedRun) dayRun{
			func(r seedRun) dayRun { return r.first }, func(r seedRun) dayRun { return r.after },
		} {
			sum, worst := 0.0, 0.0
			for i, run := range runs {
				value := row.of(run, day(run))
				sum += value
				if i == 0 || (value-worst)*float64(row.better) < 0 {
					worst = value
				}
			}
			fmt.Fprintf(&b, " %.4g / %.4g %s |", sum/float64(len(runs)), worst, row.unit)
		}
		fmt.Fprintf(&b, " %s |\n", row.wanted)
	}
	return b.String()
}
