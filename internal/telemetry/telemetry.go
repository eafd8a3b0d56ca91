// Package telemetry opens and closes the outputs for operators: the log, the Prometheus registry and its handler, and
// an OpenTelemetry tracer if the environment configures one. The metrics are in package metrics.
//
// Start reading at [Open]; log.go keeps secrets out of the log.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/novasocial/imagetier/internal/tracing"
)

// Telemetry is the open outputs. Close closes it.
type Telemetry struct {
	// Log is not set as slog's default.
	Log *slog.Logger
	// Registry has the Go and process collectors.
	Registry *prometheus.Registry
	// Tracer is nil if the environment configures no traces.
	Tracer trace.Tracer

	provider *sdktrace.TracerProvider // nil as Tracer
	secrets  *scrubber
}

// Hide keeps more secrets out of the log, beside Config.Secrets. Calls must not overlap.
func (t *Telemetry) Hide(secrets []string) { t.secrets.hide(secrets) }

// gcPauses are the stop-the-world pauses of the garbage collector as a histogram; go_gc_duration_seconds has only
// quantiles since the start.
var gcPauses = regexp.MustCompile(`^/sched/pauses/total/gc:seconds$`)

// Open makes the logger, the registry and the tracer. The log hides cfg.Secrets, and attributes whose names say that
// they are secret. Tracing is configured by the environment, see
// [tracing.Configured]. Open does not connect: an exporter that cannot reach its collector logs that at most once a
// minute, and drops spans.
func Open(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	secrets := newScrubber(cfg.Output, cfg.Secrets)
	handler, err := newHandler(cfg, secrets)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Log: slog.New(handler), Registry: prometheus.NewRegistry(), secrets: secrets}
	t.Registry.MustRegister(
		collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(
			collectors.MetricsGC, collectors.GoRuntimeMetricsRule{Matcher: gcPauses},
		)),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	t.provider, err = tracing.NewProvider(ctx, cfg.Program, cfg.Version, t.Log)
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if t.provider != nil {
		t.Tracer = t.provider.Tracer("github.com/novasocial/imagetier")
	}
	return t, nil
}

// Provider returns the provider of tracers for libraries; nil without a Tracer.
func (t *Telemetry) Provider() trace.TracerProvider {
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// Metrics returns the handler of /metrics: Prometheus' text format, OpenMetrics or protobuf (with native histograms),
// as the scraper accepts. If a collector fails, only its own metrics are missing.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn),
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          t.Registry,
		EnableOpenMetrics: true,
	})
}

// Close sends the remaining spans until ctx is done. The logger and the metrics continue to work.
func (t *Telemetry) Close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}
