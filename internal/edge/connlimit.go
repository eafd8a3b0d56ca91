package edge

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// connLimit bounds the open connections of one server. A request costs it one atomic
// store when it begins and one when it ends; the rest happens when connections open and close.
type connLimit struct {
	max     int
	waiting atomic.Bool // somebody waits for room
	wake    chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu   sync.Mutex
	open map[*limitedConn]struct{}
}

func newConnLimit(most int) *connLimit {
	return &connLimit{
		max:    most,
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		open:   make(map[*limitedConn]struct{}),
	}
}

// listen returns ln under the limit.
func (l *connLimit) listen(ln net.Listener) net.Listener { return &limitedListener{ln, l} }

type limitedListener struct {
	net.Listener
	limit *connLimit
}

// Accept takes one connection more than the limit allows and, if that is one too many,
// keeps it waiting: so nobody is put out as long as nobody comes.
func (ln *limitedListener) Accept() (net.Conn, error) {
	conn, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &limitedConn{Conn: conn, limit: ln.limit}
	if !ln.limit.admit(c) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (ln *limitedListener) Close() error {
	ln.limit.once.Do(func() { close(ln.limit.closed) })
	return ln.Listener.Close()
}

// admit returns once there is room for c; false: the listener was closed meanwhile.
func (l *connLimit) admit(c *limitedConn) bool {
	for {
		l.mu.Lock()
		if len(l.open) < l.max {
			l.open[c] = struct{}{}
			l.waiting.Store(false)
			l.mu.Unlock()
			return true
		}
		// Before looking for an idle one: what turns idle after that look sees the flag.
		l.waiting.Store(true)
		out := l.longestIdleLocked()
		l.mu.Unlock()
		if out != nil {
			_ = out.Close() // which makes room
			continue
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return false
		}
	}
}

// longestIdleLocked takes the connection that has been idle longest out of use, nil if
// none is idle.
func (l *connLimit) longestIdleLocked() *limitedConn {
	for {
		var oldest *limitedConn
		since := int64(0)
		for c := range l.open {
			if at := c.idleSince.Load(); at > 0 && (oldest == nil || at < since) {
				oldest, since = c, at
			}
		}
		if oldest == nil || oldest.idleSince.CompareAndSwap(since, 0) {
			return oldest
		}
	}
}

// stateChanged is the hook of http.Server.
func (l *connLimit) stateChanged(conn net.Conn, state http.ConnState) {
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = wrapped.NetConn()
	}
	c, ok := conn.(*limitedConn)
	if !ok {
		return
	}
	if state != http.StateIdle {
		c.idleSince.Store(0)
		return
	}
	c.idleSince.Store(time.Now().UnixNano())
	if l.waiting.Load() {
		l.signal()
	}
}

func (l *connLimit) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *connLimit) remove(c *limitedConn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	if l.waiting.Load() {
		l.signal()
	}
}

// limitedConn is a connection that counts until it is closed.
type limitedConn struct {
	net.Conn
	limit     *connLimit
	idleSince atomic.Int64 // Unix nanoseconds; 0: busy
	once      sync.Once
	gathered  gathered
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.limit.remove(c) })
	return err
}

// CloseWrite lets net/http end a connection without a reset that could overtake the answer.
func (c *limitedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
