package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/telemetry"
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
		{env: "OTEL_TRACES_EXPORTER=none OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318"},
		{env: "OTEL_SDK_DISABLED=true OTEL_TRACES_EXPORTER=otlp"},
		{env: "OTEL_TRACES_EXPORTER=zipkin", bad: "OTEL_TRACES_EXPORTER"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc", bad: "OTEL_EXPORTER_OTLP_PROTOCOL"},
		{env: "OTEL_TRACES_EXPORTER=otlp OTEL_EXPORTER_OTLP_PROTOCOL=grpc OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json", want: true},
	} {
		t.Run(c.env, func(t *testing.T) {
			for setting := range strings.FieldsSeq(c.env) {
				name, value, _ := strings.Cut(setting, "=")
				t.Setenv(name, value)
			}
			asked, err := telemetry.Asked()
			if asked != c.want || (err != nil) != (c.bad != "") || err != nil && !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%t, %v", asked, err)
			}
		})
	}
}

// Traces from the gateway through every call to the tier: one trace, sent before Close ends.
func TestARequestAndItsCallsAreOneTrace(t *testing.T) {
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	traces, err := telemetry.Open(t.Context(), telemetry.Config{Program: "gateway", Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	var told string
	tier := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told = r.Header.Get("Traceparent") }))
	defer tier.Close()
	client := &http.Client{Transport: traces.Transport(http.DefaultTransport)}
	h := traces.Handler("POST /graphql", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequestWithContext(r.Context(), http.MethodPost, tier.URL, nil)
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	}))
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	r := httptest.NewRequest(http.MethodPost, "/graphql", nil)
	r.Header.Set("Traceparent", "00-"+id+"-00f067aa0ba902b7-01")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if !strings.Contains(told, id) {
		t.Errorf("the tier was told of trace %q", told)
	}
	if err := traces.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case sent := <-got:
		for _, part := range []string{"/v1/traces ", "POST /graphql", "gateway", "1.2.3"} {
			if !strings.Contains(sent, part) {
				t.Errorf("%q is not in what the collector got: %q", part, sent)
			}
		}
	default:
		t.Error("the collector got nothing")
	}
}

func TestWithoutAWordThereAreNone(t *testing.T) {
	traces, err := telemetry.Open(t.Context(), telemetry.Config{})
	if traces != nil || err != nil || traces.Provider() != nil || traces.Transport(nil) != nil || traces.Handler("", nil) != nil || traces.Close(t.Context()) != nil {
		t.Errorf("%v, %v", traces, err)
	}
}
