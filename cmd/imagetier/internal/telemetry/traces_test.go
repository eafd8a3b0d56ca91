package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestTheEnvironmentSaysWhetherThereAreTraces(t *testing.T) {
	for _, c := range []struct {
		env  string
		want bool
		bad  string // in the error
	}{
		{env: ""},
		{env: "OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", want: true},
		{env: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://localhost:4318/v1/traces", want: true},
		{env: "OTEL_TRACES_EXPORTER=otlp", want: true},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=http/json", want: true},
		{env: "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"},
		{env: "OTEL_SDK_DISABLED=true OTEL_TRACES_EXPORTER=otlp"},
		{env: "OTEL_TRACES_EXPORTER=zipkin", bad: "OTEL_TRACES_EXPORTER"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", bad: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf", want: true},
		{env: "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
	} {
		t.Run(c.env, func(t *testing.T) {
			for setting := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(setting, "=")
				t.Setenv(name, value)
			}
			asked, err := Traces()
			if asked != c.want || (err != nil) != (c.bad != "") || err != nil && !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%t, %v", asked, err)
			}
		})
	}
}

func TestWithoutAWordThereIsNoTracer(t *testing.T) {
	tel, _ := open(t, Config{})
	if tel.Tracer != nil {
		t.Error("there is one")
	}
	if err := tel.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSpansReachTheCollectorBeforeClosed(t *testing.T) {
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + r.Header.Get("X-Tenant") + " " + string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=images")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
	t.Setenv("OTEL_SERVICE_NAME", "thumbnails-eu")

	tel, _ := open(t, Config{Program: "imagetier", Version: "1.2.3"})
	_, span := tel.Tracer.Start(t.Context(), "cache get")
	span.End()
	if err := tel.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var request string
	select {
	case request = <-got:
	default:
		t.Fatal("the collector has got nothing")
	}
	for _, part := range []string{"/v1/traces images ", "cache get", "thumbnails-eu", "1.2.3", "deployment.environment"} {
		if !strings.Contains(request, part) {
			t.Errorf("%q is not in what the collector got: %q", part, request)
		}
	}
}

// refusing is an exporter that always fails.
type refusing struct{ sdktrace.SpanExporter }

func (refusing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("connection refused")
}

func TestACollectorThatIsDownIsSaidOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_000_000, 0)
	s := &saying{SpanExporter: refusing{}, log: slog.New(slog.NewTextHandler(&log, nil)), now: func() time.Time { return now }}
	spans := tracetest.SpanStubs{{}, {}}.Snapshots()
	for range 60 {
		if err := s.ExportSpans(t.Context(), spans); err != nil {
			t.Fatal(err) // the SDK would hand it to its global handler
		}
		now = now.Add(2 * time.Second)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 {
		t.Errorf("%d lines in two minutes:\n%s", lines, &log)
	}
	if !strings.Contains(log.String(), "dropped=60") {
		t.Errorf("what was dropped in the first minute is not there:\n%s", &log)
	}
}
