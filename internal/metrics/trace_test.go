package metrics

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// traced traces one request through every wrapper and returns its spans.
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
	request, end := set.StartRequest(t.Context(), http.MethodGet, header.Get)
	ctx, done := set.ObserveGet(request, testRef(t))
	_, _ = tier.Get(ctx, imagecache.KeyOf(testRef(t)))
	done(imagecache.Image{}, imagecache.Outcome{Detail: imagecache.FromOrigin}, nil)
	_, _ = origin.ReadAll(request, src, "cat.jpg", origin.Cond{}, 100)
	_, _ = resize.Make(request, small, nil, resize.Spec{Format: resize.JPEG})
	end(http.StatusUnprocessableEntity)
	return spans.GetSpans()
}

func TestSet_StartRequest_TracesEachPart(t *testing.T) {
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

func TestSet_StartRequest_NotSampled(t *testing.T) {
	if spans := traced(t, sdktrace.NeverSample(), http.Header{}); len(spans) != 0 {
		t.Errorf("%d spans, want 0", len(spans))
	}
}

func TestSet_Tier_NoSpanOutsideRequest(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	set, _ := newSet(t, Config{Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")})
	_, _ = set.Tier("disk", fakeTier{}, nil).Get(t.Context(), imagecache.KeyOf(testRef(t)))
	if n := len(spans.GetSpans()); n != 0 {
		t.Errorf("%d spans, want 0", n)
	}
}

func TestSet_StartRequest_WithoutTracer(t *testing.T) {
	set, _ := newSet(t, Config{})
	ctx, end := set.StartRequest(t.Context(), http.MethodGet, func(string) string { return "" })
	if ctx != t.Context() || end != nil {
		t.Error("the request is traced")
	}
}

func TestSet_StartRequest_Status(t *testing.T) {
	for status, failed := range map[int]bool{200: false, 404: false, 502: true, 0: true} {
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		set, _ := newSet(t, Config{Tracer: provider.Tracer("test")})
		_, end := set.StartRequest(t.Context(), http.MethodGet, func(string) string { return "" })
		end(status)
		got := spans.GetSpans()[0]
		if (got.Status.Code == codes.Error) != failed ||
			!slices.Contains(got.Attributes, attribute.Int("http.response.status_code", status)) {
			t.Errorf("%d: %v with %v", status, got.Status, got.Attributes)
		}
	}
}
