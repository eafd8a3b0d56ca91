package metrics

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// span is a trace.Span, or nothing if the request is not traced.
type span struct{ trace.Span }

// span starts a span below the request's. If the request is not traced (no tracer, not sampled, background work) it
// costs at most a look into ctx.
func (in *instruments) span(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, span) {
	if in.tracer == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return ctx, span{}
	}
	ctx, sp := in.tracer.Start(ctx, name, trace.WithAttributes(attrs...))
	return ctx, span{sp}
}

// end ends the span with an outcome label. An error's text stays out: it can name hosts and keys, and more people
// read traces than logs.
func (sp span) end(label string, failed bool) {
	if sp.Span == nil {
		return
	}
	sp.SetAttributes(attribute.String("imagetier.outcome", label))
	if failed {
		sp.SetStatus(codes.Error, label)
	}
	sp.End()
}

// StartRequest starts the span of a request, below the caller's if it sent one (W3C Trace Context). value returns a
// header field. end ends the span with the status of the answer, 0 if no answer was sent; it is nil without a Tracer.
// The span does not have the path: with its signature it grants access to the image.
func (in *instruments) StartRequest(
	ctx context.Context, requestMethod string, value func(name string) string,
) (traced context.Context, end func(status int)) {
	if in.tracer == nil {
		return ctx, nil
	}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier(value))
	ctx, sp := in.tracer.Start(ctx, "GET /i/", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method(requestMethod))))
	return ctx, func(status int) {
		sp.SetAttributes(attribute.Int("http.response.status_code", status))
		if status >= 500 || status == 0 {
			sp.SetStatus(codes.Error, http.StatusText(status))
		}
		sp.End()
	}
}

// carrier is the header of a request, from which a trace's context is read.
type carrier func(name string) string

func (c carrier) Get(name string) string { return c(name) }
func (carrier) Set(string, string)       {}
func (carrier) Keys() []string           { return nil }

// method returns a known HTTP method or "_OTHER": a client must not choose the values in a span.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete:
		return name
	}
	return "_OTHER"
}
