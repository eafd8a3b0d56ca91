package httpserver

import (
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// connLimit bounds the open connections of one server. A request costs it one atomic store
// at its beginning and one at its end; everything else happens when connections open and
// close.
type connLimit struct {
	max     int
	waiting atomic.Bool // a new connection waits for room
	wake    chan struct{}
	closed  chan struct{}
	once    sync.Once

	mu   sync.Mutex
	open map[*conn]struct{} // guarded by mu
}

func newConnLimit(limit int) *connLimit {
	return &connLimit{
		max:    limit,
		wake:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		open:   make(map[*conn]struct{}),
	}
}

// listen returns ln with the limit applied.
func (l *connLimit) listen(ln net.Listener) net.Listener { return &limitedListener{ln, l} }

type limitedListener struct {
	net.Listener
	limit *connLimit
}

// Accept accepts a connection first and then waits for room, so idle connections are closed
// only when a new one has actually arrived.
func (ln *limitedListener) Accept() (net.Conn, error) {
	accepted, err := ln.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: accepted}
	c.onClose = func() { ln.limit.remove(c) }
	if !ln.limit.admit(c) {
		accepted.Close()
		return nil, net.ErrClosed
	}
	return c, nil
}

func (ln *limitedListener) Close() error {
	ln.limit.once.Do(func() { close(ln.limit.closed) })
	return ln.Listener.Close()
}

// admit waits until there is room for c. It returns false if the listener was closed.
func (l *connLimit) admit(c *conn) bool {
	for {
		l.mu.Lock()
		if len(l.open) < l.max {
			l.open[c] = struct{}{}
			l.waiting.Store(false)
			l.mu.Unlock()
			return true
		}
		// Set before searching: a connection that turns idle after the search sees it.
		l.waiting.Store(true)
		idle := l.longestIdleLocked()
		l.mu.Unlock()
		if idle != nil {
			_ = idle.Close() // makes room
			continue
		}
		select {
		case <-l.wake:
		case <-l.closed:
			return false
		}
	}
}

// longestIdleLocked marks the connection that has been idle longest as busy and returns
// it; nil if none is idle.
func (l *connLimit) longestIdleLocked() *conn {
	for {
		var oldest *conn
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

// stateChanged is the ConnState hook of http.Server.
func (l *connLimit) stateChanged(changed net.Conn, state http.ConnState) {
	if wrapped, ok := changed.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		changed = wrapped.NetConn()
	}
	c, ok := changed.(*conn)
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

func (l *connLimit) remove(c *conn) {
	l.mu.Lock()
	delete(l.open, c)
	l.mu.Unlock()
	if l.waiting.Load() {
		l.signal()
	}
}
