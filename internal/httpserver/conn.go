package httpserver

import (
	"container/list"
	"fmt"
	"io"
	"net"
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
	unread    []byte // read before, by http1
	head      headLines
	http1     atomic.Bool // served by http1
}

func (c *conn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.limit.remove(c) })
	return err
}

// Read notes the first byte.
func (c *conn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
		c.limit.move(c, c.limit.begun)
	}
	if c.head.read(p[:n]) != nil {
		c.refuseHead()
		return 0, io.EOF
	}
	return n, err
}

// refuseHead answers a head of too many lines like net/http answers one of too many bytes.
func (c *conn) refuseHead() {
	const status = "431 Request Header Fields Too Large"
	_ = c.SetDeadline(time.Now().Add(discardTime))
	_, _ = fmt.Fprintf(c.Conn, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\n\r\n%s: %v\n", status, status, errHeadLines)
	_ = c.CloseWrite()
	_, _ = io.Copy(io.Discard, c.Conn)
}

// CloseWrite lets net/http close a connection without a reset that could overtake the answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
