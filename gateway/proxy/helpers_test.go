package proxy_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/prefetch/profile"
)

const keyText = "k1=1111111111111111111111111111111111111111111111111111111111111111"

// fields are the fields whose URLs are signed, with their profiles.
var fields = []proxy.Field{
	{Name: "imageUrl", Profile: "feed"},
	{Name: "thumbnailUrl", Profile: "feed", Fill: "imageUrl"},
	{Name: "avatarUrl", Profile: "avatar"},
}

func newLinker(t testing.TB, change ...func(*imagelink.Config)) *imagelink.Linker {
	t.Helper()
	var prefixes []profile.Prefix
	for _, text := range []string{
		"https://cdn.app.example/=posts", "https://avatars.example/=avatars?version=query:v",
	} {
		p, err := profile.ParsePrefix(text)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, p)
	}
	links, err := profile.NewLinks(prefixes...)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := imageurl.ParseKeys(keyText)
	if err != nil {
		t.Fatal(err)
	}
	cfg := imagelink.Config{Base: "https://img.example.com", Links: links, Keys: []imagelink.Key{{Key: keys[0]}}}
	for _, c := range change {
		c(&cfg)
	}
	linker, err := imagelink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return linker
}

// stage is a proxy in front of a service.
type stage struct {
	url string
	t   *testing.T

	mu       sync.Mutex
	seen     []proxy.Observation
	observed chan struct{}
}

// stand starts a proxy in front of a service. change may be nil.
func stand(t *testing.T, service http.HandlerFunc, change func(*proxy.Config)) *stage {
	t.Helper()
	upstream := httptest.NewServer(service)
	t.Cleanup(upstream.Close)
	return standBefore(t, upstream.URL, change)
}

func standBefore(t *testing.T, upstream string, change func(*proxy.Config)) *stage {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{t: t, observed: make(chan struct{}, 1000)}
	cfg := proxy.Config{
		Upstream: u, Linker: newLinker(t), Fields: fields, Log: slog.New(slog.DiscardHandler),
		Observe: func(o proxy.Observation) {
			s.mu.Lock()
			s.seen = append(s.seen, o)
			s.mu.Unlock()
			s.observed <- struct{}{}
		},
	}
	if change != nil {
		change(&cfg)
	}
	p, err := proxy.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p)
	t.Cleanup(func() { server.Close(); p.Close() })
	s.url = server.URL
	return s
}

// observation returns the next observation.
func (s *stage) observation() proxy.Observation {
	s.t.Helper()
	<-s.observed
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.seen[0]
	s.seen = s.seen[1:]
	return o
}

// browser is a client that neither decodes bodies nor follows redirects.
var browser = &http.Client{
	Transport:     &http.Transport{DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

const iPhone = "App/1.0 (iPhone; iOS 17.4; Scale/3.00)"

// do sends a request with headers "Name: value".
func (s *stage) do(method, path, body string, headers ...string) *http.Response {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("User-Agent", iPhone)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	resp, err := browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answering is a service with a constant answer.
func answering(contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for _, header := range headers {
			name, value, _ := strings.Cut(header, ": ")
			w.Header().Set(name, value)
		}
		io.WriteString(w, body)
	}
}

// signed returns the rewritten URL of https://cdn.app.example/NAME in the profile feed for an
// iPhone.
func signed(t testing.TB, name string) string {
	t.Helper()
	client := imagelink.ClientOfUserAgent(iPhone)
	return newLinker(t).URL(client, "feed", "https://cdn.app.example/"+name, imagelink.Post{})
}

// compressed and plain encode and decode, with other implementations than the proxy's where
// possible.
func compressed(t testing.TB, coding, body string) string {
	t.Helper()
	var b bytes.Buffer
	w := compressor(t, coding, &b)
	io.WriteString(w, body)
	w.Close()
	return b.String()
}

type flushingWriter interface {
	io.WriteCloser
	Flush() error
}

func compressor(t testing.TB, coding string, to io.Writer) flushingWriter {
	switch coding {
	case "gzip":
		return gzip.NewWriter(to)
	case "br":
		return brotli.NewWriter(to)
	case "zstd":
		w, err := zstd.NewWriter(to)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	t.Fatalf("no coding %s", coding)
	return nil
}

func plain(t testing.TB, coding string, from io.Reader) io.Reader {
	switch coding {
	case "gzip":
		r, err := gzip.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		return r
	case "br":
		return brotli.NewReader(from)
	case "zstd":
		r, err := zstd.NewReader(from)
		if err != nil {
			t.Fatal(err)
		}
		return r.IOReadCloser()
	}
	return from
}

func dial(t testing.TB, at string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
