package telemetry

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/circuit"
	"github.com/novasocial/imagetier/internal/metrics"
	"github.com/novasocial/imagetier/internal/testutil"
)

// open calls Open with an environment without traces, and a log in memory.
func open(t *testing.T, cfg Config) (*Telemetry, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	cfg.Output = &log
	tel, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return tel, &log
}

func scrape(t *testing.T, tel *Telemetry, accept string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	tel.Metrics().ServeHTTP(rec, r)
	return rec
}

func TestTelemetry_Metrics_HasProcessMetrics(t *testing.T) {
	tel, _ := open(t, Config{})
	rec := scrape(t, tel, "")
	for _, name := range []string{"go_goroutines ", "process_resident_memory_bytes ", "process_open_fds "} {
		if !strings.Contains(rec.Body.String(), "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
}

func TestTelemetry_Metrics_NegotiatesFormat(t *testing.T) {
	tel, _ := open(t, Config{})
	rec := scrape(t, tel, "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3")
	if kind := rec.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/openmetrics-text") {
		t.Errorf("the answer is %s", kind)
	}
	if !strings.HasSuffix(rec.Body.String(), "# EOF\n") {
		t.Error("OpenMetrics ends with # EOF")
	}
	rec = scrape(t, tel, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	if kind := rec.Header().Get("Content-Type"); !strings.HasPrefix(kind, "application/vnd.google.protobuf") {
		t.Errorf("the answer is %s", kind)
	}
}

func TestTelemetry_Metrics_PassesPromtool(t *testing.T) {
	promtool := testutil.Command(t, "apt-get install prometheus", "promtool")
	tel, _ := open(t, Config{})
	set := metrics.New(metrics.Config{Registerer: tel.Registry, Version: "1.0.0"})
	set.Source("posts", nil)
	set.Breaker("posts", func() circuit.State { return circuit.Closed })
	set.Tier("memory", nil, func() metrics.TierStats {
		return metrics.TierStats{Bytes: 1, Evictions: map[string]int64{"space": 1}}
	})
	set.Workers(func() metrics.WorkerStats {
		return metrics.WorkerStats{
			Queued:   map[string]int{"live": 1},
			Workers:  map[string]int{"idle": 1},
			Restarts: map[string]int64{"recycled": 1},
		}
	})
	set.Observe(
		metrics.Observation{
			Status:   200,
			Outcome:  imagecache.Outcome{Detail: imagecache.Memory},
			Format:   "webp",
			Duration: time.Millisecond,
			Bytes:    1,
		},
	)

	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = scrape(t, tel, "").Body
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}

// broken is a collector that fails.
type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}
func (broken) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "-", nil, nil), errors.New("no such file"))
}

func TestTelemetry_Metrics_FailingCollector(t *testing.T) {
	tel, log := open(t, Config{})
	tel.Registry.MustRegister(broken{})
	rec := scrape(t, tel, "")
	if rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "go_goroutines") {
		t.Errorf("%d\n%s", rec.Code, rec.Body)
	}
	if !strings.Contains(log.String(), "no such file") {
		t.Errorf("the log does not mention the failure: %s", log)
	}
}

func TestTelemetry_Hide(t *testing.T) {
	var out bytes.Buffer
	open, err := Open(t.Context(), Config{Program: "imagetier", Output: &out, Secrets: []string{"first-secret"}})
	if err != nil {
		t.Fatal(err)
	}
	open.Hide([]string{"second-secret"})
	open.Log.Info("first-secret second-secret")
	if line := out.String(); strings.Contains(line, "first-secret") || strings.Contains(line, "second-secret") {
		t.Error(line)
	}
}
