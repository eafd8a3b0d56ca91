// Package telemetry makes the traces of the gateway: a span for every request, and for every
// call to the services and the tier that it makes, sent by OTLP where the environment says.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Config of Traces.
type Config struct {
	Program, Version string
	Log              *slog.Logger // gets what cannot be sent; nil drops it
}

// Traces are spans that are made and sent. Nil makes none.
type Traces struct{ provider *sdktrace.TracerProvider }

// Asked reports whether the environment asks for traces, as OpenTelemetry's specification
// says, but for one thing: without a word about an exporter or its endpoint there are none,
// where the specification would send them to localhost. It errs if it asks for what cannot
// be done. The tier reads the same.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318   (or …_TRACES_ENDPOINT) there are traces
//	OTEL_TRACES_EXPORTER=otlp                           likewise, to http://localhost:4318
//	OTEL_TRACES_EXPORTER=none, OTEL_SDK_DISABLED=true   there are none
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

// Open returns nil where no traces are asked for. Sampler, headers, timeouts and the rest
// are read by OpenTelemetry's own SDK.
func Open(ctx context.Context, cfg Config) (*Traces, error) {
	if asked, err := Asked(); err != nil || !asked {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: make the exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", cfg.Program), attribute.String("service.version", cfg.Version)),
		resource.WithTelemetrySDK(),
		resource.WithFromEnv(), // OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES: what is said last holds
	)
	if err != nil {
		return nil, fmt.Errorf("traces: read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return &Traces{sdktrace.NewTracerProvider(sdktrace.WithBatcher(&saying{SpanExporter: exporter, log: cfg.Log}), sdktrace.WithResource(about))}, nil
}

// Close sends what is left.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Provider is for libraries that make spans by themselves; nil: none are made.
func (t *Traces) Provider() trace.TracerProvider {
	if t == nil {
		return nil
	}
	return t.provider
}

// Handler makes a span of every request, within the client's trace.
func (t *Traces) Handler(name string, h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return otelhttp.NewHandler(h, name, append(t.options(), otelhttp.WithSpanNameFormatter(func(name string, _ *http.Request) string { return name }))...)
}

// Transport makes a span of every request that is sent, and tells the server of it (W3C
// traceparent).
func (t *Traces) Transport(base http.RoundTripper) http.RoundTripper {
	if t == nil {
		return base
	}
	return otelhttp.NewTransport(base, t.options()...)
}

func (t *Traces) options() []otelhttp.Option {
	return []otelhttp.Option{otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{})}
}

// saying puts the faults of an exporter into the log, at most once a minute. The SDK would
// hand them to a global.
type saying struct {
	sdktrace.SpanExporter
	log *slog.Logger

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
	if now := time.Now(); s.said.IsZero() || now.Sub(s.said) >= time.Minute {
		s.log.Warn("spans cannot be sent", "dropped", s.dropped, "err", err)
		s.said, s.dropped = now, 0
	}
	return nil
}
