package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// samples maps series, written as name{labels}, to their values.
type samples map[string]float64

// readMetrics parses the parts of the Prometheus text format that the tier writes.
func readMetrics(r io.Reader) (samples, error) {
	m := make(samples)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			return nil, fmt.Errorf("metrics: %q is no sample", line)
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: %q: %w", line, err)
		}
		m[line[:at]] = value
	}
	return m, lines.Err()
}

// scrape reads the metrics of a tier.
func scrape(ctx context.Context, private string) (samples, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, private+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	return readMetrics(resp.Body)
}

// warmed counts the variants that were made early and then requested (used) or not (wasted) while
// they were watched, and their CPU seconds.
type warmed struct{ used, wasted, usedCPU, wastedCPU float64 }

func (m samples) warmed() warmed {
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
