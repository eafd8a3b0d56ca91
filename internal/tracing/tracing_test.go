package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestConfigured(t *testing.T) {
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
			asked, err := Configured()
			if asked != c.want || (err != nil) != (c.bad != "") || err != nil && !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%t, %v", asked, err)
			}
		})
	}
}

// refusing is an exporter that always fails.
type refusing struct{ sdktrace.SpanExporter }

func (refusing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error {
	return errors.New("connection refused")
}

func TestLoggingExporter_LogsOncePerMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(1_000_000, 0)
	s := &loggingExporter{
		SpanExporter: refusing{},
		log:          slog.New(slog.NewTextHandler(&log, nil)),
		now:          func() time.Time { return now },
	}
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
		t.Errorf("no count of the spans dropped in the first minute:\n%s", &log)
	}
}
