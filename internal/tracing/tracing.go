// Package tracing is what the tier's and the gateway's traces have in common: whether the
// environment asks for any, and the provider that sends them by OTLP.
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

// Asked reports whether the environment asks for traces, as OpenTelemetry's
// specification says ("Environment Variable Specification", "OTLP Exporter"), but for
// one thing: without a word about an exporter or its endpoint there are none, where the
// specification would send them to localhost. It errs if it asks for what cannot be done.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318   (or …_TRACES_ENDPOINT) there are traces
//	OTEL_TRACES_EXPORTER=otlp                           likewise, to http://localhost:4318
//	OTEL_TRACES_EXPORTER=none, OTEL_SDK_DISABLED=true   there are none
//
// The sampler, headers, timeouts and the rest are read by OpenTelemetry's own SDK.
func Asked() (bool, error) {
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
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q, and can be otlp or none", exporter)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := os.Getenv(name); protocol {
		case "":
			continue // the other one decides
		case "http/protobuf", "http/json":
		default:
			return false, fmt.Errorf("%s is %q, and can be http/protobuf or http/json (collectors take both on port 4318)", name, protocol)
		}
		break
	}
	return true, nil
}

// NewProvider returns nil where no traces are asked for. log gets what cannot be sent.
func NewProvider(ctx context.Context, program, version string, log *slog.Logger) (*sdktrace.TracerProvider, error) {
	if asked, err := Asked(); err != nil || !asked {
		return nil, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", program), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES: what is said last holds
	)
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&saying{SpanExporter: exporter, log: log, now: time.Now}),
		sdktrace.WithResource(about),
	), nil
}

// saying puts the faults of an exporter into the log, at most once a minute. The SDK
// would hand them to a global.
type saying struct {
	sdktrace.SpanExporter
	log *slog.Logger
	now func() time.Time

	mu      sync.Mutex
	said    time.Time
	dropped int
}

func (s *saying) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := s.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped += len(spans)
	if now := s.now(); s.said.IsZero() || now.Sub(s.said) >= time.Minute {
		s.log.Warn("spans cannot be sent", "dropped", s.dropped, "err", err)
		s.said, s.dropped = now, 0
	}
	return nil
}
