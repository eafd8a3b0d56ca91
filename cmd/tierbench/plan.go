package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// planCmd plays days to the plan of warming alone.
type planCmd struct {
	People  []int     `default:"300,900,5000" help:"People of the networks."`
	Days    int       `default:"7" help:"Days of each network, begun with nothing learned."`
	Seed    uint64    `default:"31" help:"Seed of the first day; each day has the next one."`
	Budgets []float64 `default:"0.05,0.1,0.16,0.2,0.3" help:"Budgets of wasted CPU time for --figure."`
	Figure  string    `help:"Write first views over waste for several budgets to this SVG file." type:"path"`
}

// Help implements kong.HelpProvider.
func (planCmd) Help() string {
	return `Simulates the warming plan without a tier: chosen variants are made in no time and kept for ever, so all
misses and waste are the plan's own. Pages make nothing. CPU time is estimated from sizes and formats.`
}

// Run simulates and prints.
func (c *planCmd) Run() error {
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

// planned has the results of a plan.
type planned struct {
	first, sizes share // of new posts that are hits by the plan alone
	used, wasted warmer.Amount
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

// simulation is a tier that makes the chosen variants in no time and never evicts.
type simulation struct {
	mode   warmer.Mode
	people int
	budget float64 // 0: the default
}

// play plays days of networks of that size, one after another, to one plan.
func (s simulation) play(seeds ...uint64) (all []planned, err error) {
	now := time.Unix(1e9, 0)
	watch := warmer.NewWatch(warmer.WatchConfig{
		Mode: s.mode, Profiles: profile.BuiltIn(), Budget: s.budget, Now: func() time.Time { return now },
	})
	for _, seed := range seeds {
		names, err := newNaming(fmt.Sprintf("d%d-", seed), feedKeys)
		if err != nil {
			return nil, err
		}
		d := &planDay{
			watch: watch, names: names, held: make(map[string]bool), asked: make(map[string]bool),
			seen: make(map[int]bool),
			day:  socialday.New(socialday.Config{People: s.people, Lasts: 24 * time.Hour, Seed: seed}),
		}
		actions, err := d.actions()
		if err != nil {
			return nil, err
		}
		began := now
		used, wasted := watch.Counts()
		for _, a := range actions {
			now = began.Add(a.at)
			a.do(now)
		}
		now = began.Add(31 * time.Hour) // all watches have ended
		after, afterWasted := watch.Counts()
		d.planned.used, d.planned.wasted = plus(after, used, -1), plus(afterWasted, wasted, -1)
		all = append(all, d.planned)
	}
	return all, nil
}

// planDay is a day that is played to a plan.
type planDay struct {
	planned
	watch *warmer.Watch
	day   socialday.Day
	names naming
	held  map[string]bool // by Ref
	asked map[string]bool // likewise
	seen  map[int]bool    // posts
}

// actions are the events of a day: announcements of posts and requests for their images.
func (d *planDay) actions() (actions []action, err error) {
	w := window{&d.day, 0, 24 * time.Hour}
	version, err := imageurl.ParseVersion(versionText)
	if err != nil {
		return nil, err
	}
	for i, post := range d.day.Posts {
		if !w.fresh(i) {
			continue
		}
		img, err := profile.NewImage(sourceName, d.names.post(i), version)
		if err != nil {
			return nil, err
		}
		actions = append(actions, action{post.At, func(time.Time) { d.announce(img, warmer.ReachOf(post.Audience)) }})
	}
	for _, ask := range w.asks() {
		if ask.Avatar || !w.fresh(ask.Post) {
			continue
		}
		path, err := d.names.path(&d.day, ask)
		if err != nil {
			return nil, err
		}
		ref, err := d.names.signer.Parse(path)
		if err != nil {
			return nil, err
		}
		actions = append(actions, action{ask.At, func(time.Time) { d.ask(ask.Post, ref) }})
	}
	slices.SortStableFunc(actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return actions, nil
}

func (d *planDay) announce(img profile.Image, reach warmer.Reach) {
	specs, _ := d.watch.Specs(img, "feed", reach, false)
	for _, spec := range specs {
		if ref, err := img.Ref(spec); err == nil {
			d.held[ref.String()] = true
		}
	}
	if d.watch.Mezzanine("feed", reach) {
		specs = append(specs, resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON})
	}
	d.watch.Made(img, "feed", reach, specs)
}

func (d *planDay) ask(post int, ref imageurl.Ref) {
	name := ref.String()
	if !d.seen[post] {
		d.seen[post] = true
		d.first.count(d.held[name])
	}
	if !d.asked[name] {
		d.asked[name] = true
		d.sizes.count(d.held[name])
	}
	d.watch.Asked(ref)
}

// planLine has the results of several budgets in a network.
type planLine struct {
	people int
	points []planned
}

// planChart draws first views that are hits over the share of CPU time that is wasted.
func planChart(lines []planLine, budgets []float64) []byte {
	const width, height, left, top = 520, 300, 56, 50
	var b strings.Builder
	low, high, most := 100.0, 100.0, 5.0
	for _, line := range lines {
		for _, p := range line.points {
			low, most = min(low, p.first.percent()), max(most, p.waste())
		}
	}
	low, most = float64(int(low/5)*5), float64(int(most/5)*5+5)
	at := func(p planned) (x, y float64) {
		return left + p.waste()/most*width, top + (high-p.first.percent())/(high-low)*height
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" `+
		`font-family="system-ui, sans-serif" font-size="12" role="img">`, width+left+70, height+top+56)
	b.WriteString("\n<title>First views that are hits over wasted CPU time, for several budgets</title>\n<style>text{fill:#333}" +
		".grid{stroke:#8884}@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>\n")
	for percent := low; percent <= high; percent += 5 {
		y := top + (high-percent)/(high-low)*height
		fmt.Fprintf(&b, `<line class="grid" x1="%d" y1="%.1f" x2="%d" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n",
			left, y, left+width, y, left-6, y+4, percent)
	}
	for percent := 0.0; percent <= most; percent += 5 {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", left+percent/most*width,
			top+height+18, percent)
	}
	for i, line := range lines {
		colour := colours[i%len(colours)]
		var points []string
		for k, p := range line.points {
			x, y := at(p)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"><title>budget %.0f %%</title></circle>`+"\n", x, y, colour, 100*budgets[k])
			if i == 0 {
				fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" fill="%s">%.0f %%</text>`+"\n", x+6, y+14, colour,
					100*budgets[k])
			}
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colour)
		fmt.Fprintf(&b, `<rect x="%d" y="14" width="12" height="12" rx="3" fill="%s"/><text x="%d" y="24">%d people</text>`+"\n",
			left+i*130, colour, left+i*130+18, line.people)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">wasted, %% of the CPU time of warming (points: budgets)</text>`+"\n",
		left+width/2, top+height+42)
	fmt.Fprintf(&b, `<text x="14" y="%d" transform="rotate(-90 14 %[1]d)" text-anchor="middle">first views that are hits</text>`+"\n</svg>\n", top+height/2)
	return []byte(b.String())
}
