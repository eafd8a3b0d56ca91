package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/cmd/imagetier-gateway/internal/config"
)

// A request and its calls to the tier are one trace, exported before close returns.
func TestGateway_Traced_ConnectsRequestAndCalls(t *testing.T) {
	got := make(chan string, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + " " + string(body)
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	cfg := config.Config{ImageBase: "https://img.example.com", Dev: true}
	g, err := openGateway(t.Context(), cfg, "serve", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var traceparent string
	tier := httptest.NewServer(
		http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { traceparent = r.Header.Get("Traceparent") }),
	)
	defer tier.Close()
	client := &http.Client{Transport: g.transport(http.DefaultTransport)}
	h := g.traced("POST /graphql", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
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
	if !strings.Contains(traceparent, id) {
		t.Errorf("the tier got trace %q", traceparent)
	}
	g.close()
	select {
	case sent := <-got:
		for _, part := range []string{"/v1/traces ", "POST /graphql", "imagetier-gateway"} {
			if !strings.Contains(sent, part) {
				t.Errorf("%q is not in what the collector got: %q", part, sent)
			}
		}
	default:
		t.Error("the collector got nothing")
	}
}

func TestGateway_Traced_NothingWithoutCollector(t *testing.T) {
	cfg := config.Config{ImageBase: "https://img.example.com", Dev: true}
	g, err := openGateway(t.Context(), cfg, "proxy", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if g.telemetry.Provider() != nil || g.transport(nil) != nil || g.traced("", nil) != nil {
		t.Error("requests are traced")
	}
}
