package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// metric returns the value of a series as in /metrics, "" if it is missing.
func metric(t testing.TB, x *tier, series string) string {
	t.Helper()
	for line := range strings.Lines(string(fetch(t, x.private+"/metrics").body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// scrape returns the metrics of a tier by name.
func scrape(t testing.TB, x *tier) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(fetch(t, x.private+"/metrics").body))
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// labelOf returns the value of a label, "" without it.
func labelOf(m *dto.Metric, name string) string {
	for _, label := range m.GetLabel() {
		if label.GetName() == name {
			return label.GetValue()
		}
	}
	return ""
}

// restarts describes the resize processes that were replaced, by reason.
func restarts(t testing.TB, x *tier) string {
	t.Helper()
	var all []string
	for _, m := range scrape(t, x)["imagetier_resize_worker_restarts_total"].GetMetric() {
		all = append(all, fmt.Sprintf("%s %g", labelOf(m, "reason"), m.GetCounter().GetValue()))
	}
	return strings.Join(all, ", ")
}
