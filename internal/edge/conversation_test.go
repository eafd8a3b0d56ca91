package edge

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/fill"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// noon is what time it is in all conversations.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

var testKey = imageurl.Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}

func newSigner(t testing.TB) *imageurl.Signer {
	t.Helper()
	s, err := imageurl.NewSigner(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

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
	"origin.ErrUnavailable":          origin.ErrUnavailable,
	"origin.ErrUnavailable+deadline": fmt.Errorf("%w: %w", origin.ErrUnavailable, context.DeadlineExceeded),
	"origin.ErrUnavailable+canceled": fmt.Errorf("%w: %w", origin.ErrUnavailable, context.Canceled),
	"origin.ErrBusy":                 origin.ErrBusy,
	"origin.Busy(7.2s)":              &origin.Busy{RetryAfter: 7200 * time.Millisecond},
	"origin.Busy(1h)":                &origin.Busy{RetryAfter: time.Hour},
	"origin.ErrTooLarge":             origin.ErrTooLarge,
	"origin.ErrName":                 origin.ErrName,
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

// secrets are parts of errors that no answer may have in it.
var secrets = regexp.MustCompile(`(?i)secret|bucket|vips|internal\.|goroutine|\.go:`)

// conversation is one file of testdata:
//
//	# Words for people.
//	cache …                  what the cache has from now on (see direct)
//	GET /path                a request begins; SIG in it is the good signature of what follows
//	Name: value              with this header
//	code == 200              and so on: what the answer must be (see check)
//	header Age == 30
//	header Vary absent
//	header Cache-Status =~ ^imagetier; hit
//	body == 0123
//	body =~ "detail":".*640x480"
//	asked == /640x480/v.1/posts/cat.jpg.webp      what the cache was asked for
//
// Every answer is also held against what all answers have in common (see common), and of
// every GET without Range the HEAD is tried as well.
type conversation struct {
	addr   string
	host   string // "": img.example.com
	signer *imageurl.Signer
	direct func(t *testing.T, line string) // obeys a line that begins with cache
	asked  func() string                   // what asked is compared with
	common func(t *testing.T, got *spoken) // held against every answer
	heard  func(got *spoken)
}

// spoken is a request and its answer.
type spoken struct {
	method, target string
	header         http.Header
	response       *http.Response
	body           string
}

func (c *conversation) run(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var method, target string
	var header []string
	var got *spoken
	ask := func(n int) {
		if got != nil {
			return
		}
		if method == "" {
			t.Fatalf("%s:%d: there is no request yet", file, n)
		}
		got = c.exchange(t, method, target, header)
		c.common(t, got)
		if c.heard != nil {
			c.heard(got)
		}
		if method == http.MethodGet && got.header.Get("Range") == "" {
			sameHeaders(t, got, c.exchange(t, http.MethodHead, target, header))
		}
	}
	for i, line := range strings.Split(string(text), "\n") {
		n := i + 1
		line = strings.TrimRight(line, " \t\r")
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case line == "" || line[0] == '#':
		case word == "cache":
			c.direct(t, rest)
		case word == "code" || word == "header" || word == "body" || word == "asked":
			ask(n)
			if fault := c.check(got, word, rest); fault != "" {
				t.Errorf("%s:%d: %s %s: %s", file, n, method, target, fault)
			}
		case aMethod.MatchString(word):
			method, target, header, got = word, c.sign(t, rest), nil, nil
		default:
			header = append(header, line)
		}
	}
}

var aMethod = regexp.MustCompile(`^[A-Z]+$`)

// sign replaces SIG.
func (c *conversation) sign(t *testing.T, target string) string {
	before, after, ok := strings.Cut(target, "/i/SIG/")
	if !ok {
		return target
	}
	path, query := after, ""
	if end := strings.IndexAny(after, "?%"); end >= 0 {
		path, query = after[:end], after[end:]
	}
	ref, err := imageurl.ParseRef("/" + path)
	if err != nil {
		// What is no Ref has no Path; its signature is that of its bytes all the same.
		return before + signBytes(t, "/"+path) + query
	}
	return before + c.signer.Path(ref) + query
}

func (c *conversation) exchange(t *testing.T, method, target string, header []string) *spoken {
	t.Helper()
	conn, err := net.Dial("tcp", c.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	host, body := "Host: "+cmp.Or(c.host, "img.example.com"), ""
	got := &spoken{method: method, target: target, header: http.Header{}}
	for _, line := range header {
		if strings.HasPrefix(line, "Host:") {
			host = line
			continue
		}
		if text, ok := strings.CutPrefix(line, "> "); ok { // a body
			body += text
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		got.header.Add(name, strings.TrimSpace(value))
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&b, "%s\r\n\r\n%s", host, body)
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	got.response, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	if got.response.Close { // ReadResponse has taken the header away
		got.response.Header.Set("Connection", "close")
	}
	all, err := io.ReadAll(got.response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	got.body = string(all)
	return got
}

func (c *conversation) check(got *spoken, word, rest string) (fault string) {
	var actual string
	present := true
	switch word {
	case "code":
		actual = strconv.Itoa(got.response.StatusCode)
	case "body":
		actual = got.body
	case "asked":
		actual = c.asked()
	case "header":
		var name string
		name, rest, _ = strings.Cut(rest, " ")
		lines := got.response.Header.Values(name)
		present, actual = len(lines) > 0, strings.Join(lines, " | ")
		word += " " + name
	}
	verb, want, _ := strings.Cut(rest, " ")
	var ok bool
	switch verb {
	case "==":
		ok = present && actual == want
	case "=~":
		ok = present && regexp.MustCompile(want).MatchString(actual)
	case "absent":
		ok = !present
	default:
		return "what is " + verb + "?"
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%s is %q, want %s", word, actual, rest)
}

// sameHeaders fails the test unless HEAD said exactly what GET did.
func sameHeaders(t *testing.T, get, head *spoken) {
	t.Helper()
	a, b := maps.Clone(get.response.Header), maps.Clone(head.response.Header)
	for _, own := range []string{"Date", "X-Request-Id", "Retry-After"} {
		if (a.Get(own) == "") != (b.Get(own) == "") {
			t.Errorf("HEAD %s: one of GET and HEAD has %s", get.target, own)
		}
		a.Del(own)
		b.Del(own)
	}
	if len(get.header["X-Request-Id"]) == 0 && get.response.StatusCode >= 400 {
		// The body repeats the id, which is as long each time.
		if get.response.ContentLength != head.response.ContentLength {
			t.Errorf("HEAD %s: Content-Length %d, GET %d", get.target, head.response.ContentLength, get.response.ContentLength)
		}
	}
	if get.response.StatusCode != head.response.StatusCode || !maps.EqualFunc(a, b, slices.Equal[[]string]) || head.body != "" {
		t.Errorf("HEAD %s: %s %v %q, GET: %s %v", get.target, head.response.Status, b, head.body, get.response.Status, a)
	}
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
		c.img.Fresh.Generated = noon.Add(-number(words[1]))
		c.img.Fresh.Until = c.img.Fresh.Generated.Add(number(words[2]))
		c.out.TTL, rest = c.img.Fresh.Until.Sub(noon), words[3:]
	case "fails":
		text, tail, _ := strings.Cut(strings.TrimPrefix(line, "fails "), " |")
		err, ok := namedErrors[text]
		if !ok {
			t.Fatalf("cache %s: there is no error %q", line, text)
		}
		c.out = imagecache.Outcome{Detail: imagecache.FromOrigin, Forward: imagecache.URIMiss}
		c.err, rest = fmt.Errorf("fill /x: GET s3://bucket.secret.internal/key: VipsJpeg: %w", err), strings.Fields(tail)
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
			t.Fatalf("cache %s: what is %s?", line, word)
		}
	}
}

// signBytes returns a path with the good signature of anything.
func signBytes(t testing.TB, signed string) string {
	t.Helper()
	return imageurl.Prefix + testKey.ID + "." + macOf(signed) + signed
}

// publicCommon is what every answer of the public listener has (CONTRACT 2).
func publicCommon(t *testing.T, got *spoken) {
	t.Helper()
	h, code := got.response.Header, got.response.StatusCode
	where := got.method + " " + got.target
	if h.Get("X-Request-Id") == "" || len(h["X-Request-Id"]) != 1 {
		t.Errorf("%s: X-Request-Id %q", where, h["X-Request-Id"])
	}
	if h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: it may be sniffed", where)
	}
	if h.Get("Cache-Control") == "" {
		t.Errorf("%s: no Cache-Control", where)
	}
	if len(got.response.TransferEncoding) > 0 {
		t.Errorf("%s: it is chunked", where)
	}
	if code != http.StatusNotModified && h.Get("Content-Length") != strconv.Itoa(len(got.body)) && got.method != http.MethodHead {
		t.Errorf("%s: Content-Length %s, body %d", where, h.Get("Content-Length"), len(got.body))
	}
	for name, values := range h {
		if secrets.MatchString(strings.Join(values, " ")) {
			t.Errorf("%s: header %s gives away %q", where, name, values)
		}
	}
	if code >= 400 {
		problemCommon(t, got)
		return
	}
	if got.target == "/healthz" {
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
		if got.body != "" || h.Get("Content-Length") != "" {
			t.Errorf("%s: a 304 with a body", where)
		}
		return
	}
	if h.Get("Accept-Ranges") != "bytes" || h.Get("Last-Modified") != "Fri, 20 Nov 2026 08:30:15 GMT" {
		t.Errorf("%s: Accept-Ranges %q, Last-Modified %q", where, h.Get("Accept-Ranges"), h.Get("Last-Modified"))
	}
}

// problemCommon is what every refusal has (RFC 9457).
func problemCommon(t *testing.T, got *spoken) {
	t.Helper()
	where := got.method + " " + got.target
	if got.response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", where, got.response.Header.Get("Content-Type"))
	}
	if got.method == http.MethodHead {
		return
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		t.Errorf("%s: %v in %q", where, err, got.body)
		return
	}
	if len(p) != 5 || p["type"] != "about:blank" || p["title"] == "" || p["detail"] == "" ||
		p["status"] != float64(got.response.StatusCode) || p["request_id"] != got.response.Header.Get("X-Request-Id") {
		t.Errorf("%s: %s", where, got.body)
	}
	if secrets.MatchString(got.body) {
		t.Errorf("%s: the body gives away too much: %s", where, got.body)
	}
}

// serveHandler serves h on a port of its own until the test ends, and returns the address.
func serveHandler(t testing.TB, cfg ServerConfig) string {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return serves(t, s)
}

// serves runs s until the test ends, on a listener that wrap may wrap, and returns its
// address.
func serves(t testing.TB, s *Server, wrap ...func(net.Listener) net.Listener) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrap {
		ln = w(ln)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	return ln.Addr().String()
}

func publicConfig(t testing.TB, cache Cache) Config {
	return Config{
		Signer:     newSigner(t),
		Cache:      cache,
		Sources:    map[string]Source{"posts": {}, "open": {Originals: true}},
		Watermarks: map[string]bool{"logo": true},
		Now:        func() time.Time { return noon },
	}
}

// Every file of testdata is one test, and together they come across every row of the table.
func TestConversations(t *testing.T) {
	details := map[string]bool{} // that clients were told
	files, _ := filepath.Glob("testdata/public/*.txt")
	if len(files) == 0 {
		t.Fatal("there are none")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			cache := newFakeCache()
			cfg := publicConfig(t, cache)
			c := &conversation{
				addr:   serveHandler(t, ServerConfig{Handler: Public(cfg)}),
				signer: cfg.Signer,
				direct: cache.direct,
				asked: func() string {
					cache.mu.Lock()
					defer cache.mu.Unlock()
					return cache.asked.String()
				},
				common: publicCommon,
				heard: func(got *spoken) {
					var p problem
					if got.response.StatusCode >= 400 && json.Unmarshal([]byte(got.body), &p) == nil {
						details[p.Detail] = true
					}
				},
			}
			c.run(t, file)
		})
	}
	if t.Failed() {
		return
	}
	for _, row := range append(table, unknown) {
		if row.detail != "" && !details[row.detail] {
			t.Errorf("no conversation comes across %v: %s", row.err, row.detail)
		}
	}
}
