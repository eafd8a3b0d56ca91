package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/httpapi"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// fakeCache answers as the conversation says, with an Image of ten bytes.
type fakeCache struct {
	mu    sync.Mutex
	img   imagecache.Image
	out   imagecache.Outcome
	err   error
	asked imageurl.Ref
	panic bool
}

func (c *fakeCache) Get(_ context.Context, ref imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = ref
	if c.panic {
		panic("secret.internal panicked")
	}
	if c.err != nil {
		return imagecache.Image{}, c.out, c.err
	}
	img := c.img
	img.ContentType = ref.Spec().Format.ContentType()
	return img, c.out, nil
}

func newFakeCache() *fakeCache {
	return &fakeCache{
		img: imagecache.Image{
			Body:         []byte("0123456789"),
			ETag:         `"tag"`,
			LastModified: time.Date(2026, 11, 20, 8, 30, 15, 999, time.UTC),
		},
		out: imagecache.Outcome{Detail: imagecache.Memory, TTL: imagecache.PinnedTTL},
	}
}

// namedErrors are what a cache fails with. Each is wrapped in words that no client may see.
var namedErrors = map[string]error{
	"imagecache.ErrTakenDown":        imagecache.ErrTakenDown,
	"fill.ErrSource":                 fill.ErrSource,
	"origin.ErrNotFound":             origin.ErrNotFound,
	"origin.ErrChanged":              origin.ErrChanged,
	"origin.ErrDenied":               origin.ErrDenied,
	"origin.ErrRejected":             origin.ErrRejected,
	"origin.ErrUnavailable":          origin.ErrUnavailable,
	"origin.ErrUnavailable+deadline": fmt.Errorf("%w: %w", origin.ErrUnavailable, context.DeadlineExceeded),
	"origin.ErrUnavailable+canceled": fmt.Errorf("%w: %w", origin.ErrUnavailable, context.Canceled),
	"origin.ErrBusy":                 origin.ErrBusy,
	"origin.Busy(7.2s)":              &origin.Busy{RetryAfter: 7200 * time.Millisecond},
	"origin.Busy(1h)":                &origin.Busy{RetryAfter: time.Hour},
	"origin.ErrTooLarge":             origin.ErrTooLarge,
	"origin.ErrName":                 origin.ErrName,
	"inflight.ErrFull":               inflight.ErrFull,
	"resize.ErrSpec":                 resize.ErrSpec,
	"resize.ErrUnsupported":          resize.ErrUnsupported,
	"resize.ErrTooLarge":             resize.ErrTooLarge,
	"resize.ErrCorrupt":              resize.ErrCorrupt,
	"resize.ErrBusy":                 resize.ErrBusy,
	"resize.ErrTimeout":              resize.ErrTimeout,
	"resize.ErrFailed":               resize.ErrFailed,
	"context.DeadlineExceeded":       context.DeadlineExceeded,
	"context.Canceled":               context.Canceled,
	"something else":                 errors.New("something else"),
}

// direct obeys what a conversation says of the cache:
//
//	hit DETAIL                  a pinned image, held there
//	made DETAIL [WORD]…         a pinned image that was missing; words: stored, collapsed, status=200
//	live AGE LIFETIME [WORD]…   a live image, AGE seconds old; words besides those of made:
//	                            detail=memory, swr=60, sie=60, must, nostore, missing, revalidated
//	fails ERROR [WORD]…         words: negative=7 (repeated, for 7 s more), held (no cache took part)
//	panics
//	empty                       an image without a body
func (c *fakeCache) direct(t *testing.T, line string) {
	t.Helper()
	fresh := newFakeCache()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.img, c.out, c.err, c.panic = fresh.img, fresh.out, nil, false
	words := strings.Fields(line)
	number := func(s string) time.Duration {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			t.Fatalf("cache %s: %v", line, err)
		}
		return time.Duration(n * float64(time.Second))
	}
	detail := func(name string) imagecache.Detail {
		for d := range imagecache.NumDetails {
			if d.String() == name {
				return d
			}
		}
		t.Fatalf("cache %s: there is no detail %s", line, name)
		return 0
	}
	rest := words[1:]
	switch words[0] {
	case "hit":
		c.out.Detail, rest = detail(words[1]), words[2:]
	case "made":
		c.out, rest = imagecache.Outcome{Detail: detail(words[1]), Forward: imagecache.URIMiss}, words[2:]
	case "live":
		c.img.Fresh.Generated = apitest.Noon.Add(-number(words[1]))
		c.img.Fresh.Until = c.img.Fresh.Generated.Add(number(words[2]))
		c.out.TTL, rest = c.img.Fresh.Until.Sub(apitest.Noon), words[3:]
	case "fails":
		text, tail, _ := strings.Cut(strings.TrimPrefix(line, "fails "), " |")
		err, ok := namedErrors[text]
		if !ok {
			t.Fatalf("cache %s: there is no error %q", line, text)
		}
		c.out = imagecache.Outcome{Detail: imagecache.FromOrigin, Forward: imagecache.URIMiss}
		c.err = fmt.Errorf("fill /x: GET s3://bucket.secret.internal/key: VipsJpeg: %w", err)
		rest = strings.Fields(tail)
	case "panics":
		c.panic = true
	case "empty":
		c.img.Body = nil
	default:
		t.Fatalf("cache %s: what?", line)
	}
	for _, word := range rest {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "stored":
			c.out.Stored = true
		case "collapsed":
			c.out.Collapsed = true
		case "status":
			c.out.Status, _ = strconv.Atoi(value)
		case "detail":
			c.out.Detail = detail(value)
		case "swr":
			c.img.Fresh.StaleWhileRevalidate = number(value)
		case "sie":
			c.img.Fresh.StaleIfError = number(value)
		case "must":
			c.img.Fresh.MustRevalidate = true
		case "nostore":
			c.img.Fresh.NoStore = true
		case "missing":
			c.out.Forward = imagecache.URIMiss
		case "revalidated":
			c.out.Forward = imagecache.FwdStale
		case "negative":
			c.out = imagecache.Outcome{Detail: imagecache.Negative, TTL: number(value)}
		default:
			t.Fatalf("cache %s: unknown word %s", line, word)
		}
	}
}

// publicCommon is what every answer of the public listener has (docs/urls/README.md).
func publicCommon(t *testing.T, got *apitest.Exchange) {
	t.Helper()
	h, code := got.Response.Header, got.Response.StatusCode
	where := got.Method + " " + got.Target
	if h.Get("X-Request-Id") == "" || len(h["X-Request-Id"]) != 1 {
		t.Errorf("%s: X-Request-Id %q", where, h["X-Request-Id"])
	}
	if h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: it may be sniffed", where)
	}
	if h.Get("Cache-Control") == "" {
		t.Errorf("%s: no Cache-Control", where)
	}
	if len(got.Response.TransferEncoding) > 0 {
		t.Errorf("%s: it is chunked", where)
	}
	if code != http.StatusNotModified && h.Get("Content-Length") != strconv.Itoa(len(got.Body)) &&
		got.Method != http.MethodHead {
		t.Errorf("%s: Content-Length %s, body %d", where, h.Get("Content-Length"), len(got.Body))
	}
	for name, values := range h {
		if apitest.Secrets.MatchString(strings.Join(values, " ")) {
			t.Errorf("%s: header %s gives away %q", where, name, values)
		}
	}
	if code >= 400 {
		apitest.ProblemCommon(t, got)
		return
	}
	if got.Target == "/healthz" {
		return
	}
	for name, want := range map[string]string{
		"Etag":                         `"tag"`,
		"Content-Security-Policy":      "default-src 'none'; sandbox",
		"Cross-Origin-Resource-Policy": "cross-origin",
		"Access-Control-Allow-Origin":  "*",
		"Timing-Allow-Origin":          "*",
	} {
		if h.Get(name) != want {
			t.Errorf("%s: %s: %q, want %q", where, name, h.Get(name), want)
		}
	}
	if code == http.StatusNotModified {
		if got.Body != "" || h.Get("Content-Length") != "" {
			t.Errorf("%s: a 304 with a body", where)
		}
		return
	}
	if h.Get("Accept-Ranges") != "bytes" || h.Get("Last-Modified") != "Fri, 20 Nov 2026 08:30:15 GMT" {
		t.Errorf("%s: Accept-Ranges %q, Last-Modified %q", where, h.Get("Accept-Ranges"), h.Get("Last-Modified"))
	}
}

func publicConfig(t testing.TB, cache Cache) Config {
	return Config{
		Signer: apitest.NewSigner(t),
		Cache:  cache,
		Catalog: httpapi.Catalog{
			Sources:    map[string]httpapi.Source{"posts": {}, "open": {Originals: true}},
			Watermarks: imagecache.NewWatermarks(map[string]string{"logo": "9f86d081884c7d65"}),
		},
		NegativeTTL: 10 * time.Second,
		Now:         func() time.Time { return apitest.Noon },
	}
}

// Every file of testdata is one test. Together they use every row of the table of errors.
func TestConversations(t *testing.T) {
	details := map[string]bool{} // seen in answers
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no conversations found")
	}
	for i := range 2 * len(files) {
		file, engine := files[i/2], engines[i%2]
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+" "+engine.name, func(t *testing.T) {
			cache := newFakeCache()
			cfg := publicConfig(t, cache)
			c := &apitest.Conversation{
				Addr:   serveBy(t, engine.config(New(cfg))),
				Signer: cfg.Signer,
				Direct: cache.direct,
				Asked: func() string {
					cache.mu.Lock()
					defer cache.mu.Unlock()
					return cache.asked.String()
				},
				Common: publicCommon,
				Heard: func(got *apitest.Exchange) {
					var p struct{ Detail string }
					if got.Response.StatusCode >= 400 && json.Unmarshal([]byte(got.Body), &p) == nil {
						details[p.Detail] = true
					}
				},
			}
			c.Run(t, file)
		})
	}
	if t.Failed() {
		return
	}
	for _, row := range append(problem.New(0), *problem.Of(errors.New("unknown"))) {
		if row.Err == problem.ErrStreams {
			continue // answered before the handler: internal/server TestOverloaded_ServeHTTP_CountsProblem
		}
		if row.Detail != "" && !details[row.Detail] {
			t.Errorf("no conversation covers %v: %s", row.Err, row.Detail)
		}
	}
}

// constant is a Cache that costs nothing.
type constant struct {
	img imagecache.Image
	out imagecache.Outcome
}

func (c *constant) Get(context.Context, imageurl.Ref) (imagecache.Image, imagecache.Outcome, error) {
	return c.img, c.out, nil
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header              { return s.header }
func (s *sink) Write(p []byte) (int, error)      { return len(p), nil }
func (s *sink) WriteHeader(status int)           { s.status = status }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// engines are the two that read HTTP/1.1.
var engines = []struct {
	name   string
	config func(h *Handler) httpserver.Config
}{
	{"http1", func(h *Handler) httpserver.Config { return httpserver.Config{Responder: h} }},
	{"net/http", func(h *Handler) httpserver.Config { return httpserver.Config{Handler: h} }},
}

// serve serves h until the test ends, and returns the address.
func serve(t testing.TB, h *Handler, wrap ...func(net.Listener) net.Listener) string {
	t.Helper()
	return serveBy(t, httpserver.Config{Responder: h}, wrap...)
}

func serveBy(t testing.TB, cfg httpserver.Config, wrap ...func(net.Listener) net.Listener) string {
	t.Helper()
	s, err := httpserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Serve(t, s.Run, wrap...)
}
