// Package faulty is an HTTP server for tests that misbehaves like a broken origin. The
// path of a URL selects the [Fault]:
//
//	/cut/a.jpg         promises a body and sends half of it
//	/once/cut/a.jpg    does so for the first request only
package faulty

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Fault is a way to misbehave: the first segment of a path, or the second after "once".
type Fault string

// The faults. By default the status is 200, with an entity tag and a length.
const (
	None            Fault = "ok"                   // the correct body
	Cut             Fault = "cut"                  // half of the body, then the connection is closed
	CutChunked      Fault = "cut-chunked"          // the same with chunks, without the last one
	TooLong         Fault = "too-long"             // twice the promised length
	WrongKind       Fault = "wrong-kind"           // an HTML page with the type of a JPEG
	FlippingTag     Fault = "flipping-tag"         // another strong entity tag each time
	IgnoresIfMatch  Fault = "ignores-if-match"     // as None, ignoring all conditions
	Unavailable     Fault = "503"                  // with Retry-After: 7
	Failed          Fault = "500"                  //
	BadGateway      Fault = "502"                  // an HTML page, the connection closed
	Reset           Fault = "reset"                // the connection is reset before an answer
	ResetBody       Fault = "reset-body"           // the connection is reset in the middle of the body
	Hang            Fault = "hang"                 // no answer
	HangHeaders     Fault = "hang-headers"         // half of the headers
	HangBody        Fault = "hang-body"            // half of the body
	Endless         Fault = "endless"              // a body without a length that never ends
	EndlessHeaders  Fault = "endless-headers"      // headers that never end
	EndlessInterim  Fault = "endless-interim"      // 103 answers that never end
	Trickle         Fault = "trickle"              // a byte every 5 ms, so never idle for long
	Gzip            Fault = "gzip"                 // Content-Encoding: gzip although not requested
	Partial         Fault = "206"                  // a range that was not requested
	Switching       Fault = "101"                  // an upgrade that was not requested
	NoContent       Fault = "204"                  //
	NotModified     Fault = "304"                  // to any request
	TwoLengths      Fault = "two-lengths"          // two different Content-Length
	Garbage         Fault = "garbage"              // not HTTP
	ToPrivate       Fault = "redirect-to-private"  // to 10.0.0.1
	ToMetadata      Fault = "redirect-to-metadata" // to 169.254.169.254
	ToElsewhere     Fault = "redirect-elsewhere"   // to example.com
	ToFile          Fault = "redirect-to-file"     // to file:///etc/passwd
	RedirectLoop    Fault = "redirect-loop"        // to itself
	RedirectNowhere Fault = "redirect-nowhere"     // without Location
)

// Server is a running server. It ends with its test.
type Server struct {
	URL  string // http://127.0.0.1:PORT
	Body []byte // the correct body

	listener net.Listener
	done     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool // guarded by mu
	counts   map[string]int    // guarded by mu; requests by path
}

// Start starts a server that serves body.
func Start(t testing.TB, body []byte) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		URL: "http://" + l.Addr().String(), Body: body,
		listener: l, done: make(chan struct{}), conns: map[net.Conn]bool{}, counts: map[string]int{},
	}
	s.wg.Go(s.accept)
	t.Cleanup(s.stop)
	return s
}

// Requests returns how many requests with exactly this path (without query) were received.
func (s *Server) Requests(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[path]
}

func (s *Server) stop() {
	close(s.done)
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.wg.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	defer conn.Close()
	s.mu.Lock()
	s.conns[conn] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	select {
	case <-s.done: // stop may have closed the connections before this one was added
		return
	default:
	}
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		fault, count := s.fault(req.URL.Path)
		if err := s.answer(&exchange{conn: conn, in: in, req: req, server: s, count: count}, fault); err != nil {
			return
		}
	}
}

// fault returns the fault for a path and how often the path was requested so far.
func (s *Server) fault(path string) (Fault, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[path]++
	count := s.counts[path]
	first, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if first == "once" {
		first, _, _ = strings.Cut(rest, "/")
		if count > 1 {
			first = string(None)
		}
	}
	return Fault(first), count
}

// errClose ends a connection.
var errClose = errors.New("close")

// exchange is one request and its answer.
type exchange struct {
	conn   net.Conn
	in     *bufio.Reader
	req    *http.Request
	server *Server
	count  int
}

// head writes a status line, headers and the empty line after them.
func (x *exchange) head(status string, lines ...string) {
	fmt.Fprintf(x.conn, "HTTP/1.1 %s\r\n%s", status, strings.Join(append(lines, "", ""), "\r\n"))
}

// ok writes the head of a 200 with a length.
func (x *exchange) ok(length int, lines ...string) {
	common := []string{`ETag: "1"`, "Content-Type: image/jpeg", fmt.Sprintf("Content-Length: %d", length)}
	x.head("200 OK", append(common, lines...)...)
}

// hang waits until the client closes the connection.
func (x *exchange) hang() error {
	_, _ = io.Copy(io.Discard, x.in)
	return errClose
}

func (x *exchange) reset() error {
	if tcp, ok := x.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return errClose
}

// forever writes b repeatedly until the client closes the connection.
func (x *exchange) forever(b string) error {
	for {
		if _, err := io.WriteString(x.conn, b); err != nil {
			return err
		}
	}
}

func (x *exchange) trickle(body []byte) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for i := range body {
		select {
		case <-tick.C:
		case <-x.server.done:
			return errClose
		}
		if _, err := x.conn.Write(body[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) redirect(location string) error {
	x.head("302 Found", "Location: "+location, "Content-Length: 0")
	return nil
}

func (s *Server) answer(x *exchange, fault Fault) error {
	body := s.Body
	half := body[:len(body)/2]
	switch fault {
	case None:
		if x.req.Header.Get("If-None-Match") == `"1"` {
			x.head("304 Not Modified", `ETag: "1"`)
			return nil
		}
		x.ok(len(body))
		_, err := x.conn.Write(body)
		return err
	case IgnoresIfMatch:
		x.ok(len(body))
		_, err := x.conn.Write(body)
		return err
	case FlippingTag:
		x.head("200 OK", fmt.Sprintf(`ETag: "%d"`, x.count), fmt.Sprintf("Content-Length: %d", len(body)))
		_, err := x.conn.Write(body)
		return err
	case Cut:
		x.ok(len(body))
		_, _ = x.conn.Write(half)
		return errClose
	case CutChunked:
		x.head("200 OK", `ETag: "1"`, "Transfer-Encoding: chunked")
		fmt.Fprintf(x.conn, "%x\r\n%s\r\n", len(half), half)
		return errClose
	case TooLong:
		x.ok(len(body))
		_, _ = x.conn.Write(append(bytes.Clone(body), body...))
		return nil
	case WrongKind:
		page := "<!doctype html><title>Sign in to continue</title>"
		x.ok(len(page))
		_, err := io.WriteString(x.conn, page)
		return err
	case Gzip:
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(body)
		_ = z.Close()
		x.ok(b.Len(), "Content-Encoding: gzip")
		_, err := x.conn.Write(b.Bytes())
		return err
	case Trickle:
		x.ok(len(body))
		return x.trickle(body)
	}
	return s.refuse(x, fault, half)
}

func (s *Server) refuse(x *exchange, fault Fault, half []byte) error {
	switch fault {
	case Unavailable:
		x.head("503 Service Unavailable", "Retry-After: 7", "Content-Length: 0")
	case Failed:
		x.head("500 Internal Server Error", "Content-Length: 4")
		fmt.Fprint(x.conn, "oops")
	case BadGateway:
		x.head("502 Bad Gateway", "Content-Type: text/html", "Connection: close")
		fmt.Fprint(x.conn, "<h1>502</h1>")
		return errClose
	case NoContent:
		x.head("204 No Content")
	case NotModified:
		x.head("304 Not Modified", `ETag: "1"`)
	case Partial:
		x.head("206 Partial Content",
			fmt.Sprintf("Content-Range: bytes 0-%d/%d", len(half)-1, len(s.Body)),
			fmt.Sprintf("Content-Length: %d", len(half)))
		_, _ = x.conn.Write(half)
	case Switching:
		x.head("101 Switching Protocols", "Upgrade: faulty", "Connection: Upgrade")
		return x.hang()
	case TwoLengths:
		x.ok(len(half), fmt.Sprintf("Content-Length: %d", len(s.Body)))
		_, _ = x.conn.Write(s.Body)
		return errClose
	case Garbage:
		fmt.Fprint(x.conn, "SSH-2.0-OpenSSH_9.2\r\n")
		return errClose
	case Reset:
		return x.reset()
	case ResetBody:
		x.ok(len(s.Body))
		_, _ = x.conn.Write(half)
		return x.reset()
	case Hang:
		return x.hang()
	case HangHeaders:
		fmt.Fprint(x.conn, "HTTP/1.1 200 OK\r\nContent-")
		return x.hang()
	case HangBody:
		x.ok(len(s.Body))
		_, _ = x.conn.Write(half)
		return x.hang()
	case Endless:
		x.head("200 OK", `ETag: "1"`, "Connection: close")
		return x.forever(strings.Repeat("x", 32<<10))
	case EndlessHeaders:
		fmt.Fprint(x.conn, "HTTP/1.1 200 OK\r\n")
		return x.forever("X-Pad: " + strings.Repeat("x", 1000) + "\r\n")
	case EndlessInterim:
		return x.forever("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n")
	case ToPrivate:
		return x.redirect("http://10.0.0.1/a.jpg")
	case ToMetadata:
		return x.redirect("http://169.254.169.254/latest/meta-data/")
	case ToElsewhere:
		return x.redirect("http://example.com/a.jpg")
	case ToFile:
		return x.redirect("file:///etc/passwd")
	case RedirectLoop:
		return x.redirect(x.req.URL.Path)
	case RedirectNowhere:
		x.head("302 Found", "Content-Length: 0")
	default:
		x.head("404 Not Found", "Content-Length: 0")
	}
	return nil
}
