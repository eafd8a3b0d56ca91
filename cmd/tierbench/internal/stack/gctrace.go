package stack

import (
	"strconv"
	"strings"
	"time"
)

// gcTrace makes a Go program say what each run of its collector took (package runtime).
const gcTrace = "GODEBUG=gctrace=1"

// gcPauses returns how long a run stopped the program, at its begin and at its end, if the line tells
// of one:
//
//	gc 7 @1.285s 1%: 0.018+0.61+0.003 ms clock, 0.036+0.11/0.5/0.2+0.006 ms cpu, 4->4->1 MB, …
func gcPauses(line string) []time.Duration {
	rest, ok := strings.CutPrefix(line, "gc ")
	if !ok {
		return nil
	}
	_, rest, ok = strings.Cut(rest, "%: ")
	if !ok {
		return nil
	}
	clock, _, ok := strings.Cut(rest, " ms clock")
	parts := strings.Split(clock, "+")
	if !ok || len(parts) != 3 {
		return nil
	}
	var pauses []time.Duration
	for _, text := range []string{parts[0], parts[2]} {
		ms, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil
		}
		pauses = append(pauses, time.Duration(ms*float64(time.Millisecond)))
	}
	return pauses
}

// Pauses returns how often and how long the collector of the program, which has to be told
// to say so, has stopped it until now.
func (p *Process) Pauses() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pauses[:len(p.pauses):len(p.pauses)]
}
