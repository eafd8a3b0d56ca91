package stack

import (
	"math"
	"testing"
)

func TestMetricsAreReadWithTheirLabels(t *testing.T) {
	m, err := parse("# HELP a -\na 3\nb{path=\"/x y\",to=\"z\"} 1.5e+06\n\nc NaN\n")
	if err != nil || m["a"] != 3 || m[`b{path="/x y",to="z"}`] != 1.5e6 || !math.IsNaN(m["c"]) {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := parse("<html>"); err == nil {
		t.Error("a page was taken for metrics")
	}
}

func TestAQuantileIsOfWhatHappenedSince(t *testing.T) {
	const before = `h_bucket{le="0.001"} 100
h_bucket{le="0.01"} 100
h_bucket{le="+Inf"} 100
other_bucket{le="5"} 9
`
	const after = `h_bucket{le="0.001"} 198
h_bucket{le="0.01"} 199
h_bucket{le="+Inf"} 200
`
	old, _ := parse(before)
	now, _ := parse(after)
	for q, want := range map[float64]float64{0.49: 0.0005, 0.98: 0.001, 0.985: 0.0055, 0.99: 0.01, 1: 0.01} {
		if got := now.Quantile(old, "h", q); math.Abs(got-want) > 1e-9 {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
	}
	if got := now.Quantile(now, "h", 0.99); got != 0 {
		t.Errorf("of nothing: %g", got)
	}
}
