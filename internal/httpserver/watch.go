package httpserver

import (
	"context"
	"sync"
	"time"
)

// watched is the context of an HTTP/1.1 request. The first call of Done starts a goroutine that
// waits for the client to leave, so a request that waits for nothing costs none.
type watched struct {
	context.Context // the server's
	conn            *http1Conn

	mu     sync.Mutex
	inner  context.Context // guarded by mu: nil until Done is called
	cancel context.CancelFunc
	over   bool          // guarded by mu: the request is answered
	ended  chan struct{} // closed when the goroutine has ended; nil if it was not started
}

// Done starts watching.
func (w *watched) Done() <-chan struct{} { return w.begin().Done() }

func (w *watched) begin() context.Context {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inner != nil {
		return w.inner
	}
	w.inner, w.cancel = context.WithCancel(w.Context)
	if w.over {
		w.cancel()
		return w.inner
	}
	w.ended = make(chan struct{})
	_ = w.conn.rw.SetReadDeadline(time.Time{}) // before end can set it
	go w.watch(w.cancel)
	return w.inner
}

// watch waits for one byte more than has come: the end of the connection, or the next request. The
// bytes stay in the reader's buffer. It is the only reader of the connection while it runs.
func (w *watched) watch(left context.CancelFunc) {
	defer close(w.ended)
	r := w.conn.reader
	if _, err := r.Peek(r.Buffered() + 1); err != nil && r.Buffered() < r.Size() {
		left()
	}
}

// Err does not start watching.
func (w *watched) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.inner != nil:
		return w.inner.Err()
	case w.over:
		return context.Canceled
	}
	return w.Context.Err()
}

// Value finds the inner context, so that derived contexts need no goroutine.
func (w *watched) Value(key any) any {
	w.mu.Lock()
	inner := w.inner
	w.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return w.Context.Value(key)
}

// end ends the request: the context is done, and nothing reads the connection anymore. It reports
// whether the connection was watched, in which case its read deadline has passed.
func (w *watched) end() (was bool) {
	w.mu.Lock()
	w.over = true
	ended, cancel := w.ended, w.cancel
	w.mu.Unlock()
	if ended == nil {
		return false
	}
	cancel()
	_ = w.conn.rw.SetReadDeadline(time.Unix(1, 0))
	<-ended
	return true
}
