package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
)

// A metric in alerts and dashboards, and its label values.
var (
	selector = regexp.MustCompile(`\b((?:imagetier|go|process)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)
)

// ofTheScrape are labels that Prometheus adds, and le of histograms.
var ofTheScrape = []string{"job", "instance", "le"}

// scraped has the label values of each metric of a program.
type scraped map[string]map[string][]string

func (s scraped) add(text string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, _, _ := strings.Cut(line, " ")
		name, labels, _ := strings.Cut(series, "{")
		if s[name] == nil {
			s[name] = map[string][]string{}
		}
		for _, l := range matcher.FindAllStringSubmatch(labels, -1) {
			s[name][l[1]] = append(s[name][l[1]], l[3])
		}
	}
}

// lacks returns what expr uses and no program exports.
func (s scraped) lacks(expr string) (faults []string) {
	labels := map[string]bool{}
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		series, ok := s[found[1]]
		if !ok {
			faults = append(faults, "no metric "+found[1])
			continue
		}
		for label := range series {
			labels[label] = true
		}
		for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
			label, op, value := m[1], m[2], m[3]
			if slices.Contains(ofTheScrape, label) {
				continue
			}
			values := []string{value}
			if strings.HasSuffix(op, "~") {
				values = strings.Split(value, "|")
			}
			for _, v := range values {
				if !slices.Contains(series[label], v) {
					faults = append(faults, fmt.Sprintf("no %s{%s=%q}", found[1], label, v))
				}
			}
		}
	}
	for _, found := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(found[1], ",") {
			if label = strings.TrimSpace(label); label != "" && !labels[label] && !slices.Contains(ofTheScrape, label) {
				faults = append(faults, fmt.Sprintf("no label %s of anything in %s", label, expr))
			}
		}
	}
	return faults
}

// exposed scrapes a newly started tier, and a newly started gateway of each mode.
func exposed(t *testing.T) scraped {
	t.Helper()
	dir, _ := photos(t)
	t.Setenv("AWS_ACCESS_KEY_ID", "unused")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "unused")
	tier := start(t, "imagetier", "serve", "--keys="+key, "--source=posts=dir://"+dir,
		"--derived=s3://derived/tier?region=eu-central-1&endpoint=http://127.0.0.1:9", // which is not needed either
		"--cache-dir="+t.TempDir(), "--webhook-secrets="+hookSecret, "--admin-token="+adminToken)
	proxy := start(t, "imagetier-gateway", "proxy", "--upstream=http://127.0.0.1:9",
		"--keys="+key, "--image-base="+tier.public, "--image-prefix=https://cdn.app.example/=posts")
	// Services are not needed: the metrics show that they are not connected.
	serve := start(t, "imagetier-gateway", "serve", "--feed=127.0.0.1:9",
		"--content=127.0.0.1:9", "--user=127.0.0.1:9", "--tier="+tier.private,
		"--admin-token="+adminToken, "--webhook-secret="+hookSecret, "--keys="+key,
		"--image-base="+tier.public, "--image-prefix=https://cdn.app.example/=posts")
	all := scraped{}
	for _, program := range []*program{tier, proxy, serve} {
		_, _, text := get(t, program.private+"/metrics")
		all.add(text)
	}
	return all
}

// exprsOf returns the queries of a dashboard.
func exprsOf(t *testing.T, dashboard any) (exprs []string) {
	switch v := dashboard.(type) {
	case map[string]any:
		for key, value := range v {
			if expr, ok := value.(string); ok && key == "expr" {
				exprs = append(exprs, expr)
			}
			exprs = append(exprs, exprsOf(t, value)...)
		}
	case []any:
		for _, value := range v {
			exprs = append(exprs, exprsOf(t, value)...)
		}
	}
	return exprs
}

func TestDashboards_KnownMetrics(t *testing.T) {
	all := exposed(t)
	text, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?s)\n\s+expr: (.*?)\n\s+(?:for|labels):`).FindAllStringSubmatch(string(text), -1)
	if want := strings.Count(string(text), "- alert: "); len(rules) != want {
		t.Errorf("%d of %d rules were read", len(rules), want)
	}
	for _, rule := range rules {
		for _, fault := range all.lacks(rule[1]) {
			t.Errorf("rules.yml: %s", fault)
		}
	}
	dashboards, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(dashboards) != 2 {
		t.Fatalf("%v, %v", dashboards, err)
	}
	for _, path := range dashboards {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var dashboard any
		if err := json.Unmarshal(text, &dashboard); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		exprs := exprsOf(t, dashboard)
		if len(exprs) < 10 {
			t.Errorf("%s has %d queries", path, len(exprs))
		}
		for _, expr := range exprs {
			for _, fault := range all.lacks(expr) {
				t.Errorf("%s: %s", path, fault)
			}
		}
	}
}

func TestDashboards_UnknownMetric(t *testing.T) {
	all := scraped{}
	all.add("# HELP imagetier_requests_total -\nimagetier_requests_total{status=\"200\",cache=\"memory\"} 3\n")
	for expr, want := range map[string]int{
		`rate(imagetier_requests_total{status="200", job="$job"}[5m])`:    0,
		`sum by (job, cache) (imagetier_requests_total{cache=~"memory"})`: 0,
		`imagetier_request_total`:                                            1,
		`imagetier_requests_total{status="201"}`:                             1,
		`imagetier_requests_total{cache=~"memory|tape"}`:                     1,
		`sum by (tier) (imagetier_requests_total)`:                           1,
		`rate(imagetier_requests_total{state="200"}[5m]) / go_no_such_thing`: 2,
	} {
		if got := all.lacks(expr); len(got) != want {
			t.Errorf("%s: %q, want %d faults", expr, got, want)
		}
	}
}

func TestAlerts(t *testing.T) {
	promtool := testutil.Command(t, "apt-get install prometheus", "promtool")
	for _, args := range [][]string{
		{"check", "rules", "rules.yml"}, {"test", "rules", "rules_test.yml"}, {"check", "config", "prometheus.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = "../../deploy/prometheus"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	rules, err := os.ReadFile("../../deploy/prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("../../deploy/prometheus/rules_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !regexp.MustCompile(`alertname: ` + alert[1] + `\n\s+exp_alerts:\n`).Match(tests) {
			t.Errorf("no test sees %s fire", alert[1])
		}
	}
}
