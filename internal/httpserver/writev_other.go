//go:build !linux

package httpserver

import "net"

// vectorWriter writes a head and a body to a TCP connection by one writev.
type vectorWriter struct{ conn *net.TCPConn }

func newVectorWriter(c *net.TCPConn) (*vectorWriter, error) { return &vectorWriter{c}, nil }

func (w *vectorWriter) write(head, body []byte) (written int64, err error) {
	both := net.Buffers{head, body}
	return both.WriteTo(w.conn)
}
