package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/upstream/fakeservices"
)

// startProxy runs the proxy in front of a service.
func startProxy(t *testing.T, service http.HandlerFunc, args ...string) *testGateway {
	t.Helper()
	upstream := httptest.NewServer(service)
	t.Cleanup(upstream.Close)
	return start(t, append([]string{
		"proxy", "--upstream=" + upstream.URL, "--image-base=https://img.example.com",
		"--image-prefix=https://cdn.app.example/=posts", "--keys=k1=" + hexKey,
	}, args...)...)
}

// say opens a connection, sends text, and returns everything received until it is closed.
func say(t *testing.T, url, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	response, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection stays open; the server said %q", response)
	}
	return string(response)
}

// On every listener, a request whose body never arrives is answered and its connection closed.
func TestGateway_MissingBody_TimesOut(t *testing.T) {
	proxy := startProxy(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	serving, _ := startServe(t, fakeservices.Config{})
	for name, row := range map[string]struct{ url, request, want string }{
		"serve, public":   {serving.public, "GET /healthz", "200"},
		"serve, GraphQL":  {serving.public, "GET /graphql", "405"},
		"serve, private":  {serving.private, "GET /readyz", "200"},
		"proxy, private":  {proxy.private, "GET /metrics", "200"},
		"proxy, no route": {proxy.private, "POST /nothing", "4"},
	} {
		for _, length := range []string{"Content-Length: 5", "Transfer-Encoding: chunked"} {
			response := say(t, row.url, row.request+" HTTP/1.1\r\nHost: localhost\r\n"+length+"\r\n\r\n")
			if !strings.HasPrefix(response, "HTTP/1.1 "+row.want) {
				t.Errorf("%s, %s: %.200q", name, length, response)
			}
		}
	}
}

func TestGateway_PrivateListener_Guards(t *testing.T) {
	g, _ := startServe(t, fakeservices.Config{})
	for name, row := range map[string]struct{ request, want string }{
		"loopback":       {"GET /readyz HTTP/1.1\r\nHost: localhost", "200"},
		"rebound name":   {"GET /metrics HTTP/1.1\r\nHost: evil.example", "421"},
		"another site":   {"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site", "403"},
		"unsigned event": {"POST /v1/events HTTP/1.1\r\nHost: localhost", "401"},
		"no token":       {"POST /metrics HTTP/1.1\r\nHost: localhost", "4"},
		"command line":   {"GET /debug/pprof/cmdline HTTP/1.1\r\nHost: localhost", "404"},
	} {
		response := say(t, g.private, row.request+"\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(response, "HTTP/1.1 "+row.want) {
			t.Errorf("%s: %.300q", name, response)
		}
	}
}
