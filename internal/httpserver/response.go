package httpserver

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// Response writes one answer: header fields first, then the body at a [Pace].
//
// Fields normally go into net/http's map, which is copied, sorted and written: a sixth of
// the cost of a cache hit. When the connection gathers the answer into one write, fields
// are formatted directly as lines instead, and inserted behind the status line. Only what
// net/http itself acts on stays in the map: Content-Length, Date and Connection.
type Response struct {
	w    http.ResponseWriter
	r    *http.Request
	h    http.Header
	conn *conn    // nil: every field goes into h
	own  []string // backing array of the values in h that belong to this answer alone
}

// NewResponse returns the response to r. size is the length of the body, which decides
// whether the answer is gathered into one write. Fields that w has already are kept in its
// map, where setting one of them replaces it.
func NewResponse(w http.ResponseWriter, r *http.Request, size int) Response {
	resp := Response{w: w, r: r, h: w.Header()}
	if size >= gatherFrom && r.Method == http.MethodGet && len(resp.h) == 0 {
		resp.conn = connOf(r)
	}
	if resp.conn == nil {
		resp.own = make([]string, 0, 8)
		return resp
	}
	resp.conn.gathered.lines = resp.conn.gathered.lines[:0]
	resp.h["Content-Type"] = nil // it is one of the lines; stops net/http from guessing one
	return resp
}

// Set sets a field. key must be canonical.
func (f *Response) Set(key, value string) {
	if f.conn != nil {
		f.conn.gathered.line(key, value)
		return
	}
	f.own = append(f.own, value)
	n := len(f.own)
	f.h[key] = f.own[n-1 : n : n]
}

// SetContentLength sets Content-Length.
func (f *Response) SetContentLength(digits string) {
	if f.conn != nil {
		f.h["Content-Length"] = []string{digits}
		return
	}
	f.Set("Content-Length", digits)
}

// SetDate sets Date, which is otherwise the time of the answer.
func (f *Response) SetDate(date string) { f.h["Date"] = []string{date} }

// SetShared sets a field to a slice of one value that many answers share and none changes.
func (f *Response) SetShared(key string, value []string) {
	if f.conn != nil {
		f.conn.gathered.line(key, value[0])
		return
	}
	f.h[key] = value
}

// SetFields sets a group of constant fields.
func (f *Response) SetFields(group *Fields) {
	if f.conn != nil {
		f.conn.gathered.lines = append(f.conn.gathered.lines, group.lines...)
		return
	}
	for _, field := range group.fields {
		f.h[field.key] = field.value
	}
}

// Fields is a group of constant header fields that [Response.SetFields] sets at once.
type Fields struct {
	fields []field
	lines  []byte // the same, formatted
}

type field struct {
	key   string
	value []string
}

// NewFields returns the group of these canonical keys and values, which alternate.
func NewFields(keysAndValues ...string) *Fields {
	f := &Fields{}
	var g gathered
	for i := 0; i < len(keysAndValues); i += 2 {
		key, value := keysAndValues[i], keysAndValues[i+1]
		f.fields = append(f.fields, field{key, []string{value}})
		g.line(key, value)
	}
	f.lines = g.lines
	return f
}

// line appends a header field. Like net/http, it replaces line breaks within the value by spaces.
func (g *gathered) line(key, value string) {
	b := append(g.lines, key...)
	b = append(b, ": "...)
	from := len(b)
	b = append(b, value...)
	if strings.ContainsAny(value, "\r\n") {
		for i := range b[from:] {
			if c := &b[from+i]; *c == '\r' || *c == '\n' {
				*c = ' '
			}
		}
	}
	g.lines = append(b, "\r\n"...)
}

// Send writes the status and, except for HEAD, the body, in steps of pace. It returns how
// many bytes of the body were written. After an error net/http closes the connection,
// since fewer bytes were sent than Content-Length announced.
func (f *Response) Send(status int, body []byte, pace *Pace) (written int64, err error) {
	control := http.NewResponseController(f.w)
	if f.r.Method == http.MethodHead {
		body = nil
	}
	step := body[:min(len(body), pace.Step)]
	// Only writers of tests and wrappers have no deadlines; they need none.
	_ = control.SetWriteDeadline(time.Now().Add(pace.allowance(len(step))))
	f.w.WriteHeader(status)
	if f.conn != nil {
		f.conn.gather()
	}
	for len(step) > 0 {
		n, err := f.w.Write(step)
		if f.conn != nil {
			err = errors.Join(err, f.conn.release())
			f.conn = nil
		}
		written += int64(n)
		if err != nil {
			return written, err
		}
		body = body[len(step):]
		if step = body[:min(len(body), pace.Step)]; len(step) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(pace.allowance(len(step))))
		}
	}
	return written, nil
}

var closeConnection = []string{"close"}
