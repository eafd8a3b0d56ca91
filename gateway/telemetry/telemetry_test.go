package telemetry_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/telemetry"
)

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
