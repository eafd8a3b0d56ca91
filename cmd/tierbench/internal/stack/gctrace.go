package stack

import (
	"strconv"
	"strings"
	"time"
)

// gcTrace makes a Go program print a line for each garbage collection (package runtime).
const gcTrace = "GODEBUG=gctrace=1"

// gcPauses returns the two stop-the-world pauses of a garbage collection, if line is one of
// gctrace:
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

// Pauses returns the number and the total length of the stop-the-world pauses so far. The program
// must have been started with gcTrace.
func (p *Process) Pauses() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pauses[:len(p.pauses):len(p.pauses)]
}
