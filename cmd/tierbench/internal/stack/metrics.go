package stack

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Metrics are what a program shows on /metrics: value by series, labels and all.
type Metrics map[string]float64

// Scrape asks the private listener at url.
func Scrape(ctx context.Context, url string) (Metrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", req.URL, resp.Status)
	}
	return parse(string(text))
}

// parse reads the text format of Prometheus.
func parse(text string) (Metrics, error) {
	all := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil || at < 0 {
			return nil, fmt.Errorf("metrics: %q is no sample", line)
		}
		all[line[:at]] = value
	}
	return all, nil
}

// Since returns how much a counter has grown since before.
func (m Metrics) Since(before Metrics, series string) float64 { return m[series] - before[series] }

// Quantile returns the upper bound of the bucket of a histogram without labels in which the
// q-th of what was observed since before lies; 0 if nothing was.
func (m Metrics) Quantile(before Metrics, name string, q float64) float64 {
	type bucket struct{ bound, count float64 }
	var buckets []bucket
	for series := range m {
		label, ok := strings.CutPrefix(series, name+`_bucket{le="`)
		if !ok {
			continue
		}
		bound, err := strconv.ParseFloat(strings.TrimSuffix(label, `"}`), 64)
		if err != nil {
			continue
		}
		buckets = append(buckets, bucket{bound, m.Since(before, series)})
	}
	slices.SortFunc(buckets, func(a, b bucket) int {
		switch {
		case a.bound < b.bound:
			return -1
		case a.bound > b.bound:
			return 1
		}
		return 0
	})
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return 0
	}
	total := buckets[len(buckets)-1].count
	for _, b := range buckets {
		if b.count >= q*total {
			return b.bound
		}
	}
	return math.Inf(1)
}
