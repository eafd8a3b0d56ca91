package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/gateway/imagelink"
	"github.com/novasocial/imagetier/gateway/proxy"
)

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
