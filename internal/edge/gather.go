package edge

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
)

// net/http writes an answer in two: the headers with what of the body fits into its
// buffer of 4 KiB, then the rest. Each is a system call that takes a packet through the
// network stack and wakes the client, most of what a hit costs. A connection that was told
// to gather keeps the first of the two back and sends it together with the second, with
// its own lines behind the status line.
type gathered struct {
	armed bool   // the next Write is kept back
	lines []byte // header fields for it, each with its CRLF; their array is used again
	held  []byte // what was kept back; likewise
}

// gatherFrom is the length of a body from which on an answer is two writes: net/http's
// buffer is shorter, so that a second one always comes.
const gatherFrom = 4 << 10

// errNoStatusLine cannot happen: net/http sends nothing before an answer but 100 Continue,
// and that only to who reads the body.
var errNoStatusLine = errors.New("answer does not begin with a status line")

type connKey struct{}

// withConn is the hook of http.Server by which a handler finds its connection. Over TLS
// there is none to find: records are gathered there.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	if c, ok := conn.(*limitedConn); ok {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connOf returns the connection of a request, nil if it shares it with others (HTTP/2)
// or did not come over one that can gather.
func connOf(r *http.Request) *limitedConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	c, _ := r.Context().Value(connKey{}).(*limitedConn)
	return c
}

// gather makes the next two writes one, and puts the lines into it. Only the goroutine that
// writes may call it.
func (c *limitedConn) gather() { c.gathered.armed = true }

// hold keeps p back, which begins with a status line, with the lines behind that.
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

// release ends gathering, and sends what is still kept back: nothing, after two writes.
func (c *limitedConn) release() error {
	c.gathered.armed = false
	if len(c.gathered.held) == 0 {
		return nil
	}
	_, err := c.Write(nil)
	return err
}

// Write writes p, or keeps it for the next Write. An error of what was kept back is that
// of the Write with which it goes.
func (c *limitedConn) Write(p []byte) (int, error) {
	g := &c.gathered
	if g.armed {
		g.armed = false
		if err := g.hold(p); err != nil {
			return 0, err // and net/http closes the connection
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
