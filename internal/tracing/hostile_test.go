package tracing

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// With a hostile collector, spans end at once, the shutdown ends with its context, and the bytes that are read
// and logged of its answers are bounded.
func TestNewProvider_HostileCollector(t *testing.T) {
	var sent atomic.Int64 // bytes of an endless body
	endless := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			piece := bytes.Repeat([]byte("a"), 64<<10)
			for {
				n, err := w.Write(piece)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}
	}
	for name, c := range map[string]struct {
		collector http.HandlerFunc
		log       string
	}{
		"hangs": {
			func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-r.Context().Done()
			}, "",
		},
		"garbage": {
			func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = conn.Write(bytes.Repeat([]byte{0xff, 0}, 1<<10))
					_ = conn.Close()
				}
			}, "malformed HTTP response",
		},
		"garbage as protobuf": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/x-protobuf")
				_, _ = w.Write([]byte("\x0a\xff\xff\xff\xff\x0f"))
			}, "trace export failed",
		},
		"endless body":  {endless(200), "too large"},
		"endless error": {endless(400), "too large"},
		"long error": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write(bytes.Repeat([]byte("a"), 1<<20))
			}, "too large",
		},
		"redirects": {
			func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			}, "stopped after 10 redirects",
		},
		"asks for a retry in a year": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "31536000")
				w.WriteHeader(http.StatusServiceUnavailable)
			}, "max retry time would elapse",
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent.Store(0)
			server := httptest.NewServer(c.collector)
			defer server.Close()
			defer server.CloseClientConnections()
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
			var log bytes.Buffer
			provider, err := NewProvider(t.Context(), "test", "1", slog.New(slog.NewTextHandler(&log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			tracer := provider.Tracer("test")
			for range 10_000 { // the queue has 2,048
				_, span := tracer.Start(t.Context(), "request")
				span.End()
			}
			wait := 20 * time.Second
			if c.log == "" {
				wait = 100 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			defer cancel()
			if err := provider.Shutdown(ctx); (err != nil) != (c.log == "") {
				t.Errorf("shutdown: %v", err)
			}
			if c.log == "" {
				return // the log may still be written
			}
			if !strings.Contains(log.String(), c.log) || log.Len() > 2*maxAnswer {
				t.Errorf("%d bytes of log: %.500s", log.Len(), &log)
			}
			if got := sent.Load(); got > 64<<20 {
				t.Errorf("%d MiB of the body were taken", got>>20)
			}
		})
	}
}
