// Package telemetry makes the traces of the gateway: a span for every request, and for every
// call to the services and the tier that it makes, sent by OTLP where the environment says.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/novasocial/imagetier/internal/tracing"
)

// Config of Traces.
type Config struct {
	Program, Version string
	Log              *slog.Logger // gets what cannot be sent; nil drops it
}

// Traces are spans that are made and sent. Nil makes none.
type Traces struct{ provider *sdktrace.TracerProvider }

// Open returns nil where no traces are asked for. Sampler, headers, timeouts and the rest
// are read by OpenTelemetry's own SDK.
func Open(ctx context.Context, cfg Config) (*Traces, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	provider, err := tracing.NewProvider(ctx, cfg.Program, cfg.Version, cfg.Log)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	if provider == nil {
		return nil, nil
	}
	return &Traces{provider}, nil
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
