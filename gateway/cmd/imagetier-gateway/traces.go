package main

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
)

// traced starts a span for every request, within the client's trace.
func (g *gateway) traced(name string, h http.Handler) http.Handler {
	if g.telemetry.Provider() == nil {
		return h
	}
	naming := otelhttp.WithSpanNameFormatter(func(name string, _ *http.Request) string { return name })
	return otelhttp.NewHandler(h, name, append(g.traceOptions(), naming)...)
}

// transport starts a span for every outgoing request, and propagates the trace in the header
// traceparent (W3C Trace Context).
func (g *gateway) transport(base http.RoundTripper) http.RoundTripper {
	if g.telemetry.Provider() == nil {
		return base
	}
	return otelhttp.NewTransport(base, g.traceOptions()...)
}

func (g *gateway) traceOptions() []otelhttp.Option {
	return []otelhttp.Option{
		otelhttp.WithTracerProvider(g.telemetry.Provider()),
		otelhttp.WithPropagators(propagation.TraceContext{}),
	}
}
