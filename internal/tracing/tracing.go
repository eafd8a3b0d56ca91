// Package tracing makes the provider that sends traces by OTLP, for the tier and the gateway.
//
// Start reading at [NewProvider].
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Configured reports whether the environment configures traces, as OpenTelemetry's specification says ("Environment
// Variable Specification", "OTLP Exporter"), with one exception: if neither an exporter nor an endpoint is set, there
// are no traces, where the specification would send them to localhost. It fails for unsupported values.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318   (or …_TRACES_ENDPOINT) traces
//	OTEL_TRACES_EXPORTER=otlp                           traces, to http://localhost:4318
//	OTEL_TRACES_EXPORTER=none, OTEL_SDK_DISABLED=true   no traces
//
// OpenTelemetry's SDK reads the sampler, headers, timeouts and the rest.
func Configured() (bool, error) {
	if off, _ := strconv.ParseBool(os.Getenv("OTEL_SDK_DISABLED")); off {
		return false, nil
	}
	switch exporter := os.Getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false, nil
	case "otlp":
	case "":
		if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return false, nil
		}
	default:
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: want otlp or none", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := os.Getenv(name); protocol {
		case "":
			continue // the other one decides
		case "http/protobuf", "http/json":
		default:
			return false, fmt.Errorf("%s is %q: want http/protobuf or http/json (collectors accept both on port 4318)",
				name, protocol)
		}
		break
	}
	return true, nil
}

// maxAnswer is how much of an answer of the collector is read, in bytes. The text of a refused export is logged.
const maxAnswer = 16 << 10

// NewProvider returns the provider of tracers; nil if no traces are configured. Failed exports are logged to log.
func NewProvider(ctx context.Context, program, version string, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	if configured, err := Configured(); err != nil || !configured {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithMaxResponseSize(maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("make the trace exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(
			attribute.String("service.name", program),
			attribute.String("service.version", version),
		),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES: they override
	)
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&loggingExporter{SpanExporter: exporter, log: log, now: time.Now}),
		sdktrace.WithResource(about),
	), nil
}

// loggingExporter logs failed exports, at most once a minute. The SDK would report them to a global handler.
type loggingExporter struct {
	sdktrace.SpanExporter
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	logged  time.Time
	dropped int
}

func (s *loggingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += len(spans)
	if now := s.now(); s.logged.IsZero() || now.Sub(s.logged) >= time.Minute {
		s.log.Warn("trace export failed", "dropped", s.dropped, "err", err)
		s.logged, s.dropped = now, 0
	}
	return nil
}
