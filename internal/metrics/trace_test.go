package metrics

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

const secretPath = "/i/k1.Jf3kPq0u2mVbXyWc8tRz1A/64x64/v.1/posts/cat.jpg.webp"

// traced serves one request through every wrapper and returns its spans.
func traced(t *testing.T, sampler sdktrace.Sampler, header http.Header) tracetest.SpanStubs {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sampler))
	set, _ := newSet(t, Config{Tracer: provider.Tracer("test")})

	src := set.Source("posts", sourceFunc(func(context.Context) (*origin.Object, error) {
		return streamed(strings.NewReader("picture")), nil
	}))
	small := set.Resizer(resizerFunc(func([]resize.Spec) ([]resize.Image, error) { return nil, resize.ErrCorrupt }))
	tier := set.Tier("disk", fakeTier{imagecache.ErrMiss}, nil)
	h := set.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done := set.ObserveGet(r.Context(), testRef(t))
		_, _ = tier.Get(ctx, imagecache.KeyOf(testRef(t)))
		done(imagecache.Image{}, imagecache.Outcome{Detail: imagecache.FromOrigin}, nil)
		_, _ = origin.ReadAll(r.Context(), src, "cat.jpg", origin.Cond{}, 100)
		_, _ = small.Resize(r.Context(), nil, resize.Spec{Format: resize.JPEG})
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Errorf("the handler cannot reach the connection: %v", err)
		}
		w.WriteHeader(http.StatusUnprocessableEntity)
	}))
	r := httptest.NewRequest(http.MethodGet, secretPath, nil)
	r.Header = header
	h.ServeHTTP(httptest.NewRecorder(), r)
	return spans.GetSpans()
}

func TestSet_Handler_TracesEachPart(t *testing.T) {
	spans := traced(t, sdktrace.AlwaysSample(), http.Header{
		"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
	})
	var names []string
	for _, s := range spans {
		names = append(names, s.Name)
		if s.SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s is of another trace than the caller's", s.Name)
		}
		for _, attr := range s.Attributes {
			if strings.Contains(attr.Value.String(), "Jf3k") {
				t.Errorf("%s wantLines the signature", s.Name)
			}
		}
	}
	slices.Sort(names)
	want := []string{"GET /i/", "cache get", "origin open", "resize", "tier get"}
	if !slices.Equal(names, want) {
		t.Errorf("spans are %q, not %q", names, want)
	}
}

func TestSet_Handler_NotSampled(t *testing.T) {
	if spans := traced(t, sdktrace.NeverSample(), http.Header{}); len(spans) != 0 {
		t.Errorf("there are %d spans", len(spans))
	}
}

func TestSet_Tier_NoSpanOutsideRequest(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	set, _ := newSet(t, Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")})
	_, _ = set.Tier("disk", fakeTier{}, nil).Get(t.Context(), imagecache.KeyOf(testRef(t)))
	if n := len(spans.GetSpans()); n != 0 {
		t.Errorf("there are %d spans", n)
	}
}

func TestSet_Handler_WithoutTracer(t *testing.T) {
	set, _ := newSet(t, Config{})
	h := http.NotFoundHandler()
	r := httptest.NewRequest(http.MethodGet, secretPath, nil)
	rec := httptest.NewRecorder()
	set.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if w != http.ResponseWriter(rec) || trace.SpanContextFromContext(r.Context()).IsValid() {
			t.Error("something was put between")
		}
		h.ServeHTTP(w, r)
	})).ServeHTTP(rec, r)
	if rec.Code != http.StatusNotFound {
		t.Error(rec.Code)
	}
}

func TestSet_Handler_ImplicitStatus200(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	set, _ := newSet(t, Config{Tracer: provider.Tracer("test")})
	set.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "picture")
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/i/", nil))
	for _, attr := range spans.GetSpans()[0].Attributes {
		if attr.Key == "http.response.status_code" && attr.Value.AsInt64() == 200 {
			return
		}
	}
	t.Errorf("the span does not say 200: %v", spans.GetSpans()[0].Attributes)
}
