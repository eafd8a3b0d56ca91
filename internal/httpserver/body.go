package httpserver

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// discardTime is how long a connection stays open after the answer to a request whose
	// body was not read. Closing at once would reset the connection, and the reset could
	// overtake the answer (RFC 9112, 9.6). With the half-second that net/http waits after
	// closing its own half, the connection is closed within a second of the answer.
	discardTime = 400 * time.Millisecond
	// drainGrace is the [Pace.Grace] of request bodies once the server drains, and the time
	// for first requests to be complete.
	drainGrace = time.Second
)

// HasBody reports whether r announces a body, by Content-Length, chunked coding or an
// HTTP/2 stream that its client left open. An empty one that is announced does not count.
func HasBody(r *http.Request) bool { return r.ContentLength != 0 }

// bounded gives the bodies of requests a deadline: each is read at Config.BodyPace, and
// what the handler leaves unread holds its connection for less than a second. The
// connection of an HTTP/1 request whose body was not read to its end is closed.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !HasBody(r) {
			next.ServeHTTP(w, r)
			return
		}
		b := &body{
			ReadCloser: r.Body, control: http.NewResponseController(w),
			pace: s.cfg.BodyPace, credit: s.cfg.BodyPace.Grace,
		}
		s.bodies.add(b)
		// A copy, because net/http checks the type of the body of its own request.
		copied := *r
		copied.Body = b
		answer := &bodyWriter{ResponseWriter: w, body: b, http1: r.ProtoMajor == 1}
		defer func() {
			answer.begin(http.StatusOK)
			s.bodies.remove(b)
			if answer.http1 && !b.read() { // a deadline would also end the context of the connection's next request
				_ = b.control.SetReadDeadline(time.Now().Add(discardTime))
			}
		}()
		next.ServeHTTP(answer, &copied)
	})
}

// body is a request body that must come at a [Pace]. A client has a credit of time, at most
// pace.Grace: waiting for the client uses it up, each byte adds 1/pace.Rate seconds. A client that
// stalls is therefore cut off after Grace, and so is one that sends a byte now and then; Apache's
// mod_reqtimeout (MinRate) has the same rule. The time between reads is the handler's and costs
// nothing.
type body struct {
	io.ReadCloser
	control *http.ResponseController

	mu     sync.Mutex // held for the fields below, not while reading
	pace   Pace
	credit time.Duration
	since  time.Time // start of the Read that is running; zero: none is
	ended  bool      // read to its end
}

// Read fails with [os.ErrDeadlineExceeded] when the credit is used up.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.since = time.Now()
	_ = b.control.SetReadDeadline(b.since.Add(b.credit))
	b.mu.Unlock()

	n, err := b.ReadCloser.Read(p)

	b.mu.Lock()
	defer b.mu.Unlock()
	earned := time.Duration(n) * time.Second / time.Duration(b.pace.Rate)
	b.credit = min(b.credit-time.Since(b.since)+earned, b.pace.Grace)
	b.since = time.Time{}
	b.ended = err == io.EOF
	// HTTP/2 would end the stream at the deadline although nothing is being read.
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}

// hurry lowers the remaining credit, and its maximum, to grace.
func (b *body) hurry(grace time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pace.Grace = min(b.pace.Grace, grace)
	if b.since.IsZero() {
		b.credit = min(b.credit, grace)
		return
	}
	waited := time.Since(b.since)
	if left := b.credit - waited; left > grace {
		b.credit = waited + grace
		_ = b.control.SetReadDeadline(b.since.Add(b.credit))
	}
}

func (b *body) read() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ended
}

// bodyWriter is the writer of the answer to a request with a body.
type bodyWriter struct {
	http.ResponseWriter
	body  *body
	http1 bool
	began bool
}

// begin is called before the header is written. net/http would otherwise read a body that
// the handler has not read before it sends the answer.
func (w *bodyWriter) begin(status int) {
	if w.began || status < http.StatusOK {
		return
	}
	w.began = true
	if w.http1 && !w.body.read() {
		w.Header()["Connection"] = closeConnection
	}
}

func (w *bodyWriter) WriteHeader(status int) {
	w.begin(status)
	w.ResponseWriter.WriteHeader(status)
}

func (w *bodyWriter) Write(p []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// FlushError is called by [http.ResponseController.Flush].
func (w *bodyWriter) FlushError() error {
	w.begin(http.StatusOK)
	return w.body.control.Flush()
}

// Unwrap is called by [http.ResponseController].
func (w *bodyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// bodies are the request bodies whose handlers run.
type bodies struct {
	mu       sync.Mutex
	running  map[*body]struct{} // guarded by mu
	draining bool               // guarded by mu
}

func (s *bodies) add(b *body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		b.hurry(drainGrace)
	}
	if s.running == nil {
		s.running = make(map[*body]struct{})
	}
	s.running[b] = struct{}{}
}

// remove waits for a call of hurry: the writer may not be used after its handler.
func (s *bodies) remove(b *body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, b)
}

// drain hurries all bodies, so that a client that does not send its body cannot hold up the
// end of the server.
func (s *bodies) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for b := range s.running {
		b.hurry(drainGrace)
	}
}
