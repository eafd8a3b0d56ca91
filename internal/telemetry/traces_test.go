package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestOpen_NoTracerByDefault(t *testing.T) {
	tel, _ := open(t, Config{})
	if tel.Tracer != nil {
		t.Error("Tracer is set, want nil")
	}
	if err := tel.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTelemetry_Close_SendsSpans(t *testing.T) {
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
	for _, part := range []string{
		"/v1/traces images ", "cache get", "thumbnails-eu", "1.2.3", "deployment.environment",
	} {
		if !strings.Contains(request, part) {
			t.Errorf("%q is not in what the collector got: %q", part, request)
		}
	}
}
