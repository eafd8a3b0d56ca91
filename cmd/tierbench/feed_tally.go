package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
)

// share is a part of a total.
type share struct{ some, all int }

func (s *share) count(yes bool) {
	s.all++
	if yes {
		s.some++
	}
}

func (s share) percent() float64 {
	if s.all == 0 {
		return 0
	}
	return 100 * float64(s.some) / float64(s.all)
}

// tally sums up the answers of a window.
type tally struct {
	asked    int
	failed   int
	hits     share // of all
	first    share // first views of new posts that are hits, in any Spec
	soon     share // misses among them within soonAfter of publication, or collapsed into a running fill
	variants share // first requests for a Spec of a new post that are hits
	old      share // requests for old posts that are hits; only pages name these
	p50, p99 time.Duration
	// of variants requested before, which need no resize
	againP50, againP99 time.Duration
}

// soonAfter is the time after publication in which a miss is excused: a job takes about as long.
const soonAfter = time.Second

// tallyOf counts answers. The first request for an image is the one that was due first, even if
// another was answered earlier.
func tallyOf(w window, answers []answer) (t tally) {
	answers = slices.Clone(answers)
	slices.SortStableFunc(answers, func(a, b answer) int { return cmp.Compare(a.ask.At, b.ask.At) })
	type variant struct {
		post   int
		scale  int
		format string
	}
	seen := make(map[int]bool)
	asked := make(map[variant]bool)
	var all, again []time.Duration
	for _, a := range answers {
		t.asked++
		if a.err != nil {
			t.failed++
			t.hits.count(false)
		} else {
			all = append(all, a.took)
			t.hits.count(a.from.hit)
		}
		if a.ask.Avatar {
			continue
		}
		device := socialday.Devices[a.ask.Device]
		v := variant{a.ask.Post, device.Scale, device.Format}
		if asked[v] && a.err == nil {
			again = append(again, a.took)
		}
		switch {
		case w.day.Posts[a.ask.Post].Old:
			t.old.count(a.from.hit)
		case w.fresh(a.ask.Post):
			if !seen[a.ask.Post] {
				t.first.count(a.from.hit)
				if !a.from.hit {
					t.soon.count(a.from.collapsed || a.ask.At-w.day.Posts[a.ask.Post].At < soonAfter)
				}
			}
			if !asked[v] {
				t.variants.count(a.from.hit)
			}
		}
		seen[a.ask.Post], asked[v] = true, true
	}
	t.p50, t.p99 = quantile(all, 0.5), quantile(all, 0.99)
	t.againP50, t.againP99 = quantile(again, 0.5), quantile(again, 0.99)
	return t
}

// quantile returns the smallest value that a share q of all values do not exceed.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func median[T cmp.Ordered](all []T) (m T) {
	if len(all) == 0 {
		return m
	}
	return slices.Sorted(slices.Values(all))[len(all)/2]
}
