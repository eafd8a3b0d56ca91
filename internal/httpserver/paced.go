package httpserver

import (
	"bufio"
	"net"
	"net/http"
	"time"
)

// Paced returns a handler like next whose answers are written at pace, in HTTP/1 and HTTP/2
// alike: a client that stops reading ends its own answer. A handler may take its time
// between two writes. Those that answer through [Response.Send] do not need it. A connection that
// the handler takes over (Hijack) keeps the pace.
func Paced(pace Pace, next http.Handler) http.Handler {
	pace = pace.WithDefaults()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paced := &pacedWriter{w, http.NewResponseController(w), &pace}
		// net/http sends what it has buffered after the handler has returned.
		defer paced.allow(pace.Step)
		next.ServeHTTP(paced, r)
	})
}

type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	pace    *Pace
}

// allow sets the deadline for writing n bytes. Only writers of tests have no deadlines.
func (w *pacedWriter) allow(n int) {
	_ = w.control.SetWriteDeadline(time.Now().Add(w.pace.allowance(n)))
}

// pause ends the deadline: HTTP/2 would end the stream although nothing is being written.
func (w *pacedWriter) pause() { _ = w.control.SetWriteDeadline(time.Time{}) }

func (w *pacedWriter) Write(p []byte) (written int, err error) {
	defer w.pause()
	for {
		step := p[:min(len(p), w.pace.Step)]
		w.allow(len(step))
		n, err := w.ResponseWriter.Write(step)
		written += n
		if p = p[len(step):]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

// FlushError is called by [http.ResponseController.Flush].
func (w *pacedWriter) FlushError() error {
	defer w.pause()
	w.allow(w.pace.Step)
	return w.control.Flush()
}

// Unwrap is called by [http.ResponseController].
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack is called by [http.ResponseController]. Writes through the returned buffer are not paced.
func (w *pacedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, buffered, err := w.control.Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &pacedConn{c, w.pace}, buffered, nil
}

// pacedConn is a connection that a handler has taken over, like that of a WebSocket.
type pacedConn struct {
	net.Conn
	pace *Pace
}

func (c *pacedConn) Write(p []byte) (int, error) {
	_ = c.SetWriteDeadline(time.Now().Add(c.pace.allowance(len(p))))
	return c.Conn.Write(p)
}

// CloseWrite lets a proxy pass on that one side has ended.
func (c *pacedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}
