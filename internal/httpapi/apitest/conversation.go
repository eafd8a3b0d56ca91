// Package apitest tests HTTP handlers with conversations: text files of requests and expected
// answers. See [Conversation].
package apitest

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
)

// Noon is the time in all conversations.
var Noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

var Key = imageurl.Key{ID: "k1", Secret: []byte("0123456789abcdef0123456789abcdef")}

func NewSigner(t testing.TB) *imageurl.Signer {
	t.Helper()
	s, err := imageurl.NewSigner(Key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Secrets are texts of errors that no answer may contain.
var Secrets = regexp.MustCompile(`(?i)secret|bucket|vips|internal\.|goroutine|\.go:`)

// Conversation is one file of testdata:
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
// Every answer is also checked for what all answers have in common (see Common), and every GET
// without Range is repeated as HEAD.
type Conversation struct {
	Addr   string
	Host   string // "": img.example.com
	Signer *imageurl.Signer
	Direct func(t *testing.T, line string)   // executes a line that begins with cache
	Asked  func() string                     // the value of asked
	Common func(t *testing.T, got *Exchange) // checks every answer
	Heard  func(got *Exchange)               // may be nil
}

// Exchange is a request and its answer.
type Exchange struct {
	Method, Target string
	Header         http.Header
	Response       *http.Response
	Body           string
}

func (c *Conversation) Run(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var method, target string
	var header []string
	var got *Exchange
	ask := func(n int) {
		if got != nil {
			return
		}
		if method == "" {
			t.Fatalf("%s:%d: there is no request yet", file, n)
		}
		got = c.exchange(t, method, target, header)
		c.Common(t, got)
		if c.Heard != nil {
			c.Heard(got)
		}
		if method == http.MethodGet && got.Header.Get("Range") == "" {
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
			c.Direct(t, rest)
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

// sign replaces SIG by a signature, and EXPIRED by one that expired in 1970.
func (c *Conversation) sign(t *testing.T, target string) string {
	if before, path, ok := strings.Cut(target, "/i/EXPIRED/"); ok {
		return before + imageurl.Prefix + Key.ID + "." + macOf("1/"+path) + ".1/" + path
	}
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
		// A path that is not a Ref is signed as it is.
		return before + SignBytes(t, "/"+path) + query
	}
	return before + c.Signer.Path(ref) + query
}

func (c *Conversation) exchange(t *testing.T, method, target string, header []string) *Exchange {
	t.Helper()
	conn, err := net.Dial("tcp", c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	host, body := "Host: "+cmp.Or(c.Host, "img.example.com"), ""
	got := &Exchange{Method: method, Target: target, Header: http.Header{}}
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
		got.Header.Add(name, strings.TrimSpace(value))
		fmt.Fprintf(&b, "%s\r\n", line)
	}
	if body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(&b, "%s\r\n\r\n%s", host, body)
	if _, err := conn.Write(b.Bytes()); err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	//nolint:bodyclose // the test closes the connection
	got.Response, err = http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	if got.Response.Close { // ReadResponse has removed the header
		got.Response.Header.Set("Connection", "close")
	}
	all, err := io.ReadAll(got.Response.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	got.Body = string(all)
	return got
}

func (c *Conversation) check(got *Exchange, word, rest string) (fault string) {
	var actual string
	present := true
	switch word {
	case "code":
		actual = strconv.Itoa(got.Response.StatusCode)
	case "body":
		actual = got.Body
	case "asked":
		actual = c.Asked()
	case "header":
		var name string
		name, rest, _ = strings.Cut(rest, " ")
		lines := got.Response.Header.Values(name)
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

// sameHeaders fails the test unless HEAD has the headers of GET.
func sameHeaders(t *testing.T, get, head *Exchange) {
	t.Helper()
	a, b := maps.Clone(get.Response.Header), maps.Clone(head.Response.Header)
	for _, own := range []string{"Date", "X-Request-Id", "Retry-After"} {
		if (a.Get(own) == "") != (b.Get(own) == "") {
			t.Errorf("HEAD %s: one of GET and HEAD has %s", get.Target, own)
		}
		a.Del(own)
		b.Del(own)
	}
	if len(get.Header["X-Request-Id"]) == 0 && get.Response.StatusCode >= 400 {
		// The body contains the request id, which has the same length each time.
		if get.Response.ContentLength != head.Response.ContentLength {
			t.Errorf("HEAD %s: Content-Length %d, GET %d",
				get.Target, head.Response.ContentLength, get.Response.ContentLength)
		}
	}
	if get.Response.StatusCode != head.Response.StatusCode || !maps.EqualFunc(a, b, slices.Equal[[]string]) ||
		head.Body != "" {
		t.Errorf("HEAD %s: %s %v %q, GET: %s %v",
			get.Target, head.Response.Status, b, head.Body, get.Response.Status, a)
	}
}

// SignBytes returns any text as a path with a valid signature.
func SignBytes(t testing.TB, signed string) string {
	t.Helper()
	return imageurl.Prefix + Key.ID + "." + macOf(signed) + signed
}

// ProblemCommon checks what every error answer has in common (RFC 9457).
func ProblemCommon(t *testing.T, got *Exchange) {
	t.Helper()
	where := got.Method + " " + got.Target
	if got.Response.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: Content-Type %q", where, got.Response.Header.Get("Content-Type"))
	}
	if got.Method == http.MethodHead {
		return
	}
	var p map[string]any
	if err := json.Unmarshal([]byte(got.Body), &p); err != nil {
		t.Errorf("%s: %v in %q", where, err, got.Body)
		return
	}
	if len(p) != 6 || p["code"] == "" || p["type"] != "about:blank" || p["title"] == "" || p["detail"] == "" ||
		p["status"] != float64(got.Response.StatusCode) || p["request_id"] != got.Response.Header.Get("X-Request-Id") {
		t.Errorf("%s: %s", where, got.Body)
	}
	if Secrets.MatchString(got.Body) {
		t.Errorf("%s: the body gives away too much: %s", where, got.Body)
	}
}

// macOf signs independently of package imageurl.
func macOf(signed string) string {
	mac := hmac.New(sha256.New, Key.Secret)
	mac.Write([]byte(signed))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// Call sends a request to a handler without a network.
func Call(h http.Handler, method, target string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "localhost"
	for name, values := range header {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// AddTargets seeds a fuzz test of method, target, and the name and value of a header.
func AddTargets(f *testing.F) {
	for _, target := range []string{"/", "*", "", "http://a", "http://a?b", "/i/", "/i//", "/i/k1./",
		"/i/_/orig/v.1/posts/a", "a:80", "//i/x", "/i/%2e/%zz", "/healthz?x"} {
		f.Add(http.MethodGet, target, "a", "b")
	}
}

// CheckAnswered fails the test if h answers a request with a 5xx.
func CheckAnswered(t *testing.T, h http.Handler, method, target, name, value string) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Method, r.RequestURI, r.Host = method, target, value
	r.URL.Path = target
	r.URL.RawQuery = "url=" + target
	r.Header[http.CanonicalHeaderKey(name)] = []string{value}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code >= 500 || w.Header().Get("X-Request-Id") == "" {
		t.Errorf("%s %q with %s: %q: %d %s", method, target, name, value, w.Code, w.Body)
	}
}
