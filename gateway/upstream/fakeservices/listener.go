package fakeservices

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// listener counts connections and delays each of them.
type listener struct {
	net.Listener
	latency        time.Duration
	accepted, open atomic.Int64
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.accepted.Add(1)
	l.open.Add(1)
	closed := sync.OnceFunc(func() { l.open.Add(-1) })
	if l.latency <= 0 {
		return &conn{Conn: c, closed: closed}, nil
	}
	return &lateConn{conn: conn{Conn: c, closed: closed}, from: time.Now().Add(l.latency)}, nil
}

type conn struct {
	net.Conn
	closed func()
}

func (c *conn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// lateConn simulates the round trips of opening a connection: no byte passes before the time from.
// The server writes its settings first, and a client waits for them.
type lateConn struct {
	conn
	from time.Time
}

func (c *lateConn) Read(b []byte) (int, error) {
	time.Sleep(time.Until(c.from))
	return c.conn.Read(b)
}

func (c *lateConn) Write(b []byte) (int, error) {
	time.Sleep(time.Until(c.from))
	return c.conn.Write(b)
}
