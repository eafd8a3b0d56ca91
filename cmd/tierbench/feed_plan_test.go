package main

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
	"github.com/novasocial/imagetier/prefetch/warmer"
	"github.com/novasocial/imagetier/resize"
)

// planned is what a plan came to.
type planned struct {
	first, variants share
	used, wasted    int64
}

func (p planned) String() string {
	return fmt.Sprintf(
		"first views %.1f %% of %d, sizes %.1f %% of %d, wasted %.1f %% of %d",
		p.first.percent(),
		p.first.all,
		p.variants.percent(),
		p.variants.all,
		100*float64(p.wasted)/float64(p.used+p.wasted),
		p.used+p.wasted,
	)
}

// playPlan plays days to a Watch as a tier would that makes what it plans in no time and forgets
// nothing: what is missed and wasted then is the plan's doing alone.
func playPlan(t *testing.T, mode warmer.Mode, people int, days ...uint64) (all []planned) {
	t.Helper()
	const lasts = 24 * time.Hour
	now := time.Unix(1e9, 0)
	watch := warmer.NewWatch(
		warmer.WatchConfig{Mode: mode, Profiles: profile.BuiltIn(), Now: func() time.Time { return now }},
	)
	version, err := imageurl.ParseVersion(versionText)
	if err != nil {
		t.Fatal(err)
	}
	had := make(map[string]bool) // avatars that an earlier day has made
	for _, seed := range days {
		names, err := newNaming(fmt.Sprintf("d%d-", seed), feedKeys)
		if err != nil {
			t.Fatal(err)
		}
		day := socialday.New(socialday.Config{People: people, Lasts: lasts, Seed: seed})
		began := now
		usedBefore, wastedBefore := watch.Counts()
		var p planned
		held := make(map[string]bool)
		warm := func(name, list string, reach warmer.Reach) {
			img, err := profile.NewImage(sourceName, name, version)
			if err != nil {
				t.Fatal(err)
			}
			if list == "avatar" {
				if had[name] {
					return
				}
				had[name] = true
			}
			specs, _ := watch.Specs(img, list, reach, false)
			var made []resize.Spec
			for _, spec := range specs {
				ref, err := img.Ref(spec)
				if err != nil {
					t.Fatal(err)
				}
				if !held[ref.String()] {
					held[ref.String()] = true
					made = append(made, spec)
				}
			}
			watch.Made(img, list, reach, made)
		}
		w := window{&day, 0, lasts}
		var actions []action
		for i, post := range day.Posts {
			if w.fresh(i) {
				actions = append(actions, action{post.At, func(time.Time) {
					warm(names.post(i), "feed", warmer.ReachOf(post.Audience))
				}})
			}
		}
		for _, page := range day.Pages {
			if !w.holds(page.At) {
				continue
			}
			actions = append(actions, action{page.At, func(time.Time) {
				for _, i := range page.Posts {
					if img, err := profile.NewImage(sourceName, names.post(i), version); err == nil &&
						(w.fresh(i) || day.Posts[i].Old) &&
						!watch.Lately(img, "feed") {
						warm(names.post(i), "feed", warmer.OnPage)
					}
				}
			}})
		}
		seen := make(map[int]bool)
		for _, ask := range w.asks() {
			if ask.Avatar || !w.fresh(ask.Post) && !day.Posts[ask.Post].Old {
				continue
			}
			path, err := names.path(&day, ask)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := names.signer.Parse(path)
			if err != nil {
				t.Fatal(err)
			}
			actions = append(actions, action{ask.At, func(time.Time) {
				hit := held[ref.String()]
				if !seen[ask.Post] && w.fresh(ask.Post) {
					seen[ask.Post] = true
					p.first.count(hit)
				}
				device := ref.String()
				if !had[device] {
					had[device] = true
					p.variants.count(hit)
				}
				held[ref.String()] = true
				watch.Asked(ref)
			}})
		}
		slices.SortStableFunc(actions, func(a, b action) int { return cmp.Compare(a.at, b.at) })
		for _, a := range actions {
			now = began.Add(a.at)
			a.do(now)
		}
		now = began.Add(lasts + 7*time.Hour)
		used, wasted := watch.Counts()
		p.used, p.wasted = used-usedBefore, wasted-wastedBefore
		clear(seen)
		all = append(all, p)
	}
	return all
}

// The plan alone, on a machine that makes everything at once, wastes less than a fifth, from the first
// day on, and still makes nearly all that first viewers ask for.
func TestPlan_Day_WithinBudget(t *testing.T) {
	var first share
	for i, p := range playPlan(t, warmer.Adaptive, 900, 1, 2, 3) {
		t.Logf("day %d: %v", i+1, p)
		if p.wasted*5 > p.used+p.wasted {
			t.Errorf("day %d: %v", i+1, p)
		}
		first.some, first.all = first.some+p.first.some, first.all+p.first.all
	}
	if first.percent() < 95 {
		t.Errorf("%.1f %% of %d first views are hits", first.percent(), first.all)
	}
	all := playPlan(t, warmer.All, 900, 1)[0]
	t.Logf("with all Specs: %v", all)
	if all.first.percent() != 100 || all.wasted*2 < all.used+all.wasted {
		t.Error("that is another day")
	}
}
