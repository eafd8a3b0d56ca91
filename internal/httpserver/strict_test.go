package httpserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/testutil"
)

// rawRequests are bytes that a client may send, and what each server makes of them: the status and target of
// each request that it recognized, and "close" if it then closed the connection within 150 ms. "" is the same
// as http1; "-" is not tried, because the server waits for more. {…} repeats the text before it that often.
var rawRequests = []struct {
	name, raw             string
	http1, netHTTP, nginx string
}{
	{"one", "GET /a HTTP/1.1\r\nHost: h\r\n\r\n", "200 /a", "", ""},
	{"pipelined", "GET /a HTTP/1.1\r\nHost: h\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n", "200 /a 200 /b", "", ""},
	{"pipelined after close",
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"200 /a close", "", ""},
	{"HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n", "200 /a close", "", ""},
	{"HTTP/1.0 kept alive", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 /a", "", ""},

	// Where a body ends (RFC 9112, 6).
	{"empty body", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"200 /a 200 /b", "", ""},
	{"request within a body",
		"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"200 /a close", "200 /a", "200 /a"},
	{"request within a chunk",
		"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"200 /a close", "200 /a", "200 /a"},
	{"request after a chunk",
		"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n",
		"200 /a close", "", "200 /a 200 /b"},
	{"expectation", "GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
		"200 /a close", "200 /a", "100 200 /a"},
	{"length twice", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
		"400 close", "200 /a", ""},
	{"two lengths", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
		"400 close", "", ""},
	{"list of lengths", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0, 0\r\n\r\n", "400 close", "", ""},
	{"length with sign", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: +0\r\n\r\n", "400 close", "", ""},
	{"negative length", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", "400 close", "", ""},
	{"hexadecimal length", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0x0\r\n\r\n", "400 close", "", ""},
	{"no length", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", "400 close", "", ""},
	{"length above 2^64", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"400 close", "", ""},
	{"length and chunked",
		"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"400 close", "200 /a close", ""},
	{"chunked and length",
		"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"400 close", "200 /a close", ""},
	{"chunked twice",
		"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"400 close", "501 close", ""},
	{"gzip and chunked", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"400 close", "501 close", "501 close"},
	{"chunked and identity", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"400 close", "501 close", "501 close"},
	{"identity", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n",
		"400 close", "501 close", "501 close"},
	{"unknown coding", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
		"400 close", "501 close", "501 close"},
	{"chunked by \\v", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \vchunked\r\n\r\n",
		"400 close", "", "501 close"},
	{"chunked in HTTP/1.0", "GET /a HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"400 close", "200 /a close", ""},

	// Where a line ends, and a name (RFC 9112, 2.2 and 5).
	{"folded", "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", "400 close", "200 /a", ""},
	{"folded by a tab", "GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n0\r\n\r\n",
		"400 close", "200 /a close", ""},
	{"folded, with a colon",
		"GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\n\tContent-Length: 5\r\n\r\n", "400 close", "200 /a", ""},
	{"folded at once", "GET /a HTTP/1.1\r\n Host: h\r\n\r\n", "400 close", "", ""},
	{"LF after the request line", "GET /a HTTP/1.1\nHost: h\r\n\r\n", "400 close", "200 /a", "200 /a"},
	{"LF after a field", "GET /a HTTP/1.1\r\nHost: h\nA: b\r\n\r\n", "400 close", "200 /a", "200 /a"},
	{"LF at the end", "GET /a HTTP/1.1\r\nHost: h\r\n\n", "400 close", "200 /a", "200 /a"},
	{"LF only", "GET /a HTTP/1.1\nHost: h\n\n", "400 close", "200 /a", "200 /a"},
	{"CR within a value", "GET /a HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", "400 close", "", ""},
	{"CR twice", "GET /a HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n", "400 close", "", "200 /a"},
	{"NUL within a value", "GET /a HTTP/1.1\r\nHost: h\r\nA: b\x00c\r\n\r\n", "400 close", "", ""},
	{"empty line first", "\r\nGET /a HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", "200 /a"},
	{"space before the colon", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length : 0\r\n\r\n", "400 close", "", ""},
	{"tab before the colon", "GET /a HTTP/1.1\r\nHost: h\r\nContent-Length\t: 0\r\n\r\n", "400 close", "", ""},
	{"space within a name", "GET /a HTTP/1.1\r\nHost: h\r\nContent Length: 0\r\n\r\n", "400 close", "", ""},
	{"no name", "GET /a HTTP/1.1\r\nHost: h\r\n: b\r\n\r\n", "400 close", "", ""},
	{"no colon", "GET /a HTTP/1.1\r\nHost: h\r\nab\r\n\r\n", "400 close", "", "200 /a"},

	// The request line (RFC 9112, 3).
	{"absolute", "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "200 http://h/a", "", "200 /a"},
	{"absolute, another host", "GET http://h/a HTTP/1.1\r\nHost: i\r\n\r\n", "200 http://h/a", "", "200 /a"},
	{"relative", "GET a HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"asterisk", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "200 *", ""},
	{"space within the target", "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"two spaces", "GET  /a HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", "200 /a"},
	{"tabs", "GET\t/a\tHTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"space at the end", "GET /a HTTP/1.1 \r\nHost: h\r\n\r\n", "400 close", "", "200 /a"},
	{"control character", "GET /a\x01b HTTP/1.1\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"raw path", "GET /%2e%2E/..//a/%61?b HTTP/1.1\r\nHost: h\r\n\r\n", "200 /%2e%2E/..//a/%61?b", "", "400 close"},
	{"no host", "GET /a HTTP/1.1\r\n\r\n", "400 close", "", ""},
	{"two hosts", "GET /a HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"HTTP/0.9", "GET /a\r\n\r\n", "400 close", "-", "close"},
	{"HTTP/1.2", "GET /a HTTP/1.2\r\nHost: h\r\n\r\n", "505 close", "200 /a", "200 /a"},
	{"HTTP/2.0", "GET /a HTTP/2.0\r\nHost: h\r\n\r\n", "505 close", "", ""},
	{"lower-case version", "GET /a http/1.1\r\nHost: h\r\n\r\n", "400 close", "", ""},
	{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n", "400 close", "-", ""},

	// Size.
	{"long line", "GET /" + strings.Repeat("a", 33<<10) + " HTTP/1.1\r\nHost: h\r\n\r\n", "431 close", "", "414 close"},
	{"long field", "GET /a HTTP/1.1\r\nHost: h\r\nA: " + strings.Repeat("a", 33<<10) + "\r\n\r\n",
		"431 close", "", "400 close"},
	{"many fields", "GET /a HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A: b\r\n", 6<<10) + "\r\n",
		"431 close", "", "400 close"},
}

// heard sends raw and returns how the server interpreted it, in the notation of rawRequests.
func heard(t *testing.T, addr, raw string) string {
	t.Helper()
	conn := apitest.Dial(t, addr)
	defer conn.Close()
	_, _ = io.WriteString(conn, raw) // a server may refuse it before it has read it
	r := bufio.NewReader(conn)
	var said []string
	for {
		if len(said) > 0 {
			_ = conn.SetReadDeadline(time.Now().Add(150 * time.Millisecond))
		}
		if _, err := r.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
			return strings.Join(said, " ")
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return strings.Join(append(said, "close"), " ")
		}
		said = append(said, fmt.Sprint(resp.StatusCode))
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode == 200 {
			said = append(said, string(body))
		}
	}
}

// nginx runs nginx, which answers the target, until the test ends, and returns the address.
func nginx(t *testing.T) string {
	t.Helper()
	program := testutil.Command(t, "apt-get install nginx-light", "nginx", "/usr/sbin/nginx")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := "daemon off; pid " + dir + "/pid; error_log " + dir + "/log; events {} http { access_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		text += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	text += "server { listen " + addr + "; lingering_timeout 1s; location / { return 200 $request_uri; } } }"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-e", dir+"/log", "-p", dir, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	for range 500 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
		time.Sleep(10 * time.Millisecond) // another process
	}
	t.Fatal("nginx does not listen")
	return ""
}

// http1 accepts a request only if every recipient on the way would read the same request.
func TestServer_Run_RawRequests(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) })
	addrs := map[string]string{"nginx": nginx(t)}
	for name, on := range engines {
		addrs[name] = serve(t, on(Config{Handler: echo}))
	}
	for _, row := range rawRequests {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			for name, want := range map[string]string{"http1": row.http1, "net/http": row.netHTTP, "nginx": row.nginx} {
				if want == "" {
					want = row.http1
				}
				if want == "-" {
					continue
				}
				if got := heard(t, addrs[name], row.raw); got != want {
					t.Errorf("%s: %s; want %s", name, got, want)
				}
			}
		})
	}
}
