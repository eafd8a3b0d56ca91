package main

import (
	"strings"
	"testing"

	"github.com/novasocial/imagetier/prefetch/warmer"
)

// The plan alone, with variants made instantly, wastes less than a fifth of its CPU time from the
// first day on, and still makes nearly everything that first viewers request.
func TestSimulation_Play_WithinBudget(t *testing.T) {
	days, err := simulation{people: 900}.play(1, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range days {
		t.Logf("day %d: %v", i+1, p)
		if p.waste() > 20 {
			t.Errorf("day %d: %v", i+1, p)
		}
	}
	if sum := sumOf(days); sum.first.percent() < 95 {
		t.Errorf("%.1f %% of %d first views are hits", sum.first.percent(), sum.first.all)
	}
	all, err := simulation{mode: warmer.All, people: 900}.play(1)
	if err != nil || all[0].first.percent() != 100 || all[0].waste() < 20 {
		t.Errorf("%v, with all Specs: %v", err, all)
	}
	figure := string(planChart([]planLine{{900, days[:2]}}, []float64{0.1, 0.2}))
	if strings.Count(figure, "<circle") != 2 || !strings.Contains(figure, "900 people") {
		t.Errorf("the figure is %s", figure)
	}
}
