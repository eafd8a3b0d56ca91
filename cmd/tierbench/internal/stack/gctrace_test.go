package stack

import (
	"slices"
	"testing"
	"time"
)

func TestGCTrace_Pauses(t *testing.T) {
	for line, want := range map[string][]time.Duration{
		"gc 7 @1.285s 1%: 0.018+0.61+0.003 ms clock, 0.036+0.11/0.5/0.2+0.006 ms cpu, 4->4->1 MB, 4 MB goal, 0 MB stacks, 0 MB globals, 2 P": {18 * time.Microsecond, 3 * time.Microsecond},
		"gc 12 @9s 0%: 11+2.1+0.5 ms clock, 22+0/1/2+1 ms cpu, 4->4->1 MB, 2 P (forced)":                                                     {11 * time.Millisecond, 500 * time.Microsecond},
		"gc 12 @9s 0%: 11+2.1 ms clock":          nil,
		"gc 12 @9s 0%: a+2.1+0.5 ms clock":       nil,
		`{"msg":"gc 7 @1s 1%: 1+1+1 ms clock,"}`: nil,
		"":                                       nil,
	} {
		if got := gcPauses(line); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
