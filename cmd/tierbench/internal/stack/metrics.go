package stack

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Metrics maps series of /metrics, with their labels, to their values.
type Metrics map[string]float64

// Scrape reads the metrics of the private listener at url.
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

// Since returns the growth of a counter since before.
func (m Metrics) Since(before Metrics, series string) float64 { return m[series] - before[series] }
