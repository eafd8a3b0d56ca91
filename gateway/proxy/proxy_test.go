package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

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
