package httpserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
)

// http1 is the engine of HTTP/1.1 for a [Responder]. Heads are parsed by fasthttp; connections,
// deadlines and answers are this package's, since fasthttp.Server reads a request's body before its
// handler can refuse it, has one deadline for a whole answer, and does not notice a client that
// leaves. HTTP/2 connections go to net/http, by ALPN or by their preface (handover.go).
//
// The life of a connection is serve, that of a request http1Conn.exchange.
type http1 struct {
	cfg      Config
	draining *atomic.Bool
	limit    *connLimit
	tls      *tls.Config // nil: no TLS
	http2    *handover

	base     context.Context // of requests
	readers  sync.Pool       // of *bufio.Reader, readerSize
	long     atomic.Int64    // connections with a head of more than readerSize
	open     sync.WaitGroup  // connections, and run
	stopping atomic.Bool     // no connection may wait for a request
}

// readerSize is the size of a connection's read buffer, in bytes: enough for the head of nearly
// every request. A longer head gets a buffer of Config.MaxHeaderBytes.
const readerSize = 4 << 10

// maxLongHeads is how many requests may have a longer head at the same time. Each takes up to three
// times Config.MaxHeaderBytes: buffer, parsed head, and what the handler copies.
const maxLongHeads = 1024

// run accepts connections until ln is closed.
func (e *http1) run(ln net.Listener) error {
	defer e.open.Done()
	pause := time.Duration(0)
	for {
		accepted, err := ln.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool } // out of descriptors, say
			if !errors.As(err, &temporary) || !temporary.Temporary() {
				return err
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.cfg.Log.Warn("accept failed", "err", err, "retry_ms", pause.Milliseconds())
			time.Sleep(pause)
			continue
		}
		pause = 0
		c := accepted.(*conn) // limitedListener's
		c.http1.Store(true)
		e.open.Add(1)
		go func() {
			defer e.open.Done()
			e.serve(c)
		}()
	}
}

// shutdown closes idle connections and waits for the others. The listener is closed.
func (e *http1) shutdown(ctx context.Context) error {
	e.stopping.Store(true)
	e.limit.closeIdleHTTP1()
	ended := make(chan struct{})
	go func() {
		e.open.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve serves one connection until it ends.
func (e *http1) serve(c *conn) {
	x := &http1Conn{engine: e, conn: c, rw: c, remote: c.RemoteAddr().String()}
	defer func() {
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			e.cfg.Log.Error("panic while serving", "remote", x.remote, "panic", v, "stack", string(debug.Stack()))
		}
		x.release(v == nil)
	}()
	_ = c.SetReadDeadline(c.opened.Add(e.cfg.HeaderTimeout))
	if e.tls != nil && !x.handshake() {
		return
	}
	if tcp, ok := c.Conn.(*net.TCPConn); ok && e.tls == nil {
		x.vector, _ = newVectorWriter(tcp)
	}
	x.reader = e.newReader(x.rw)
	for x.exchange() {
		x.shrink()
	}
}

// newReader returns a reader of readerSize.
func (e *http1) newReader(from io.Reader) *bufio.Reader {
	r, _ := e.readers.Get().(*bufio.Reader)
	if r == nil {
		return bufio.NewReaderSize(from, readerSize)
	}
	r.Reset(from)
	return r
}

// http1Conn is a connection that speaks HTTP/1.1. Its buffers are reused by its requests.
type http1Conn struct {
	engine *http1
	conn   *conn
	rw     net.Conn // conn, or TLS over it
	remote string
	handed bool // to net/http

	reader *bufio.Reader
	long   bool // counted in http1.long; reader has Config.MaxHeaderBytes
	head   fasthttp.RequestHeader
	served int // requests

	request  Request
	response Response
	close    bool // after this answer
	cut      bool // it was not sent to its end
	out      []byte
	vector   *vectorWriter // nil: TLS, or a test's connection

	readBy, writeBy time.Time // deadlines; zero: none, or unknown
}

// release ends the connection, unless it was handed over. reusable means that nothing reads from its reader any more.
func (x *http1Conn) release(reusable bool) {
	if x.long {
		x.engine.long.Add(-1)
	}
	if x.handed {
		return
	}
	_ = x.rw.Close()
	if reusable && x.reader != nil && x.reader.Size() == readerSize {
		x.reader.Reset(nil)
		x.engine.readers.Put(x.reader)
	}
}

// handshake reports whether the connection speaks HTTP/1.1 over TLS.
func (x *http1Conn) handshake() bool {
	secure := tls.Server(x.conn, x.engine.tls)
	x.rw = secure
	_ = x.conn.SetWriteDeadline(x.conn.opened.Add(x.engine.cfg.HeaderTimeout))
	if err := secure.Handshake(); err != nil {
		x.engine.cfg.Log.Debug("TLS handshake failed", "remote", x.remote, "err", err)
		return false
	}
	_ = x.conn.SetWriteDeadline(time.Time{})
	if secure.ConnectionState().NegotiatedProtocol == "h2" {
		x.handOver(secure)
		return false
	}
	return true
}

// exchange reads one request and answers it. It reports whether the connection may be used again.
func (x *http1Conn) exchange() bool {
	if err := x.readHead(); err != nil {
		x.refuse(err)
		return false
	}
	if x.conn.idleSince.Swap(0) == 0 && x.served > 0 {
		return false // replaced by a new connection since
	}
	if x.served++; x.served == 1 {
		x.engine.limit.move(x.conn, nil)
	}
	ctx := &watched{Context: x.engine.base, conn: x}
	x.begin(ctx)
	x.engine.cfg.Responder.Respond(&x.request, &x.response)
	if ctx.end() {
		x.readBy = time.Time{}
	}
	switch {
	case x.response.status == 0:
		panic("no answer")
	case x.cut:
		return false
	case x.close:
		x.linger()
		return false
	}
	return x.idle()
}

// begin prepares request and response for the head that was read.
func (x *http1Conn) begin(ctx context.Context) {
	h := &x.head
	method := http.MethodGet
	if !h.IsGet() {
		method = string(h.Method())
	}
	proto := "HTTP/1.1"
	if !h.IsHTTP11() {
		proto = "HTTP/1.0"
	}
	x.request = Request{
		Method: method, Target: string(h.RequestURI()), Proto: proto, RemoteAddr: x.remote,
		HasBody: h.ContentLength() > 0 || h.ContentLength() == chunked, ctx: ctx, fields: x,
	}
	x.response = Response{sender: x, lines: x.response.lines[:0]}
	x.close = h.ConnectionClose() || x.request.HasBody
}

// chunked is fasthttp's Content-Length of a body whose length is not announced.
const chunked = -1

// values implements the fields of [Request].
func (x *http1Conn) values(name string) (lines []string) {
	for _, line := range x.head.PeekAll(name) {
		lines = append(lines, string(line))
	}
	return lines
}

// idle notes that the connection waits for a request. It reports whether it may.
func (x *http1Conn) idle() bool {
	now := time.Now()
	x.allowRead(now, x.engine.cfg.IdleTimeout)
	x.conn.idleSince.Store(now.UnixNano())
	if x.engine.limit.waiting.Load() {
		x.engine.limit.signal()
	}
	// After storing: shutdown sets stopping before it looks for idle connections.
	return !x.engine.stopping.Load()
}

// allowRead sets the read deadline. One that is at most a 16th earlier stays, since setting one
// costs as much as looking up an image.
func (x *http1Conn) allowRead(now time.Time, d time.Duration) {
	if left := x.readBy.Sub(now); left <= d && left >= d-d/16 {
		return
	}
	x.readBy = now.Add(d)
	_ = x.rw.SetReadDeadline(x.readBy)
}

// linger ends the connection after an answer: the client reads it before a reset could overtake it
// (RFC 9112, 9.6), since what else it sends is discarded for discardTime.
func (x *http1Conn) linger() {
	if half, ok := x.rw.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_ = x.rw.SetReadDeadline(time.Now().Add(discardTime))
	_, _ = io.Copy(io.Discard, x.rw)
}

// handOver gives the connection to net/http, which speaks HTTP/2.
func (x *http1Conn) handOver(c net.Conn) {
	x.handed = true
	x.conn.http1.Store(false)
	_ = c.SetReadDeadline(time.Time{})
	if !x.engine.http2.give(c) {
		_ = c.Close()
	}
}
