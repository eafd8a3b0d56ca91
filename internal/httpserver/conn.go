package httpserver

import (
	"bytes"
	"container/list"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that counts toward its limit until it is closed.
type conn struct {
	net.Conn
	limit     *connLimit
	opened    time.Time
	address   netip.Prefix
	heard     atomic.Bool  // it has sent a byte
	served    atomic.Bool  // it has sent a request
	idleSince atomic.Int64 // Unix nanoseconds; 0: busy
	newcomers *list.List   // guarded by limit.mu, like place: the list that it is in; nil: none
	place     *list.Element
	once      sync.Once
	gathered  gathered
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.limit.remove(c) })
	return err
}

// Read notes the first byte.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
		c.limit.move(c, c.limit.begun)
	}
	return n, err
}

// CloseWrite lets net/http close a connection without a reset that could overtake the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// gathered turns the two writes of an answer into one. net/http writes the headers with as
// much of the body as fits into its 4 KiB buffer, then the rest. Each is a system call that
// takes a packet through the network stack and wakes the client, which is most of what a
// cache hit costs. An armed connection holds the first write back and sends it together
// with the second, with its own header lines inserted behind the status line.
type gathered struct {
	armed bool   // the next Write is held back
	lines []byte // header lines to insert, each with its CRLF; the array is reused
	held  []byte // the write that was held back; the array is reused
}

// gatherFrom is the minimum body length for gathering, in bytes: net/http's buffer is
// shorter, so a second write always follows.
const gatherFrom = 4 << 10

// errNoStatusLine cannot happen: before an answer net/http sends only 100 Continue, and
// that only to handlers that read the body.
var errNoStatusLine = errors.New("answer does not begin with a status line")

type connKey struct{}

// withConn is the http.Server hook that lets a handler find its connection. TLS
// connections are not found: crypto/tls gathers records itself.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if c, ok := c.(*conn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connOf returns the connection of a request; nil if other requests share it (HTTP/2) or
// if it cannot gather.
func connOf(r *http.Request) *conn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// gather joins the next two writes. Only the goroutine that writes may call it.
func (c *conn) gather() { c.gathered.armed = true }

// hold keeps p, which begins with a status line, and inserts the header lines.
func (g *gathered) hold(p []byte) error {
	end := bytes.IndexByte(p, '\n') + 1
	if end == 0 || !bytes.HasPrefix(p, []byte("HTTP/1.")) {
		return errNoStatusLine
	}
	g.held = append(g.held[:0], p[:end]...)
	g.held = append(g.held, g.lines...)
	g.held = append(g.held, p[end:]...)
	return nil
}

// release ends gathering and sends what is still held: nothing, after two writes.
func (c *conn) release() error {
	c.gathered.armed = false
	if len(c.gathered.held) == 0 {
		return nil
	}
	_, err := c.Write(nil)
	return err
}

// Write writes p, or holds it for the next Write. An error in writing what was held is
// returned by the Write that sends it.
func (c *conn) Write(p []byte) (int, error) {
	g := &c.gathered
	if g.armed {
		g.armed = false
		if err := g.hold(p); err != nil {
			return 0, err // net/http then closes the connection
		}
		return len(p), nil
	}
	if len(g.held) == 0 {
		return c.Conn.Write(p)
	}
	parts := net.Buffers{g.held, p}
	n, err := parts.WriteTo(c.Conn) // one writev
	before := int64(len(g.held))
	g.held = g.held[:0]
	return int(max(0, n-before)), err
}
