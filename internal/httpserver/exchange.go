package httpserver

import (
	"context"
	"net/http"
	"strconv"
	"strings"
)

// A Responder answers requests without knowing whose engine read them: HTTP/1.1 is this package's
// (http1.go), HTTP/2 is net/http's. [NetHTTP] makes an [http.Handler] of it.
type Responder interface {
	// Respond answers r by one call of w.Send. Neither may be used after it has returned. A panic
	// closes the connection (HTTP/1.1) or resets the stream (HTTP/2).
	Respond(r *Request, w *Response)
}

// Request is the head of a request. Its body, if any, is never read.
type Request struct {
	Method     string
	Target     string // request target, byte for byte
	Proto      string // "HTTP/1.1"
	RemoteAddr string // "192.0.2.1:49152"
	HasBody    bool   // it announces a body: Content-Length above 0, chunked, or an open HTTP/2 stream

	ctx    context.Context
	fields interface{ values(name string) []string }
}

// Context is done when the client has left. HTTP/1.1 watches the connection only once Done has been
// called, so a request that is answered at once costs no goroutine.
func (r *Request) Context() context.Context { return r.ctx }

// SetContext replaces the context by one that is derived from it.
func (r *Request) SetContext(ctx context.Context) { r.ctx = ctx }

// Values returns the lines of a header field, nil if there are none. name is canonical.
func (r *Request) Values(name string) []string { return r.fields.values(name) }

// Value returns the first line of a header field, "" if it is missing. name need not be canonical.
func (r *Request) Value(name string) string {
	if lines := r.Values(http.CanonicalHeaderKey(name)); len(lines) > 0 {
		return lines[0]
	}
	return ""
}

// Response is the answer to one request: header fields first, then status and body by [Response.Send].
// Content-Length, Date and Connection are the engine's.
type Response struct {
	sender sender
	lines  []byte // header lines, each with its CRLF
	dated  bool   // lines has a Date
	status int
}

// sender writes an answer. It is one of the engines.
type sender interface {
	send(w *Response, status int, body []byte, pace *Pace) (written int64, err error)
}

// Name is the name of a header field. The zero Name is invalid.
type Name struct{ prefix string } // with ": "

// NewName returns the Name of a canonical field name. It panics if name is not a token (RFC 9110, 5.6.2).
func NewName(name string) Name {
	if name == "" || strings.ContainsFunc(name, notToken) {
		panic("httpserver: " + strconv.Quote(name) + " is not the name of a header field")
	}
	return Name{name + ": "}
}

func notToken(c rune) bool {
	return c <= ' ' || c > '~' || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
}

// NewField returns the Field of a name and a value that never change.
func NewField(name, value string) Field {
	return Field{appendLine(nil, NewName(name), value)}
}

// Field is one or more constant header fields.
type Field struct{ lines []byte }

// Join returns the Field of all of them.
func Join(fields ...Field) (all Field) {
	for _, f := range fields {
		all.lines = append(all.lines, f.lines...)
	}
	return all
}

// Set adds a field. A control character in value is sent as a space, so a value never ends its line.
func (w *Response) Set(name Name, value string) { w.lines = appendLine(w.lines, name, value) }

// SetBytes is Set for a value in a buffer of the caller's.
func (w *Response) SetBytes(name Name, value []byte) { w.lines = appendLine(w.lines, name, value) }

// SetField adds constant fields.
func (w *Response) SetField(f Field) { w.lines = append(w.lines, f.lines...) }

// SetDate sets Date, which is otherwise the time of the answer.
func (w *Response) SetDate(value string) {
	w.lines, w.dated = appendLine(w.lines, dateName, value), true
}

var dateName = NewName("Date")

// Send writes the status, the fields and, except for HEAD, the body, in steps of pace. It returns
// how many bytes of the body were written. After an error the connection is closed.
func (w *Response) Send(status int, body []byte, pace *Pace) (written int64, err error) {
	w.status = status
	return w.sender.send(w, status, body, pace)
}

// Status returns the status that was sent, 0 before Send.
func (w *Response) Status() int { return w.status }

func appendLine[V string | []byte](b []byte, name Name, value V) []byte {
	b = append(b, name.prefix...)
	from := len(b)
	b = append(b, value...)
	for i := from; i < len(b); i++ {
		if c := b[i]; c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	return append(b, "\r\n"...)
}

// hasLength reports whether an answer of that status has a Content-Length, even if it is 0.
func hasLength(status int) bool {
	return status >= http.StatusOK && status != http.StatusNoContent && status != http.StatusNotModified
}
