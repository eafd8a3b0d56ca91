package stack

import (
	"cmp"
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

// Quantile returns the q-th of what a histogram without labels has observed since before, as
// Prometheus' histogram_quantile reckons: linearly within a bucket, and the last finite bound
// for what is beyond it. It is 0 if nothing was observed.
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
	slices.SortFunc(buckets, func(a, b bucket) int { return cmp.Compare(a.bound, b.bound) })
	if len(buckets) == 0 || buckets[len(buckets)-1].count == 0 {
		return 0
	}
	rank := q * buckets[len(buckets)-1].count
	var below bucket
	for _, b := range buckets {
		if math.IsInf(b.bound, 1) {
			break
		}
		if b.count >= rank {
			return below.bound + (b.bound-below.bound)*(rank-below.count)/(b.count-below.count)
		}
		below = b
	}
	return below.bound
}
