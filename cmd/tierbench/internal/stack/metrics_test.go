package stack

import (
	"math"
	"testing"
)

func TestMetrics_Labels(t *testing.T) {
	m, err := parse("# HELP a -\na 3\nb{path=\"/x y\",to=\"z\"} 1.5e+06\n\nc NaN\n")
	if err != nil || m["a"] != 3 || m[`b{path="/x y",to="z"}`] != 1.5e6 || !math.IsNaN(m["c"]) {
		t.Errorf("%v, %v", m, err)
	}
	for _, bad := range []string{"<html>", "name word\n"} {
		if _, err := parse(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
