package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/cmd/tierbench/socialday"
)

// describe returns a summary of a day.
func describe(cfg socialday.Config, w window, rate float64) {
	s := w.day.Between(w.from, w.to)
	fmt.Printf(
		"the day: %d people, %v long, %.0f requests a second on average and %.0f in its busiest part; %d posts, %d pages, %d requests, %d of them for avatars and %d for old posts\n",
		cfg.People,
		cfg.Lasts.Round(time.Second),
		float64(s.Asks)/cfg.Lasts.Seconds(),
		rate,
		s.Posts,
		s.Pages,
		s.Asks,
		s.Avatars,
		s.Old,
	)
	fmt.Printf(
		"a post: %.0f views on average, %.1f %% never seen, first view %v after publication (median); share of seen posts requested with",
		s.Views,
		100*s.Unseen,
		s.Lead.Round(100*time.Millisecond),
	)
	for i, device := range socialday.Devices {
		fmt.Printf(" %s %.0f %%", device.Name, 100*s.Asked[i])
		if i < len(socialday.Devices)-1 {
			fmt.Print(",")
		}
	}
	fmt.Println()
}

// dayTable returns the table of a day with that title.
func dayTable(title string, ran dayRun) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | | |\n|---|---|---|\n", title)
	row := func(label string, s share) {
		fmt.Fprintf(&b, "| %s | %.1f %% | of %d |\n", label, s.percent(), s.all)
	}
	row("first view of a new post is a hit", ran.first)
	row("of those that are not: within a second of publication, or while it was being made", ran.soon)
	row("first request for a size of a new post is a hit", ran.variants)
	row("first view of an old post, of which its page told, is a hit", ran.old)
	row("all requests are hits", ran.hits)
	fmt.Fprintf(
		&b,
		"| wasted CPU time | %.1f %% | of %.1f s |\n| wasted | %.1f %% | of %.0f made early |\n",
		100*ran.warmed.cpuShare(), ran.warmed.usedCPU+ran.warmed.wastedCPU,
		100*ran.warmed.share(), ran.warmed.used+ran.warmed.wasted,
	)
	fmt.Fprintf(&b, "| p50, p99 | %s | %s |\n", ms(ran.p50), ms(ran.p99))
	if ran.failed+ran.refused > 0 {
		fmt.Fprintf(&b, "| requests that failed, events that were refused | %d | %d of %d |\n",
			ran.failed, ran.refused, ran.events)
	}
	return b.String()
}

// pairTable returns the medians of the pairs.
func pairTable(pairs []pair, rate, capacity float64) string {
	var b strings.Builder
	at := fmt.Sprintf("%.0f requests a second", rate)
	if capacity != 0 {
		at += fmt.Sprintf(", %.0f %% of the capacity", 100*rate/capacity)
	}
	fmt.Fprintf(&b, "\n| %d pairs at %s, medians | with warming | without | ratio |\n|---|---|---|---|\n",
		len(pairs), at)
	row := func(label string, of func(tally) time.Duration) {
		var with, without []time.Duration
		var ratios []float64
		for _, p := range pairs {
			a, b := of(p.with), of(p.without)
			with, without = append(with, a), append(without, b)
			ratios = append(ratios, float64(a)/float64(max(b, 1)))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f |\n", label, ms(median(with)), ms(median(without)), median(ratios))
	}
	row("p50 of all requests", func(t tally) time.Duration { return t.p50 })
	row("p99 of all requests", func(t tally) time.Duration { return t.p99 })
	row("p50 of what was asked for before", func(t tally) time.Duration { return t.againP50 })
	row("p99 of what was asked for before", func(t tally) time.Duration { return t.againP99 })
	shares := func(label string, of func(tally) share) {
		var with, without []float64
		for _, p := range pairs {
			with, without = append(with, of(p.with).percent()), append(without, of(p.without).percent())
		}
		fmt.Fprintf(&b, "| %s | %.1f %% | %.1f %% | |\n", label, median(with), median(without))
	}
	shares("first view of a new post is a hit", func(t tally) share { return t.first })
	shares("all requests are hits", func(t tally) share { return t.hits })
	failed := 0
	for _, p := range pairs {
		failed += p.with.failed + p.without.failed
	}
	if failed > 0 {
		fmt.Fprintf(&b, "| requests that failed | %d | | |\n", failed)
	}
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond)) }
