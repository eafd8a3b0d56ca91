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

// Handler returns h with a span for each request, below the caller's if it sent one (W3C Trace Context). Without a
// Tracer it returns h. The span does not have the path: with its signature it grants access to the image.
func (in *instruments) Handler(h http.Handler) http.Handler {
	if in.tracer == nil {
		return h
	}
	from := propagation.TraceContext{}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := from.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, sp := in.tracer.Start(ctx, "GET /i/", trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", method(r.Method))))
		if !sp.IsRecording() {
			defer sp.End()
			h.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		sw := &statusWriter{ResponseWriter: w}
		defer func() {
			sp.SetAttributes(attribute.Int("http.response.status_code", sw.status))
			if sw.status >= 500 || sw.status == 0 {
				sp.SetStatus(codes.Error, http.StatusText(sw.status))
			}
			sp.End()
		}()
		h.ServeHTTP(sw, r.WithContext(ctx))
	})
}

// method returns a known HTTP method or "_OTHER": a client must not choose the values in a span.
func method(name string) string {
	switch name {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodDelete:
		return name
	}
	return "_OTHER"
}

// statusWriter remembers the status. Unwrap is for http.ResponseController.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
