package main

import (
	"fmt"
	"os"
	"time"

	"github.com/novasocial/imagetier/prefetch/warmer"
)

// planCmd simulates warming plans without a tier.
type planCmd struct {
	People  []int     `default:"300,900,5000" help:"People of the networks."`
	Days    int       `default:"7" help:"Days of each network, begun with nothing learned."`
	Seed    uint64    `default:"31" help:"Seed of the first day; each day has the next one."`
	Budgets []float64 `default:"0.05,0.1,0.16,0.2,0.3" help:"Budgets of wasted CPU time for --figure."`
	Figure  string    `help:"Write first views over waste for several budgets to this SVG file." type:"path"`

	Seeds string        `help:"Simulate a first day and the day after for each of these seeds, and print mean and worst." placeholder:"FROM-TO"`
	Pages bool          `default:"true" negatable:"" help:"Whether pages make what they show, in these days."`
	Day   time.Duration `default:"24h" help:"Length of these days."`
	Takes time.Duration `default:"150ms" help:"Time to make an image in these days."`
}

// Help implements kong.HelpProvider.
func (planCmd) Help() string {
	return `Simulates the warming plan without a tier: chosen variants are made in no time and kept for ever, so all
misses and waste are the plan's own. Pages make nothing. CPU time is estimated from sizes and formats.

With --seeds 31-50, two days of each of twenty networks are simulated instead, and pages make what they show. Each
image takes --takes to make, and none waits for another: what a tier does that has capacity to spare.`
}

// Run simulates and prints.
func (c *planCmd) Run() error {
	if c.Seeds != "" {
		return c.runSeeds()
	}
	var seeds []uint64
	for i := range c.Days {
		seeds = append(seeds, c.Seed+uint64(i))
	}
	fmt.Println("| people, day | first views | sizes | wasted CPU | wasted variants | CPU spent |\n|---|---|---|---|---|---|")
	for _, people := range c.People {
		days, err := simulation{people: people}.play(seeds...)
		if err != nil {
			return err
		}
		for i, p := range days {
			fmt.Printf("| %d, day %d | %s |\n", people, i+1, p)
		}
		fmt.Printf("| **%d, all days** | %s |\n", people, sumOf(days))
	}
	if c.Figure == "" {
		return nil
	}
	var lines []planLine
	for _, people := range c.People {
		line := planLine{people: people}
		for _, budget := range c.Budgets {
			days, err := simulation{people: people, budget: budget}.play(seeds...)
			if err != nil {
				return err
			}
			line.points = append(line.points, sumOf(days))
		}
		lines = append(lines, line)
	}
	return os.WriteFile(c.Figure, planChart(lines, c.Budgets), 0o644)
}

// runSeeds simulates two days for each seed, and prints a table for each size of network.
func (c *planCmd) runSeeds() error {
	seeds, err := parseSeeds(c.Seeds)
	if err != nil {
		return err
	}
	for _, people := range c.People {
		s := simulation{people: people, lasts: c.Day, pages: c.Pages, takes: c.Takes}
		var runs []seedRun
		for _, seed := range seeds {
			days, err := s.play(seed, seed+1000)
			if err != nil {
				return err
			}
			runs = append(runs, seedRun{seed: seed, first: days[0].run(), after: days[1].run()})
		}
		fmt.Printf("\n%d people, seeds %s: mean / worst\n%s", people, c.Seeds, seedTable(runs, planRows))
	}
	return nil
}

// planned has the results of a simulation.
type planned struct {
	first, sizes share // of new posts that are hits
	old          share // of old posts that are hits, if pages make the images that they show
	used, wasted warmer.Amount
}

// run returns the results as those of a day that was played to a tier.
func (p planned) run() dayRun {
	return dayRun{
		tally: tally{first: p.first, variants: p.sizes, old: p.old},
		warmed: warmed{
			float64(p.used.Variants), float64(p.wasted.Variants), p.used.CPU.Seconds(), p.wasted.CPU.Seconds(),
		},
	}
}

// waste returns the share of CPU time that was wasted, in percent.
func (p planned) waste() float64 {
	return 100 * float64(p.wasted.CPU) / float64(max(p.used.CPU+p.wasted.CPU, 1))
}

func (p planned) String() string {
	return fmt.Sprintf("%.1f %% of %d | %.1f %% of %d | %.1f %% | %.1f %% of %d | %.0f s",
		p.first.percent(), p.first.all, p.sizes.percent(), p.sizes.all, p.waste(),
		100*float64(p.wasted.Variants)/float64(max(p.used.Variants+p.wasted.Variants, 1)),
		p.used.Variants+p.wasted.Variants, (p.used.CPU + p.wasted.CPU).Seconds())
}

func sumOf(days []planned) (sum planned) {
	for _, p := range days {
		sum.first.some, sum.first.all = sum.first.some+p.first.some, sum.first.all+p.first.all
		sum.sizes.some, sum.sizes.all = sum.sizes.some+p.sizes.some, sum.sizes.all+p.sizes.all
		sum.old.some, sum.old.all = sum.old.some+p.old.some, sum.old.all+p.old.all
		sum.used, sum.wasted = plus(sum.used, p.used, 1), plus(sum.wasted, p.wasted, 1)
	}
	return sum
}

// plus returns a + sign*b.
func plus(a, b warmer.Amount, sign int64) warmer.Amount {
	return warmer.Amount{
		Variants: a.Variants + sign*b.Variants, CPU: a.CPU + time.Duration(sign)*b.CPU, Bytes: a.Bytes + sign*b.Bytes,
	}
}
