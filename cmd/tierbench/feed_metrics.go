package main

import (
	"strings"

	"github.com/novasocial/imagetier/cmd/tierbench/internal/stack"
)

// warmed counts the variants that were made early and then requested (used) or not (wasted) while
// they were watched, and their CPU seconds.
type warmed struct{ used, wasted, usedCPU, wastedCPU float64 }

func warmedOf(m stack.Metrics) warmed {
	return warmed{
		m["imagetier_prefetch_used_total"], m["imagetier_prefetch_wasted_total"],
		m["imagetier_prefetch_used_cpu_seconds_total"], m["imagetier_prefetch_wasted_cpu_seconds_total"],
	}
}

func (w warmed) minus(before warmed) warmed {
	return warmed{
		w.used - before.used, w.wasted - before.wasted, w.usedCPU - before.usedCPU, w.wastedCPU - before.wastedCPU,
	}
}

// share returns the wasted share of variants that were requested or whose watch has ended.
func (w warmed) share() float64 {
	if w.used+w.wasted == 0 {
		return 0
	}
	return w.wasted / (w.used + w.wasted)
}

// cpuShare returns the wasted share of their CPU time.
func (w warmed) cpuShare() float64 {
	return warmed{used: w.usedCPU, wasted: w.wastedCPU}.share()
}

// cacheStatus is the Cache-Status of an answer (RFC 9211).
type cacheStatus struct {
	hit       bool
	detail    string
	collapsed bool // another request was already making it
}

// readCacheStatus reads the header of one cache: "imagetier; hit; ttl=7; detail=memory".
func readCacheStatus(text string) (s cacheStatus) {
	for i, part := range strings.Split(text, ";") {
		part = strings.TrimSpace(part)
		if i == 0 {
			continue
		}
		switch part {
		case "hit":
			s.hit = true
		case "collapsed":
			s.collapsed = true
		}
		if detail, ok := strings.CutPrefix(part, "detail="); ok {
			s.detail = detail
		}
	}
	return s
}
