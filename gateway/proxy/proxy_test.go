package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
)

var zeroTime time.Time

// page is an answer of a GraphQL service; each %s is a URL.
const page = `{"data":{"feed":{"posts":[{"id":"p1","imageUrl":%q,"thumbnailUrl":%s,"likeCount":12345678901234567890}]}}}`

func before() string { return fmt.Sprintf(page, "https://cdn.app.example/a.jpg", "null") }
func after(t testing.TB) string {
	return fmt.Sprintf(page, signed(t, "a.jpg"), `"`+signed(t, "a.jpg")+`"`)
}

func TestProxy_SignsURLs(t *testing.T) {
	s := stand(t, answering("application/json; charset=utf-8", before(), "Vary: Origin"), nil)
	resp := s.do("POST", "/graphql", `{"query":"{feed{posts{id imageUrl thumbnailUrl likeCount}}}"}`,
		"Content-Type: application/json")
	if got := text(t, resp); got != after(t) {
		t.Errorf("the answer is\n%s\nnot\n%s", got, after(t))
	}
	if got := resp.Header.Get("Vary"); got != "Origin, User-Agent, X-Image-Client" {
		t.Errorf("Vary: %s", got)
	}
	if got := resp.Header.Get("Content-Length"); got != strconv.Itoa(len(after(t))) {
		t.Errorf("Content-Length: %s", got)
	}
	if o := s.observation(); o.Kind != proxy.JSON || o.Signed != 2 || o.Status != 200 || o.Broken {
		t.Errorf("observed %+v", o)
	}
}

func TestProxy_OtherAnswersUnchanged(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, body string
		headers           []string
	}{
		"a picture":           {"image/png", "\x89PNG" + before(), nil},
		"a page":              {"text/html", "<html>" + before(), nil},
		"no type":             {"", before(), nil},
		"a coding unheard of": {"application/json", before(), []string{"Content-Encoding: snappy"}},
		"two codings":         {"application/json", before(), []string{"Content-Encoding: gzip, br"}},
		"an invalid type":     {"json; ;;", before(), nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := stand(t, answering(c.contentType, c.body,
				append(c.headers, `ETag: "v1"`, "Accept-Ranges: bytes", "Vary: Accept")...), nil)
			resp := s.do("GET", "/", "")
			if got := text(t, resp); got != c.body {
				t.Errorf("the answer is %q", got)
			}
			if resp.ContentLength != int64(len(c.body)) || resp.Header.Get("ETag") != `"v1"` ||
				resp.Header.Get("Accept-Ranges") != "bytes" || resp.Header.Get("Vary") != "Accept" {
				t.Errorf("headers are changed: %v", resp.Header)
			}
			if o := s.observation(); o.Kind != proxy.Passed && o.Kind != proxy.Unread || o.Signed != 0 {
				t.Errorf("observed %+v", o)
			}
		})
	}
}

func TestProxy_FormatAndScale(t *testing.T) {
	s := stand(t, answering("application/json", `{"imageUrl":"https://cdn.app.example/a.jpg"}`), nil)
	for _, c := range []struct{ header, want string }{
		{"User-Agent: App/1.0 (iPhone; iOS 17.4; Scale/3.00)", "/1320x/v.0/posts/a.jpg.webp"},
		{"User-Agent: App/1.0 (iPhone; iOS 13.0; Scale/2.00)", "/880x/v.0/posts/a.jpg.jpg"},
		{"X-Image-Client: jpg@1x", "/440x/v.0/posts/a.jpg.jpg"},
	} {
		if got := text(t, s.do("GET", "/", "", c.header)); !strings.Contains(got, c.want+`"`) {
			t.Errorf("for %s: %s", c.header, got)
		}
	}
}

func TestProxy_TwoProfiles(t *testing.T) {
	s := stand(t, answering("application/json",
		`{"imageUrl":"https://cdn.app.example/a.jpg","avatarUrl":"https://cdn.app.example/a.jpg"}`), nil)
	if got := text(t, s.do("GET", "/", "")); !strings.Contains(got, "/1320x/v.0/posts/a.jpg.webp") ||
		!strings.Contains(got, "/96x96-cover/v.0/posts/a.jpg.webp") {
		t.Errorf("the answer is %s", got)
	}
}

func TestProxy_RemovesBodyHeaders(t *testing.T) {
	s := stand(t, answering("application/json", before(), "Content-MD5: x", "Digest: x", "Content-Digest: x",
		"Repr-Digest: x", "Accept-Ranges: bytes", "Cache-Control: max-age=5"), nil)
	resp := s.do("GET", "/", "")
	for _, name := range []string{
		"Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Accept-Ranges",
	} {
		if got := resp.Header.Get(name); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if resp.Header.Get("Cache-Control") != "max-age=5" {
		t.Error("Cache-Control is gone")
	}
}

func TestProxy_Vary(t *testing.T) {
	for vary, want := range map[string]string{
		"*":                      "*",
		"user-agent":             "user-agent, X-Image-Client",
		"Accept, X-Image-Client": "Accept, X-Image-Client, User-Agent",
		"":                       "User-Agent, X-Image-Client",
	} {
		headers := []string{"Vary: " + vary}
		if vary == "" {
			headers = nil
		}
		s := stand(t, answering("application/json", "{}", headers...), nil)
		if got := s.do("GET", "/", "").Header.Get("Vary"); got != want {
			t.Errorf("%s became %s, not %s", vary, got, want)
		}
	}
}

func TestProxy_HEAD(t *testing.T) {
	s := stand(t, answering("application/json", before(), `ETag: "v1"`), nil)
	get, head := s.do("GET", "/", ""), s.do("HEAD", "/", "")
	for _, name := range []string{"Etag", "Vary", "Content-Type", "Accept-Ranges"} {
		if get.Header.Get(name) != head.Header.Get(name) {
			t.Errorf("%s: %q, HEAD %q", name, get.Header.Get(name), head.Header.Get(name))
		}
	}
	if got := head.Header.Get("Content-Length"); got != "" { // only known once a body is rewritten
		t.Errorf("HEAD has the service's Content-Length: %s", got)
	}
	if body := text(t, head); body != "" || head.StatusCode != 200 {
		t.Errorf("HEAD is %d with %q", head.StatusCode, body)
	}
}

func TestProxy_Status(t *testing.T) {
	for _, status := range []int{201, 204, 205, 301, 400, 404, 422, 500, 503} {
		s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			if status != 204 && status != 205 {
				io.WriteString(w, before())
			}
		}, nil)
		resp := s.do("GET", "/", "")
		want := after(t)
		if status == 204 || status == 205 {
			want = ""
		}
		if got := text(t, resp); resp.StatusCode != status || got != want {
			t.Errorf("%d became %d with %s", status, resp.StatusCode, got)
		}
	}
}

func TestProxy_Range(t *testing.T) {
	var asked http.Header
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Range", "bytes 0-10/1000")
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, before())
	}, nil)
	resp := s.do("GET", "/", "", "Range: bytes=5-", `If-Range: "v1"`)
	if asked.Get("Range") != "" || asked.Get("If-Range") != "" {
		t.Errorf("the service received the headers %v", asked)
	}
	if got := text(t, resp); resp.StatusCode != 206 || got != before() {
		t.Errorf("206 became %d with %s", resp.StatusCode, got)
	}
}

func TestProxy_ETag(t *testing.T) {
	var asked http.Header
	tag := `"v,1"`
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Clone()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Etag", tag)
		http.ServeContent(w, r, "", zeroTime, strings.NewReader(before()))
	}, nil)
	for _, tag = range []string{`"v,1"`, `W/"v1"`, `""`} {
		first := s.do("GET", "/", "")
		derived := first.Header.Get("Etag")
		if derived == tag || !strings.HasPrefix(derived, `W/"`) {
			t.Fatalf("%s became %s", tag, derived)
		}
		text(t, first)
		for _, sent := range []string{derived, `"other", ` + derived, derived + `,W/"other"`} {
			again := s.do("GET", "/", "", "If-None-Match: "+sent)
			if again.StatusCode != 304 || again.Header.Get("Etag") != derived ||
				!strings.Contains(again.Header.Get("Vary"), "User-Agent") {
				t.Errorf("If-None-Match: %s is %d %v (the service was asked with %s)",
					sent, again.StatusCode, again.Header, asked.Get("If-None-Match"))
			}
		}
		// Another class of clients gets another body.
		again := s.do("GET", "/", "", "If-None-Match: "+derived, "X-Image-Client: jpg@1x")
		if again.StatusCode != 200 || asked.Get("If-None-Match") != "" || again.Header.Get("Etag") == derived {
			t.Errorf("another class of clients got status %d; the service received %v", again.StatusCode, asked)
		}
	}
	tag = `"v2"`
	text(t, s.do("GET", "/", "", `If-None-Match: *`))
	if asked.Get("If-None-Match") != "*" {
		t.Errorf("* became %q", asked.Get("If-None-Match"))
	}
	derived := s.do("GET", "/", "").Header.Get("Etag")
	if resp := s.do("PUT", "/", "", "If-Match: "+derived); resp.StatusCode == 412 || asked.Get("If-Match") != tag {
		t.Errorf("If-Match: %s became %s, answered %d", derived, asked.Get("If-Match"), resp.StatusCode)
	}
}

func TestProxy_ETag_Salt(t *testing.T) {
	service := answering("application/json", before(), `ETag: "v1"`)
	one := stand(t, service, func(c *proxy.Config) { c.Salt = "one" }).do("GET", "/", "").Header.Get("Etag")
	same := stand(t, service, func(c *proxy.Config) { c.Salt = "one" }).do("GET", "/", "").Header.Get("Etag")
	two := stand(t, service, func(c *proxy.Config) { c.Salt = "two" }).do("GET", "/", "").Header.Get("Etag")
	// A 304 must not renew URLs that expire before their full lifetime.
	until := func(window time.Duration) string {
		return stand(t, service, func(c *proxy.Config) {
			c.Salt = "one"
			c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = time.Hour, window })
		}).do("GET", "/", "").Header.Get("Etag")
	}
	day, month := until(0), until(30*24*time.Hour)
	if one != same || one == two || day == one || day == month {
		t.Errorf("the tags are %s, %s, %s, %s and %s", one, same, two, day, month)
	}
}

// Caches must not keep an answer for longer than the image URLs in it are valid.
func TestProxy_Freshness_EndsBeforeURLs(t *testing.T) {
	lasting := func(headers ...string) (http.HandlerFunc, func(*proxy.Config)) {
		return answering("application/json", before(), headers...), func(c *proxy.Config) {
			c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = 2*time.Hour, time.Second })
		}
	}
	for in, want := range map[string]string{
		"Cache-Control: max-age=604800, public":                                 "max-age=3600, public",
		"Cache-Control: private, S-MaxAge=\"604800\", max-age=60, immutable":    "private, s-maxage=3600, max-age=60",
		"Cache-Control: max-age=99999999999999999999999":                        "max-age=3600",
		"Cache-Control: max-age=10, stale-while-revalidate=9, stale-if-error=9": "max-age=10",
		"Cache-Control: no-cache=\"a, b\", max-age=5000":                        "no-cache=\"a, b\", max-age=3600",
		"Cache-Control: max-age=soon, no-store":                                 "max-age=soon, no-store",
		"Cache-Control: immutable":                                              "",
		"Surrogate-Control: max-age=5000":                                       "max-age=3600",
		"CDN-Cache-Control: max-age=5000":                                       "max-age=3600",
		"Expires: 0":                                                            "0",
	} {
		name, _, _ := strings.Cut(in, ":")
		service, configure := lasting(in)
		if got := stand(t, service, configure).do("GET", "/", "").Header.Get(name); got != want {
			t.Errorf("%s became %q, want %q", in, got, want)
		}
		if got := stand(t, service, nil).do("GET", "/", "").Header.Get(name); got != in[len(name)+2:] {
			t.Errorf("%s became %q where URLs do not expire", in, got)
		}
	}
	for _, ahead := range []time.Duration{time.Minute, 24 * time.Hour} {
		service, configure := lasting("Expires: " + time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		until, err := http.ParseTime(stand(t, service, configure).do("GET", "/", "").Header.Get("Expires"))
		want := min(ahead, time.Hour)
		if left := time.Until(until); err != nil || left > want+time.Second || left < want-time.Minute {
			t.Errorf("%v ahead became %v, %v; want %v", ahead, left, err, want)
		}
	}
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Cache-Control", "max-age=604800")
		w.Header().Set("Content-Type", "application/json")
		http.ServeContent(w, r, "", zeroTime, strings.NewReader(before()))
	}, func(c *proxy.Config) {
		c.Linker = newLinker(t, func(c *imagelink.Config) { c.Lifetime, c.Window = 2*time.Hour, 24*time.Hour })
	})
	tag := s.do("GET", "/", "").Header.Get("Etag")
	again := s.do("GET", "/", "", "If-None-Match: "+tag)
	if cc := again.Header.Get("Cache-Control"); again.StatusCode != 304 || cc == "max-age=604800" || cc == "" {
		t.Errorf("%d with %q, want 304 with less", again.StatusCode, cc)
	}
}

func TestProxy_NotModified(t *testing.T) {
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Type", "image/png")
		http.ServeContent(w, r, "", zeroTime, strings.NewReader("png"))
	}, nil)
	resp := s.do("GET", "/", "", `If-None-Match: "v1"`)
	if resp.StatusCode != 304 || resp.Header.Get("Etag") != `"v1"` || resp.Header.Get("Vary") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
}

func TestProxy_ContentCodings(t *testing.T) {
	for _, coding := range []string{"gzip", "br", "zstd"} {
		for name, long := range map[string]int{"short": 1, "long": 20_000} {
			t.Run(coding+" "+name, func(t *testing.T) {
				in := "[" + strings.Repeat(before()+",", long) + "0]"
				want := "[" + strings.Repeat(after(t)+",", long) + "0]"
				answer := answering("application/json", compressed(t, coding, in), "Content-Encoding: "+coding)
				s := stand(t, answer, nil)
				for range 3 { // readers and writers are used again
					resp := s.do("GET", "/", "", "Accept-Encoding: "+coding)
					b, err := io.ReadAll(plain(t, coding, resp.Body))
					if err != nil || string(b) != want {
						t.Errorf("%v; %.300s…", err, b)
					}
					if resp.Header.Get("Content-Encoding") != coding {
						t.Errorf("headers %v", resp.Header)
					}
				}
			})
		}
	}
}

func TestProxy_AcceptEncoding(t *testing.T) {
	asked := make(chan []string, 1)
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header["Accept-Encoding"] }, nil)
	for acceptEncoding, want := range map[string]string{
		"gzip, deflate, br;q=0.5, zstd, dcb, *": "gzip, br;q=0.5, zstd",
		"deflate":                               "identity",
		"*":                                     "identity",
		"identity;q=0, GZIP":                    "identity;q=0, GZIP",
		"":                                      "identity",
	} {
		s.do("GET", "/", "", "Accept-Encoding: "+acceptEncoding)
		if got := strings.Join(<-asked, "|"); got != want {
			t.Errorf("%s became %s, not %s", acceptEncoding, got, want)
		}
	}
	s.do("GET", "/", "")
	if got := <-asked; got != nil {
		t.Errorf("nothing became %q", got)
	}
}

// gate lets a test control when a service continues.
type gate chan struct{}

func TestProxy_Streams(t *testing.T) {
	pieces := map[string][2][2]string{
		"application/json": {
			{`{"imageUrl":"https://cdn.app.example/a.jpg","x`, `{"imageUrl":"SIGNED","x`},
			{`":1}`, `":1}`},
		},
		"application/x-ndjson": {
			{"{\"imageUrl\":\"https://cdn.app.example/a.jpg\"}\n", "{\"imageUrl\":\"SIGNED\"}\n"},
			{"{}\n", "{}\n"},
		},
		"text/event-stream": {
			{
				"event: next\ndata: {\"imageUrl\":\"https://cdn.app.example/a.jpg\"}\n\n",
				"event: next\ndata: {\"imageUrl\":\"SIGNED\"}\n\n",
			},
			{"data: {}\n\n", "data: {}\n\n"},
		},
		`multipart/mixed; boundary="-"`: {
			{
				"---\r\nContent-Type: application/json\r\n\r\n{\"imageUrl\":\"https://cdn.app.example/a.jpg\"}",
				"---\r\nContent-Type: application/json\r\n\r\n{\"imageUrl\":\"SIGNED\"}",
			},
			{"\r\n-----\r\n", "\r\n-----\r\n"},
		},
	}
	for contentType, piece := range pieces {
		for _, coding := range []string{"", "gzip", "br", "zstd"} {
			t.Run(contentType+" "+coding, func(t *testing.T) {
				headers, body, end := make(gate), make(gate), make(gate)
				s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", contentType)
					var to io.Writer = w
					flush := func() {}
					if coding != "" {
						w.Header().Set("Content-Encoding", coding)
						c := compressor(t, coding, w)
						defer c.Close()
						to, flush = c, func() { c.Flush() }
					}
					w.(http.Flusher).Flush()
					<-headers
					<-body
					io.WriteString(to, piece[0][0])
					flush()
					w.(http.Flusher).Flush()
					<-end
					io.WriteString(to, piece[1][0])
				}, nil)
				resp := s.do("GET", "/", "", "Accept-Encoding: "+coding) // returns with the headers
				close(headers)
				close(body)
				want := strings.ReplaceAll(piece[0][1], "SIGNED", signed(t, "a.jpg"))
				from := plain(t, coding, resp.Body)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(from, got); err != nil || string(got) != want {
					t.Fatalf("before the end there is %q, %v", got, err)
				}
				close(end)
				rest, err := io.ReadAll(from)
				if err != nil || string(rest) != piece[1][1] {
					t.Errorf("at the end there is %q, %v", rest, err)
				}
			})
		}
	}
}

// raw is a service that writes bytes and closes the connection.
func raw(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				io.WriteString(conn, answer)
			}
			conn.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestProxy_TruncatedAnswer(t *testing.T) {
	gz := compressed(t, "gzip", strings.Repeat(before(), 100))
	br := compressed(t, "br", strings.Repeat(before(), 100))
	zs := compressed(t, "zstd", strings.Repeat(before(), 100))
	large := compressed(t, "gzip", strings.Repeat(before(), 1000))
	head := func(more string) string {
		return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + more + "\r\n"
	}
	sized := func(coding, body string) string {
		return head(fmt.Sprintf("Content-Encoding: %s\r\nContent-Length: %d\r\n", coding, len(body))) + body
	}
	for name, answer := range map[string]string{
		"chunks without an end":    head("Transfer-Encoding: chunked\r\n") + "5\r\n{\"a\":\r\n",
		"in a chunk":               head("Transfer-Encoding: chunked\r\n") + "500\r\n{\"a\":",
		"closed without a length":  head("Connection: close\r\n") + `{"imageUrl":"https://cdn.app.example/a.j`,
		"HTTP/1.0":                 strings.Replace(head(""), "1.1", "1.0", 1) + `{"data":[`,
		"large, short":             head("Content-Length: 40000\r\n") + before(),
		"gzip of a large one":      sized("gzip", large[:len(large)-9]),
		"multipart without an end": "HTTP/1.1 200 OK\r\nContent-Type: multipart/mixed; boundary=b\r\nConnection: close\r\n\r\n--b\r\n\r\n{}\r\n--b",
		"passed, short":            "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100\r\n\r\npng",
	} {
		t.Run(name, func(t *testing.T) {
			s := standBefore(t, raw(t, answer), nil)
			resp, err := browser.Get(s.url)
			if err == nil { // it may break off before its headers are out
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("the truncated response was read without an error: %q", b)
				}
			}
			if o := s.observation(); !o.Broken || !o.Upstream {
				t.Errorf("observed %+v", o)
			}
		})
	}
	// Small answers that state their length are read before anything is sent.
	for name, answer := range map[string]string{
		"short of its length":       head("Content-Length: 1000\r\n") + before(),
		"gzip, framed as if whole":  sized("gzip", gz[:len(gz)-9]),
		"gzip without its checksum": sized("gzip", gz[:len(gz)-1]),
		"gzip with a wrong one":     sized("gzip", gz[:len(gz)-5]+"x"+gz[len(gz)-4:]),
		"invalid gzip":              sized("gzip", before()),
		"br, framed as if whole":    sized("br", br[:len(br)-3]),
		"invalid br":                sized("br", before()),
		"zstd, framed as if whole":  sized("zstd", zs[:len(zs)-3]),
		"invalid zstd":              sized("zstd", before()),
	} {
		t.Run(name, func(t *testing.T) {
			s := standBefore(t, raw(t, answer), nil)
			resp := s.do("GET", "/", "")
			if got := text(t, resp); resp.StatusCode != 502 || !strings.Contains(got, "cut short or is invalid") {
				t.Errorf("%d %s", resp.StatusCode, got)
			}
			if o := s.observation(); o.Kind != proxy.Failed || o.Status != 502 {
				t.Errorf("observed %+v", o)
			}
		})
	}
	// An answer whose framing is complete is complete, even if its JSON is not.
	s := standBefore(t, raw(t, head("Content-Length: 5\r\n")+`{"a":`), nil)
	if got := text(t, s.do("GET", "/", "")); got != `{"a":` {
		t.Errorf("half a text that the service calls whole became %q", got)
	}
	s = standBefore(t, raw(t, head("Connection: close\r\n")+before()), nil)
	if got := text(t, s.do("GET", "/", "")); got != after(t) {
		t.Errorf("a whole text that ends with its connection became %q", got)
	}
}

func TestProxy_ServiceDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + l.Addr().String()
	l.Close()
	hang := make(gate)
	slow := stand(t, func(http.ResponseWriter, *http.Request) { <-hang }, func(c *proxy.Config) {
		c.AnswerTimeout = 20 * time.Millisecond
	})
	defer close(hang)
	for status, s := range map[int]*stage{502: standBefore(t, gone, nil), 504: slow} {
		resp := s.do("GET", "/graphql", "")
		body := text(t, resp)
		if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" ||
			resp.Header.Get("Cache-Control") != "no-store" || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%d %v %s, not %d", resp.StatusCode, resp.Header, body, status)
		}
		if o := s.observation(); o.Kind != proxy.Failed || o.Status != status || o.Broken {
			t.Errorf("observed %+v", o)
		}
	}
}

func TestProxy_ClientGone(t *testing.T) {
	arrived := make(gate)
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() }, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-arrived
	conn.Close()
	if o := s.observation(); o.Status != 499 || o.Upstream {
		t.Errorf("observed %+v", o)
	}
}

func TestProxy_WebSocket(t *testing.T) {
	s := stand(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-Websocket-Protocol") != "graphql-transport-ws" {
			t.Errorf("the service received the headers %v", r.Header)
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := rw.ReadString('\n')
		io.WriteString(conn, "echo "+line)
	}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "GET /graphql HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n")
	from := bufio.NewReader(conn)
	resp, err := http.ReadResponse(from, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	io.WriteString(conn, `{"imageUrl":"https://cdn.app.example/a.jpg"}`+"\n")
	if line, _ := from.ReadString('\n'); line != `echo {"imageUrl":"https://cdn.app.example/a.jpg"}`+"\n" {
		t.Errorf("the WebSocket received %q", line)
	}
	conn.Close()
	if o := s.observation(); o.Kind != proxy.Upgraded || o.Status != 101 {
		t.Errorf("observed %+v", o)
	}
}

func TestProxy_BoundedMemory(t *testing.T) {
	const length = 32 << 20
	for _, body := range []string{
		`{"imageUrl":"https://cdn.app.example/a.jpg","thumbnailUrl":null},`, // many URLs
		strings.Repeat("x", 1<<20), // one string that never ends
	} {
		s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `["`[:1+len(body)>>20])
			for n := 0; n < length; n += len(body) {
				io.WriteString(w, body)
			}
		}, func(c *proxy.Config) {
			c.Linker = newLinker(t, func(l *imagelink.Config) { l.HandedOut = func([]string) {} })
		})
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // and the memory that pools kept for earlier answers
		runtime.ReadMemStats(&m)
		least, most := m.HeapAlloc, uint64(0)
		resp := s.do("GET", "/", "")
		for n := 0; ; n++ {
			_, err := io.CopyN(io.Discard, resp.Body, 8<<20)
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if most > least+2<<20 {
			t.Errorf("%d KiB of heap for a body of %.30s…", (most-least)>>10, body)
		}
	}
}

func TestProxy_StreamsOtherAnswers(t *testing.T) {
	end := make(gate)
	s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		w.Header().Set("Content-Length", "6")
		io.WriteString(w, "abc")
		w.(http.Flusher).Flush()
		<-end
		io.WriteString(w, "def")
	}, nil)
	resp := s.do("GET", "/", "")
	got := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "abc" {
		t.Errorf("%q, %v", got, err)
	}
	close(end)
	if got := text(t, resp); got != "def" {
		t.Errorf("and then %q", got)
	}
}

func TestProxy_ChunkedQuery(t *testing.T) {
	lengths := make(chan int64, 1)
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) { lengths <- r.ContentLength }, nil)
	for contentType, want := range map[string]int64{"application/json": 13, "application/octet-stream": -1} {
		body := io.MultiReader(strings.NewReader(`{"query":"{a`), strings.NewReader("}"))
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := <-lengths; got != want {
			t.Errorf("%s has length %d, not %d", contentType, got, want)
		}
	}
}

func TestProxy_ForwardsRequest(t *testing.T) {
	asked := make(chan *http.Request, 1)
	body := make(chan string, 1)
	s := stand(t, func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		body <- string(b)
		asked <- r
	}, nil)
	for _, sent := range []struct{ contentType, body string }{
		{"application/json", `{"query":"{a}"}`},
		{"application/json", strings.Repeat("x", 1<<20)},
		{"application/octet-stream", "\x00"},
		{"", ""},
	} {
		s.do("POST", "/a%2Fb//c?x=1;y=%zz&z", sent.body, "Content-Type: "+sent.contentType,
			"Host: api.app.example", "Authorization: Bearer t", "Cookie: a=b")
		r := <-asked
		if got := <-body; got != sent.body {
			t.Errorf("the body became %.50q", got)
		}
		if r.RequestURI != "/a%2Fb//c?x=1;y=%zz&z" || r.Header.Get("Authorization") != "Bearer t" ||
			r.Header.Get("Cookie") != "a=b" || r.Method != "POST" {
			t.Errorf("the service was asked %s %v", r.RequestURI, r.Header)
		}
		if r.Host != strings.TrimPrefix(s.url, "http://") {
			t.Errorf("for host %s", r.Host)
		}
		if r.ContentLength != int64(len(sent.body)) {
			t.Errorf("a body of %d has length %d", len(sent.body), r.ContentLength)
		}
	}
}

func TestProxy_HandedOut(t *testing.T) {
	all := make(chan []string, 10)
	s := stand(t, answering("application/json", `[{"imageUrl":"https://cdn.app.example/a.jpg","thumbnailUrl":"","avatarUrl":"https://avatars.example/u.jpg?v=2"},{"imageUrl":"https://else.example/b.jpg"}]`),
		handingOut(t, all))
	body := text(t, s.do("GET", "/", ""))
	got := <-all
	if len(got) != 2 ||
		!strings.Contains(got[0], "/v.0/posts/a.jpg.") || !strings.Contains(got[1], "/v.2/avatars/u.jpg.") ||
		!strings.Contains(body, "https://img.example.com"+got[0]+`"`) {
		t.Errorf("handed out %v in %s", got, body)
	}
	if o := s.observation(); o.Signed != 3 || o.Foreign != 1 {
		t.Errorf("observed %+v", o)
	}
}

func handingOut(t *testing.T, to chan []string) func(*proxy.Config) {
	return func(c *proxy.Config) {
		c.Linker = newLinker(t, func(l *imagelink.Config) { l.HandedOut = func(paths []string) { to <- paths } })
	}
}

// The paths of an event are reported while the stream continues.
func TestProxy_HandedOut_WhileStreaming(t *testing.T) {
	all := make(chan []string, 10)
	release := make(chan struct{})
	s := stand(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, "data: {\"imageUrl\":\"https://cdn.app.example/a.jpg\"}\n\n")
		w.(http.Flusher).Flush()
		<-release
	}, handingOut(t, all))
	resp := s.do("GET", "/", "")
	if got := <-all; len(got) != 1 || !strings.Contains(got[0], "/posts/a.jpg.") {
		t.Errorf("handed out %v", got)
	}
	close(release)
	text(t, resp)
}
