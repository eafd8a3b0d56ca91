package weborigin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/origintest"
)

func newSource(t *testing.T, cfg Config) *Source {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

// fakeServer serves originals by their exact request targets.
type fakeServer struct {
	mu        sync.Mutex
	originals map[string]original // guarded by mu
}

type original struct {
	body     []byte
	etag     string
	modified time.Time
}

func (s *fakeServer) put(target string, body []byte, etag string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.originals[target] = original{body, etag, time.Now()}
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	o, ok := s.originals[r.RequestURI]
	s.mu.Unlock()
	if !ok {
		http.Error(w, "no such page", http.StatusNotFound)
		return
	}
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	http.ServeContent(w, r, "a.jpg", o.modified, strings.NewReader(string(o.body)))
}

func TestSource_Conformance(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){
		"HTTP 1.1": (*httptest.Server).Start,
		"HTTP 2":   func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() },
	} {
		t.Run(name, func(t *testing.T) {
			origintest.Run(t, func(t *testing.T) origintest.Origin {
				fake := &fakeServer{originals: map[string]original{}}
				server := httptest.NewUnstartedServer(fake)
				server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that leave during a handshake
				start(server)
				t.Cleanup(server.Close)
				cfg := Config{Base: server.URL + "/base", AllowPrivate: true}
				if server.TLS != nil {
					roots := x509.NewCertPool()
					roots.AddCert(server.Certificate())
					cfg.TLS = &tls.Config{RootCAs: roots}
				}
				return origintest.Origin{
					Source: newSource(t, cfg),
					Put: func(t testing.TB, name string, body []byte) {
						fake.put("/base/"+name, body, fmt.Sprintf(`"%x"`, sha256.Sum256(body)))
					},
					Delete: func(t testing.TB, name string) {
						fake.mu.Lock()
						defer fake.mu.Unlock()
						delete(fake.originals, "/base/"+name)
					},
					Date: func(t testing.TB, name string, modified time.Time) {
						fake.mu.Lock()
						defer fake.mu.Unlock()
						o := fake.originals["/base/"+name]
						o.modified = modified
						fake.originals["/base/"+name] = o
					},
					PutWeak: func(t testing.TB, name string, body []byte) {
						fake.put("/base/"+name, body, `W/"weak"`)
					},
					PutBare:  func(t testing.TB, name string, body []byte) { fake.put("/base/"+name, body, "") },
					Names:    goodNames,
					BadNames: badNames,
				}
			})
		})
	}
}

// sourceOf returns a Source whose server is h.
func sourceOf(t *testing.T, cfg Config, h http.HandlerFunc) *Source {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	cfg.Base, cfg.AllowPrivate = server.URL, true
	return newSource(t, cfg)
}

func TestSource_Open_Statuses(t *testing.T) {
	for _, c := range []struct {
		status  int
		cond    origin.Cond
		missing bool // MissingIs403
		want    error
	}{
		{status: 404, want: origin.ErrNotFound},
		{status: 410, want: origin.ErrNotFound},
		{status: 401, want: origin.ErrDenied},
		{status: 403, want: origin.ErrDenied},
		{status: 412, cond: origin.Cond{Match: "x"}, want: origin.ErrChanged},
		{status: 412, want: origin.ErrRejected},
		{status: 429, want: origin.ErrBusy},
		{status: 503, want: origin.ErrBusy},
		{status: 304, cond: origin.Cond{NoneMatch: `"x"`}, want: origin.ErrNotModified},
		{status: 304, cond: origin.Cond{ModifiedSince: time.Now()}, want: origin.ErrNotModified},
		{status: 304, cond: origin.Cond{Match: "x"}, want: origin.ErrRejected},
		{status: 304, want: origin.ErrRejected},
		{status: 201, want: origin.ErrRejected},
		{status: 203},
		{status: 408, want: origin.ErrBusy},
		{status: 403, missing: true, want: origin.ErrNotFound},
		{status: 401, missing: true, want: origin.ErrDenied},
		{status: 204, want: origin.ErrRejected},
		{status: 206, want: origin.ErrRejected},
		{status: 300, want: origin.ErrRejected},
		{status: 400, want: origin.ErrRejected},
		{status: 405, want: origin.ErrRejected},
		{status: 416, want: origin.ErrRejected},
		{status: 451, want: origin.ErrRejected},
		{status: 500, want: origin.ErrUnavailable},
		{status: 502, want: origin.ErrUnavailable},
		{status: 504, want: origin.ErrUnavailable},
		{status: 599, want: origin.ErrUnavailable},
	} {
		answer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.status) }
		src := sourceOf(t, Config{MissingIs403: c.missing}, answer)
		_, err := src.Open(t.Context(), "a.jpg", c.cond)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%d with %+v: error %v, want %v", c.status, c.cond, err, c.want)
		}
	}
}

func TestSource_Open_RetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "0": 0, "": 0, "soon": 0, "-7": 0, "99999999": 24 * time.Hour, "99999999999999999999": 0,
		"Sun, 22 Nov 2026 10:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 09:00:00 GMT": 0,
	} {
		if got := retryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	src := sourceOf(t, Config{}, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := src.Open(t.Context(), "a.jpg", origin.Cond{})
	var busy *origin.Busy
	if !errors.As(err, &busy) || busy.RetryAfter != 7*time.Second {
		t.Errorf("error %v: %+v", err, busy)
	}
}

func TestSource_Open_RequestHeaders(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // would fail
	var seen http.Header
	src := sourceOf(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header.Clone()
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	})
	want := "map[Accept:[*/*] Accept-Encoding:[identity] User-Agent:[imagetier/1]]"
	for range 2 { // the second request would send the cookie
		obj, err := src.Open(t.Context(), "a.jpg", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		obj.Body.Close()
		if got := fmt.Sprint(seen); got != want {
			t.Errorf("sent %s, want %s", got, want)
		}
	}
	if obj, err := src.Open(t.Context(), "a.jpg", origin.Cond{Match: "x-1"}); !errors.Is(err, origin.ErrChanged) {
		t.Errorf("answer without a tag: %v, %v", obj, err)
	}
	if got := seen.Get("If-Match"); got != `"x-1"` {
		t.Errorf("If-Match: %s", got)
	}
}

func TestSource_Open_Freshness(t *testing.T) {
	headers := map[string]string{"Cache-Control": "max-age=60, stale-while-revalidate=30", "Age": "20"}
	src := sourceOf(t, Config{MaxHeuristic: time.Hour}, func(w http.ResponseWriter, r *http.Request) {
		for k, v := range headers {
			w.Header().Set(k, v)
		}
		w.Header().Set("ETag", `"1"`)
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(http.StatusNotModified)
		}
	})
	fresh := func(cond origin.Cond) origin.Freshness {
		t.Helper()
		obj, err := src.Open(t.Context(), "a.jpg", cond)
		var nm *origin.NotModified
		switch {
		case errors.As(err, &nm):
			return nm.Fresh
		case err != nil:
			t.Fatal(err)
		}
		obj.Body.Close()
		return obj.Fresh
	}
	for _, cond := range []origin.Cond{{}, {NoneMatch: `"1"`}} {
		f := fresh(cond)
		if f.Lifetime != time.Minute || f.StaleWhileRevalidate != 30*time.Second || f.Age < 20*time.Second ||
			f.Age > time.Minute {
			t.Errorf("with %+v: %+v", cond, f)
		}
	}
	headers = map[string]string{"Last-Modified": "Sun, 22 Nov 2020 10:00:00 GMT"}
	if f := fresh(origin.Cond{}); f.Lifetime != time.Hour || f.Silent {
		t.Errorf("heuristic: %+v", f)
	}
	if f := fresh(origin.Cond{NoneMatch: `"1"`}); !f.Silent {
		t.Errorf("heuristic for a 304: %+v", f)
	}
}

func TestSource_Open_MalformedTag(t *testing.T) {
	for _, tags := range [][]string{{"1"}, {`"1`}, {`w/"1"`}, {`"a b"`}, {`"1"`, `"2"`}, {`"1", "2"`}, {""}} {
		src := sourceOf(t, Config{}, func(w http.ResponseWriter, _ *http.Request) { w.Header()["ETag"] = tags })
		obj, err := src.Open(t.Context(), "a.jpg", origin.Cond{})
		if err != nil {
			t.Fatal(err)
		}
		obj.Body.Close()
		if obj.ETag != "" {
			t.Errorf("%q: entity tag %s, want none", tags, obj.ETag)
		}
	}
}

func TestSource_Open_Redirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "other %s %s", r.Header.Get("Referer"), r.Header.Get("User-Agent"))
	}))
	defer other.Close()
	locations := map[string]string{
		"/same": "/good", "/relative": "good", "/1": "/2", "/2": "/3",
		"/3": "/good", "/0": "/1", "/other": other.URL + "/x",
		"/user": "http://u:p@" + strings.TrimPrefix(other.URL, "http://") + "/x",
		"/port": "http://127.0.0.1:1/x", "/name": "http://localhost/x",
		"/scheme": "ftp://127.0.0.1/x", "/none": "", "/bad": "http://[::1",
	}
	h := func(w http.ResponseWriter, r *http.Request) {
		if to, ok := locations[r.URL.Path]; ok {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
			return
		}
		fmt.Fprint(w, r.URL.Path)
	}
	strict := sourceOf(t, Config{}, h)
	open := sourceOf(t, Config{RedirectHosts: []string{strings.TrimPrefix(other.URL, "http://")}}, h)
	for _, c := range []struct {
		src  *Source
		name string
		want string
		err  error
	}{
		{strict, "good", "/good", nil},
		{strict, "same", "/good", nil},
		{strict, "relative", "/good", nil},
		{strict, "1", "/good", nil}, // three redirects
		{strict, "0", "", origin.ErrRejected},
		{strict, "other", "", origin.ErrDenied},
		{open, "other", "other  imagetier/1", nil}, // without a Referer
		{open, "user", "", origin.ErrDenied},
		{open, "port", "", origin.ErrDenied},
		{open, "name", "", origin.ErrDenied},
		{open, "scheme", "", origin.ErrDenied},
		{open, "none", "", origin.ErrRejected},
		{open, "bad", "", origin.ErrUnavailable},
	} {
		got, err := origin.ReadAll(t.Context(), c.src, c.name, origin.Cond{}, 100)
		if !errors.Is(err, c.err) || string(got.Body) != c.want || c.err == nil && err != nil {
			t.Errorf("%s: got %q, error %v; want %q, %v", c.name, got.Body, err, c.want, c.err)
		}
	}
}

func TestSource_Open_NoRedirectFromHTTPS(t *testing.T) {
	var to string
	server := httptest.NewTLSServer(
		http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusMovedPermanently) },
		),
	)
	defer server.Close()
	to = "http" + strings.TrimPrefix(server.URL, "https") + "/a.jpg"
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	src := newSource(t, Config{Base: server.URL, AllowPrivate: true, TLS: &tls.Config{RootCAs: roots}})
	if _, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); !errors.Is(err, origin.ErrDenied) {
		t.Errorf("error %v", err)
	}
}

func TestSource_CheckRedirect_Hosts(t *testing.T) {
	s := newSource(
		t,
		Config{Base: "https://Example.com/", RedirectHosts: []string{"CDN.example.com", "b.example.com:8443"}},
	)
	for host, want := range map[string]bool{
		"https://example.com/": true, "https://EXAMPLE.com:443/": true,
		"https://example.com./": true, "https://cdn.example.com/": true,
		"https://b.example.com:8443/": true, "https://b.example.com/": false,
		"https://example.com:8443/": false, "https://example.com.evil.test/": false,
		"https://evil-example.com/": false, "https://a.example.com/": false, "https://example.com:80/": false,
	} {
		req := httptest.NewRequest(http.MethodGet, host, nil)
		from := httptest.NewRequest(http.MethodGet, "https://example.com/", nil)
		if err := s.checkRedirect(req, []*http.Request{from}); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
}

func TestSource_Open_PrivateAddress(t *testing.T) {
	reached := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"} {
		src := newSource(t, Config{Base: "http://" + host + ":" + port})
		if _, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); !errors.Is(err, origin.ErrDenied) {
			t.Errorf("%s: error %v", host, err)
		}
	}
	if reached {
		t.Error("the server got a request")
	}
}

// nameServer returns a Resolver that answers each query for an IPv4 address with the next
// of addrs, and keeps repeating the last.
func nameServer(t *testing.T, addrs ...[4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			end := 12 // the question: labels, type, class
			for end < n && buf[end] != 0 {
				end += int(buf[end]) + 1
			}
			end += 5
			answer := append([]byte{}, buf[:end]...)
			answer[2], answer[3] = 0x81, 0x80              // a response, recursion available
			copy(answer[6:12], make([]byte, 6))            // no records
			if binary.BigEndian.Uint16(buf[end-4:]) == 1 { // A
				answer[7] = 1
				answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4) // TTL 0
				answer = append(answer, addrs[0][:]...)
				if len(addrs) > 1 {
					addrs = addrs[1:]
				}
			}
			_, _ = conn.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestSource_Open_DNSRebinding(t *testing.T) {
	reached := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer server.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server.URL, "http://"))
	base := "http://rebind.example:" + port

	// Check the name server: with AllowPrivate the loopback address is reached.
	src := newSource(t, Config{Base: base, AllowPrivate: true, Resolver: nameServer(t, [4]byte{127, 0, 0, 1})})
	if obj, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); err != nil || reached != 1 {
		t.Fatalf("error %v, reached %d times", err, reached)
	} else {
		obj.Body.Close()
	}

	// First a public address, then loopback. The dialer stops after the check so that
	// the test does not connect to the public address.
	src = newSource(t, Config{Base: base, Resolver: nameServer(t, [4]byte{93, 184, 216, 34}, [4]byte{127, 0, 0, 1})})
	stop := errors.New("stopped before connecting")
	check := func(ctx context.Context, network, address string, c syscall.RawConn) error {
		if err := refuseInternal(ctx, network, address, c); err != nil {
			return err
		}
		return stop
	}
	dialer := &net.Dialer{Resolver: src.cfg.Resolver, ControlContext: check}
	src.client.Transport.(*http.Transport).DialContext = dialer.DialContext
	if _, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); !errors.Is(err, stop) {
		t.Fatalf("first: error %v", err)
	}
	if _, err := src.Open(t.Context(), "a.jpg", origin.Cond{}); !errors.Is(err, origin.ErrDenied) {
		t.Errorf("second: error %v, want ErrDenied", err)
	}
	if reached != 1 {
		t.Error("the server got a request")
	}
}

func TestSource_Head_FallsBackToGet(t *testing.T) {
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		var methods []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			methods = append(methods, r.Method)
			w.Header().Set("ETag", `"1"`)
			if r.Method == http.MethodHead {
				w.WriteHeader(status)
				return
			}
			w.Header().Set("Content-Length", "1000000000")
			w.(http.Flusher).Flush()
			<-r.Context().Done() // the body is never read
		}))
		src := newSource(t, Config{Base: server.URL, AllowPrivate: true})
		meta, err := src.Head(t.Context(), "a.jpg")
		server.Close()
		if err != nil || meta.ETag != `"1"` || meta.Size != 1000000000 || strings.Join(methods, " ") != "HEAD GET" {
			t.Errorf("status %d: %+v, %v, methods %v", status, meta, err, methods)
		}
	}
}

// A redirect to the same host gets the cookies that it has set in this fetch; no other request
// gets any.
func TestSource_Open_CookiesOfRedirects(t *testing.T) {
	cookies := func(r *http.Request) string { return r.Header.Get("Cookie") }
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "other host: %q", cookies(r))
	}))
	t.Cleanup(other.Close)
	src := sourceOf(t, Config{RedirectHosts: []string{strings.TrimPrefix(other.URL, "http://")}},
		func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/a":
				http.SetCookie(w, &http.Cookie{Name: "gate", Value: "1"})
				http.SetCookie(w, &http.Cookie{Name: "kept", Value: "x"})
				http.Redirect(w, r, "/b", http.StatusFound)
			case "/b":
				http.SetCookie(w, &http.Cookie{Name: "gate", Value: "2"})
				http.Redirect(w, r, "/c", http.StatusFound)
			case "/elsewhere":
				http.SetCookie(w, &http.Cookie{Name: "gate", Value: "1"})
				http.Redirect(w, r, other.URL+"/", http.StatusFound)
			default:
				fmt.Fprint(w, cookies(r))
			}
		})
	for _, c := range []struct{ name, want string }{
		{"a", "gate=2; kept=x"},
		{"c", ""},
		{"elsewhere", `other host: ""`},
	} {
		got, err := origin.ReadAll(t.Context(), src, c.name, origin.Cond{}, 100)
		if err != nil || string(got.Body) != c.want {
			t.Errorf("%s: cookies %q, error %v, want %q", c.name, got.Body, err, c.want)
		}
	}
}
