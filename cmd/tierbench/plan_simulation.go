package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// simulation is a tier that makes any number of variants at once and never evicts.
type simulation struct {
	mode   warmer.Mode
	people int
	budget float64       // 0: the default
	lasts  time.Duration // of a day; 0: 24 h
	pages  bool          // whether pages make what they show
	takes  time.Duration // to make a variant
}

// play simulates the days of several networks of that size, one after another, with one plan.
func (s simulation) play(seeds ...uint64) (all []planned, err error) {
	now := time.Unix(1e9, 0)
	lasts := cmp.Or(s.lasts, 24*time.Hour)
	watch := warmer.NewWatch(warmer.WatchConfig{
		Mode: s.mode, Profiles: profile.BuiltIn(), Budget: s.budget, For: sixHours(lasts),
		Now: func() time.Time { return now },
	})
	for _, seed := range seeds {
		names, err := newNaming(fmt.Sprintf("d%d-", seed), feedKeys)
		if err != nil {
			return nil, err
		}
		d := &planDay{
			simulation: s, watch: watch, names: names, held: make(map[string]time.Duration),
			asked: make(map[string]bool), seen: make(map[int]bool),
			day: socialday.New(socialday.Config{People: s.people, Lasts: lasts, Seed: seed}),
		}
		d.lasts = lasts
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
		now = began.Add(lasts + sixHours(lasts) + time.Hour) // all watches have ended
		after, afterWasted := watch.Counts()
		d.planned.used, d.planned.wasted = plus(after, used, -1), plus(afterWasted, wasted, -1)
		all = append(all, d.planned)
	}
	return all, nil
}

// planDay is a simulated day.
type planDay struct {
	simulation
	planned
	watch *warmer.Watch
	day   socialday.Day
	names naming
	held  map[string]time.Duration // by Ref: when the variant is complete
	asked map[string]bool          // by Ref
	seen  map[int]bool             // posts
}

// actions are the events of a day: announcements of posts and requests for their images.
func (d *planDay) actions() (actions []action, err error) {
	w := window{&d.day, 0, d.lasts}
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
		actions = append(actions, action{post.At, func(time.Time) {
			d.announce(post.At, img, warmer.ReachOf(post.Audience))
		}})
	}
	for _, page := range d.day.Pages {
		if !w.holds(page.At) {
			continue
		}
		for _, ask := range page.Asks {
			if ask.Avatar || !w.fresh(ask.Post) && !d.day.Posts[ask.Post].Old {
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
			actions = append(actions, action{ask.At, func(time.Time) { d.ask(ask, ref) }})
			if d.pages {
				actions = append(actions, action{page.At, func(time.Time) { d.show(page.At, ref) }})
			}
		}
	}
	slices.SortStableFunc(actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return actions, nil
}

// make makes a variant from now on, unless it is there or being made.
func (d *planDay) make(at time.Duration, ref imageurl.Ref) (made bool) {
	if _, held := d.held[ref.String()]; held {
		return false
	}
	d.held[ref.String()] = at + d.takes
	return true
}

// show makes what a page shows.
func (d *planDay) show(at time.Duration, ref imageurl.Ref) {
	if d.make(at, ref) {
		d.watch.MadeFor(ref, warmer.OnPage)
	}
}

func (d *planDay) announce(at time.Duration, img profile.Image, reach warmer.Reach) {
	specs, _ := d.watch.Specs(img, "feed", reach, false)
	for _, spec := range specs {
		if ref, err := img.Ref(spec); err == nil {
			d.make(at, ref)
		}
	}
	if d.watch.Mezzanine("feed", reach) {
		specs = append(specs, resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON})
	}
	d.watch.Made(img, "feed", reach, specs)
}

func (d *planDay) ask(ask socialday.Ask, ref imageurl.Ref) {
	name := ref.String()
	since, held := d.held[name]
	hit := held && since <= ask.At
	switch {
	case d.day.Posts[ask.Post].Old:
		d.old.count(hit)
	case !d.seen[ask.Post]:
		d.first.count(hit)
		fallthrough
	default:
		if !d.asked[name] {
			d.sizes.count(hit)
		}
	}
	d.seen[ask.Post], d.asked[name] = true, true
	d.watch.Asked(ref)
	d.make(ask.At, ref)
}
