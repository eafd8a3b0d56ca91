package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/proxy"
)

// A decoded body is read to its end, so that the connection can be used again.
func TestProxy_ReusesConnections(t *testing.T) {
	for _, coding := range []string{"", "gzip", "br", "zstd"} {
		var dialled atomic.Int32
		body := before()
		if coding != "" {
			body = compressed(t, coding, body)
		}
		upstream := httptest.NewUnstartedServer(answering("application/json", body, "Content-Encoding: "+coding))
		upstream.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				dialled.Add(1)
			}
		}
		upstream.Start()
		t.Cleanup(upstream.Close)
		s := standBefore(t, upstream.URL, nil)
		for range 50 {
			text(t, s.do("POST", "/", `{"query":"{a}"}`, "Content-Type: application/json"))
		}
		if n := dialled.Load(); n > 2 { // one may race with its own return to the pool
			t.Errorf("with %q the service saw %d connections for 50 requests", coding, n)
		}
	}
}

func TestProxy_AbortedAnswers_NoLeak(t *testing.T) {
	endless := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", r.URL.Query().Get("coding"))
		to, flush := io.Writer(w), func() {}
		if coding := r.URL.Query().Get("coding"); coding != "" {
			c := compressor(t, coding, w)
			to, flush = c, func() { c.Flush() }
		}
		for r.Context().Err() == nil {
			if _, err := io.WriteString(to, strings.Repeat(before(), 10)); err != nil {
				return
			}
			flush()
		}
	}
	s := stand(t, endless, nil)
	count := func() int { runtime.GC(); return runtime.NumGoroutine() }
	started := 0
	for round := range 3 {
		for i := range 8 {
			conn := dial(t, s.url)
			fmt.Fprintf(conn, "GET /?coding=%s HTTP/1.1\r\nHost: x\r\n\r\n", []string{"", "gzip", "br", "zstd"}[i%4])
			if _, err := io.ReadFull(bufio.NewReader(conn), make([]byte, 200)); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if o := s.observation(); !o.Broken || o.Upstream {
				t.Fatalf("observed %+v", o)
			}
		}
		browser.CloseIdleConnections()
		if round == 0 {
			started = count()
		}
	}
	for deadline := time.Now().Add(10 * time.Second); count() > started+5; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d after the first round", count(), started)
		}
	}
}

func TestProxy_HTTP2_TruncatedAnswer(t *testing.T) {
	u, err := url.Parse(raw(t,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := proxy.New(proxy.Config{Upstream: u, Linker: newLinker(t), Fields: fields})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(p)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	server.Config.Protocols = &protocols
	server.Start()
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	resp, err := client.Get(server.URL)
	if err != nil {
		return // before its headers
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil || resp.ProtoMajor != 2 {
		t.Errorf("HTTP/%d: the truncated response was read without an error: %q", resp.ProtoMajor, body)
	}
}

func TestProxy_TrailersAndEarlyHints(t *testing.T) {
	s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Trailer", "Server-Timing")
		io.WriteString(w, before())
		w.Header().Set("Server-Timing", "db;dur=5")
	}, nil)
	conn := dial(t, s.url)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: "+iPhone+"\r\nConnection: close\r\n\r\n")
	got, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 103 ") ||
		!strings.Contains(string(got), "Server-Timing: db;dur=5") ||
		!strings.Contains(string(got), signed(t, "a.jpg")) {
		t.Errorf("%v\n%s", err, got)
	}
}
