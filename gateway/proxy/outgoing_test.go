package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/novasocial/imagetier/gateway/proxy"
)

// Only a trusted proxy may set the client's address, host and scheme.
func TestProxy_ForwardedHeaders(t *testing.T) {
	given := []string{
		"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: api.app.example",
		"X-Forwarded-Port: 443", "X-Real-IP: 203.0.113.7", "Forwarded: for=203.0.113.7",
	}
	for _, row := range []struct {
		trusted string // CIDR
		want    string
	}{
		{"127.0.0.0/8", "203.0.113.7, 127.0.0.1|https|api.app.example|443|203.0.113.7|for=203.0.113.7"},
		{"10.0.0.0/8", "127.0.0.1|http|HOST|||"},
		{"", "127.0.0.1|http|HOST|||"},
	} {
		asked := make(chan http.Header, 1)
		s := stand(t, func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header }, func(c *proxy.Config) {
			if row.trusted != "" {
				c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(row.trusted)}
			}
		})
		s.do("GET", "/", "", given...)
		h := <-asked
		var got []string
		for _, name := range []string{
			"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Real-Ip", "Forwarded",
		} {
			got = append(got, strings.Join(h[name], ", "))
		}
		want := strings.Replace(row.want, "HOST", strings.TrimPrefix(s.url, "http://"), 1)
		if got := strings.Join(got, "|"); got != want {
			t.Errorf("trusted %q: forwarded as %s, want %s", row.trusted, got, want)
		}
	}
}

func TestProxy_UpstreamHost(t *testing.T) {
	asked := make(chan string, 1)
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) { asked <- r.Host }, func(c *proxy.Config) {
		c.UpstreamHost = "graphql.internal"
	})
	s.do("GET", "/", "")
	if got := <-asked; got != "graphql.internal" {
		t.Errorf("the service was asked for host %s", got)
	}
}

// A rewritten answer also changes with the keys, so its date says nothing about it.
func TestProxy_ModificationDates(t *testing.T) {
	const date = "Mon, 23 Nov 2026 10:00:00 GMT"
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("If-Modified-Since"); got != "" {
			t.Errorf("the service was asked with If-Modified-Since: %s", got)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Last-Modified", date)
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		io.WriteString(w, "{}")
	}, nil)
	for kind, want := range map[string]string{"application/json": "", "image/png": date} {
		resp := s.do("GET", "/?type="+kind, "", "If-Modified-Since: "+date)
		if got := resp.Header.Get("Last-Modified"); resp.StatusCode != 200 || got != want {
			t.Errorf("%s: status %d, Last-Modified: %q, want %q", kind, resp.StatusCode, got, want)
		}
	}
}

func TestProxy_RemovesTrailers(t *testing.T) {
	for _, announced := range []string{"Content-MD5, Server-Timing, Repr-Digest, ETag", "Server-Timing"} {
		upstream := raw(t, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTrailer: "+announced+"\r\n"+
			"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n"+
			"Content-MD5: x\r\nRepr-Digest: x\r\nETag: \"x\"\r\nServer-Timing: db;dur=5\r\n\r\n")
		conn := dial(t, standBefore(t, upstream, nil).url)
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		got, err := io.ReadAll(conn)
		lower := strings.ToLower(string(got))
		if err != nil || !strings.Contains(lower, "server-timing: db;dur=5") {
			t.Errorf("announced %s: %v\n%s", announced, err, got)
		}
		for _, name := range []string{"content-md5", "repr-digest", "etag"} {
			if strings.Contains(lower, name) {
				t.Errorf("announced %s: %s is in\n%s", announced, name, got)
			}
		}
	}
}

func TestProxy_HalfClosedClient(t *testing.T) {
	asked := make(chan struct{})
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	}, nil)
	conn := dial(t, s.url)
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	_ = conn.(*net.TCPConn).CloseWrite()
	if got, _ := io.ReadAll(conn); len(got) > 0 {
		t.Errorf("answered with %q, want a closed connection", got)
	}
	if o := s.observation(); o.Status != 499 || o.Upstream {
		t.Errorf("observed %+v", o)
	}
}

func TestProxy_BoundsHeadersOfAnswer(t *testing.T) {
	for size, want := range map[int]int{32 << 10: http.StatusOK, 100 << 10: http.StatusBadGateway} {
		st := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("a", size))
		}, nil)
		resp := st.do(http.MethodGet, "/", "")
		if text(t, resp); resp.StatusCode != want {
			t.Errorf("%d bytes: %s, want %d", size, resp.Status, want)
		}
	}
}

func TestProxy_OnlyWebSocketUpgrades(t *testing.T) {
	for _, upgrade := range []string{"h2c", "TLS/1.2", "websocket, h2c"} {
		s := stand(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header["Upgrade"] != nil || r.Header["Http2-Settings"] != nil {
				t.Errorf("%s: the service was asked with %v", upgrade, r.Header)
			}
			fmt.Fprint(w, "plain")
		}, nil)
		conn := dial(t, s.url)
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+upgrade+
			"\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != 200 || text(t, resp) != "plain" {
			t.Errorf("%s: %v, %v", upgrade, resp, err)
		}
	}
	// A switch of protocols that the client did not request is refused.
	s := standBefore(t, raw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), nil)
	if resp := s.do("GET", "/", ""); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("status %d", resp.StatusCode)
	}
	if resp := s.do("CONNECT", "/", ""); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("CONNECT: status %d", resp.StatusCode)
	}
}

func TestProxy_MaxRequestBytes(t *testing.T) {
	t.Run("100 KiB", func(t *testing.T) { maxRequestBytes(t, 100<<10) }) // less than a query may have
	t.Run("300 KiB", func(t *testing.T) { maxRequestBytes(t, 300<<10) })
}

func maxRequestBytes(t *testing.T, limit int) {
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) },
		func(c *proxy.Config) { c.MaxRequestBytes = int64(limit) })
	says := fmt.Sprintf("%d bytes (--max-request-bytes)", limit)
	for _, kind := range []string{"application/json", "application/octet-stream"} {
		for _, row := range []struct{ size, status int }{{limit, 200}, {limit + 1, 413}} {
			for name, body := range map[string]io.Reader{
				"of known length": strings.NewReader(strings.Repeat("x", row.size)),
				"chunked":         io.LimitReader(zeros{}, int64(row.size)),
			} {
				req, err := http.NewRequestWithContext(t.Context(), "POST", s.url, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Content-Type", kind)
				resp, err := browser.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				responseText := text(t, resp)
				resp.Body.Close()
				if resp.StatusCode != row.status ||
					row.status == 413 && !strings.Contains(responseText, says) {
					t.Errorf("%s of %d bytes, %s: %d %s", kind, row.size, name, resp.StatusCode, responseText)
				}
			}
		}
	}
}

// While queries with slow answers hold memory, small ones still fit. Slow ones release theirs at
// the end.
func TestProxy_BodiesMemory(t *testing.T) {
	begun, leave := make(chan struct{}), make(chan struct{})
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 100_000 {
			begun <- struct{}{}
			<-leave
		}
	}, nil)
	post := func(size int) int {
		body := strings.NewReader(`{"query":"` + strings.Repeat(" ", size) + `"}`)
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url, body)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := browser.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	var waiting sync.WaitGroup
	refused := make(chan int, 1)
	held := 0
	for full := false; !full; {
		waiting.Go(func() {
			if status := post(200 << 10); status != http.StatusOK {
				refused <- status
			}
		})
		select {
		case <-begun:
			if held++; held*200<<10 > 32<<20 {
				t.Fatalf("%d bodies of 200 KiB are held", held)
			}
		case status := <-refused:
			full = true
			if status != http.StatusServiceUnavailable {
				t.Errorf("status %d", status)
			}
		}
	}
	if held < 50 {
		t.Errorf("%d bodies of 200 KiB are too many", held)
	}
	if status := post(1000); status != http.StatusOK {
		t.Errorf("a small body beside %d large ones: %d", held, status)
	}
	close(leave)
	waiting.Wait()
	go func() { <-begun }()
	if status := post(200 << 10); status != http.StatusOK {
		t.Errorf("afterwards a large body: %d", status)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// closing is a service that closes its first connection when the second request arrives on it, as
// if the request and the closing of an idle connection had crossed.
func closing(t *testing.T) (url string, requests *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests = &atomic.Int32{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				from := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(from)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					if requests.Add(1) == 2 {
						return
					}
					io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	return "http://" + l.Addr().String(), requests
}

func TestProxy_ClosingConnection(t *testing.T) {
	for body, want := range map[string]int{
		`{"query":"{a}"}`: 200,
		`{"query":"query A{a} mutation B{b}","operationName":"A"}`: 502,
		`{"query":"mutation{b}"}`:                                  502,
		`[{"query":"{a}"},{"query":"mutation{b}"}]`:                502,
		`{"query":"{a"}`:                                           502, // not known to be a query
	} {
		upstream, requests := closing(t)
		s := standBefore(t, upstream, nil)
		text(t, s.do("POST", "/", `{"query":"{a}"}`, "Content-Type: application/json"))
		resp := s.do("POST", "/", body, "Content-Type: application/json")
		text(t, resp)
		if resp.StatusCode != want || want == 200 && requests.Load() != 3 {
			t.Errorf("%s: status %d, want %d; the service saw %d requests",
				body, resp.StatusCode, want, requests.Load())
		}
	}
}
