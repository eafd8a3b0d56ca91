// Package telemetry makes and closes what a program tells its operators with: a logger,
// a Prometheus registry and its handler, and an OpenTelemetry tracer where the
// environment asks for one. What is measured is package measure's.
package telemetry

import (
	"context"
	"fmt"
	"io"
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

// Config of a Telemetry.
type Config struct {
	// Program is its name in traces: "imagetier". Version goes there too.
	Program, Version string
	// Output takes the log; nil is standard error.
	Output io.Writer
	// Format of the log: "json" (the default) or "text".
	Format string
	// Level is the least that is logged; its zero value is info.
	Level slog.Leveler
	// Secrets must never be in a log, whoever writes them: keys, tokens, passwords, as
	// they stand in the configuration. See NewHandler.
	Secrets []string
}

// Telemetry is open until Close.
type Telemetry struct {
	// Log is not slog's default logger; main may make it that.
	Log *slog.Logger
	// Registry has the Go and process collectors.
	Registry *prometheus.Registry
	// Tracer is nil where the environment asks for none.
	Tracer trace.Tracer

	provider *sdktrace.TracerProvider // nil as Tracer
}

// gcPauses are the runtime's stop-the-world pauses of the collector: a histogram, where
// go_gc_duration_seconds has quantiles since the start.
var gcPauses = regexp.MustCompile(`^/sched/pauses/total/gc:seconds$`)

// Open makes logger, registry and tracer. Tracing is read from the environment, as every
// OpenTelemetry program does (see Traces). It dials nothing: an exporter that cannot
// reach its collector says so in the log, at most once a minute, and drops spans.
func Open(ctx context.Context, cfg Config) (*Telemetry, error) {
	if cfg.Output == nil {
		cfg.Output = os.Stderr
	}
	handler, err := NewHandler(cfg)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{Log: slog.New(handler), Registry: prometheus.NewRegistry()}
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

// Provider returns what libraries make spans with; nil without a Tracer.
func (t *Telemetry) Provider() trace.TracerProvider {
	if t.provider == nil {
		return nil
	}
	return t.provider
}

// Metrics returns the handler of /metrics: the text format of Prometheus, OpenMetrics,
// or protobuf (which has the native histograms), as the scraper accepts. A collector that
// fails costs its own metrics only.
func (t *Telemetry) Metrics() http.Handler {
	return promhttp.HandlerFor(t.Registry, promhttp.HandlerOpts{
		ErrorLog:          slog.NewLogLogger(t.Log.Handler(), slog.LevelWarn),
		ErrorHandling:     promhttp.ContinueOnError,
		Registry:          t.Registry,
		EnableOpenMetrics: true,
	})
}

// Close sends the spans that are left, for as long as ctx lasts. The logger and the
// metrics go on working.
func (t *Telemetry) Close(ctx context.Context) error {
	if t.provider == nil {
		return nil
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}
