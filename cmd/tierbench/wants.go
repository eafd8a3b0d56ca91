package main

import (
	"fmt"
	"strings"
	"time"
)

// verdictOf is the comparison of a figure with its target.
type verdictOf struct {
	scenario, target string
	held             bool
}

// want is a target of a scenario.
type want func(o loadRow) (target string, held bool)

// Targets of the scenarios.
var (
	wantAlways = []want{
		func(o loadRow) (string, bool) {
			return "thresholds of the script " + strings.Join(o.k6.Crossed, ", "), len(o.k6.Crossed) == 0
		},
		func(o loadRow) (string, bool) {
			return fmt.Sprintf("%.0f MB resident, wanted 150", float64(o.rss)/1e6), o.rss <= 150e6
		},
		func(o loadRow) (string, bool) {
			return fmt.Sprintf("%.1f KB allocated a request, wanted 55", o.bytes/1e3), o.bytes <= 55e3
		},
		func(o loadRow) (string, bool) {
			text := fmt.Sprintf("%d connections to services made, %d open, wanted 0 and 3", o.made, o.open)
			return text, o.made == 0 && o.open == 3
		},
		func(o loadRow) (string, bool) {
			return fmt.Sprintf("pauses of %s, wanted 10ms", o.pause), o.pause < 10*time.Millisecond
		},
	}
	wantNormal = append(wantAlways[:len(wantAlways):len(wantAlways)], wantNoErrors,
		func(o loadRow) (string, bool) {
			return fmt.Sprintf("p95 of %.0f ms with a cold start in it, wanted 230", o.k6.P95), o.k6.P95 <= 230
		},
		func(o loadRow) (string, bool) {
			return fmt.Sprintf("average of %.0f ms, wanted 30", o.k6.Avg), o.k6.Avg <= 30
		},
	)
)

func wantNoErrors(o loadRow) (string, bool) {
	return fmt.Sprintf("%d errors, wanted 0", o.k6.errors()), o.k6.errors() == 0
}

// wantNoGrowth requires that a figure has not grown since a fifth of the duration.
func wantNoGrowth(o loadRow) (string, bool) {
	growth := float64(o.rss)/float64(max(o.rssAt, 1)) - 1
	return fmt.Sprintf("grew by %.1f %%, wanted less than 5", 100*growth), growth < 0.05
}

// verdicts returns the verdicts of all scenarios and probes.
func (r *loadRun) verdicts() (all []verdictOf) {
	var before, normal *loadRow
	for i, o := range r.rows {
		switch o.name {
		case "before":
			before = &r.rows[i]
		case "normal":
			normal = &r.rows[i]
		}
		for _, wanted := range o.wants {
			target, held := wanted(o)
			all = append(all, verdictOf{o.name, target, held})
		}
	}
	if before != nil && normal != nil {
		all = append(
			all,
			verdictOf{
				"normal",
				fmt.Sprintf("before it was %.0f ms on average, %.1f times as long",
					before.k6.Avg, before.k6.Avg/normal.k6.Avg),
				normal.k6.Avg < before.k6.Avg,
			},
		)
	}
	return append(all, r.probed...)
}
