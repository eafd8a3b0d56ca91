package main

import (
	"strings"
	"testing"
	"time"
)

func TestParseSeeds(t *testing.T) {
	if seeds, err := parseSeeds("21-30"); err != nil || len(seeds) != 10 || seeds[9] != 30 {
		t.Errorf("%v, %v", seeds, err)
	}
	for _, text := range []string{"", "x", "3-2", "1-200", "1-"} {
		if _, err := parseSeeds(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
}

// The worst value of a row is the lowest if higher is better, else the highest.
func TestSeedTable_MeanAndWorst(t *testing.T) {
	run := func(hits int, p99 time.Duration) (r seedRun) {
		r.first.first, r.first.p99 = share{hits, 100}, p99
		r.none.p99 = 200 * time.Millisecond
		return r
	}
	text := seedTable([]seedRun{run(99, 80*time.Millisecond), run(97, 120*time.Millisecond)}, seedRows)
	for _, row := range []string{
		"| first view of a new post is a hit | 98 / 97 % |", "| p99 of all live requests | 100 / 120 ms |",
		"| p99 over that of the first day without warming | 0.5 / 0.6  |",
	} {
		if !strings.Contains(text, row) {
			t.Errorf("no row %q in\n%s", row, text)
		}
	}
}
