package edge

import (
	"net/http"
	"strings"
)

// fields takes the header fields of one answer. They go into the map of net/http, which
// copies it, sorts the copy and writes it, a sixth of what a hit costs; or, where the
// connection gathers the answer, into the lines that it puts behind the status line, as
// they go over the wire. What net/http decides by stays in the map: Content-Length, and
// Connection.
type fields struct {
	h    http.Header
	conn *limitedConn // nil: all go into the map
	own  []string     // in the map: one allocation for all that are this answer's own
}

// fieldsOf returns the fields of an answer over conn, which may be nil.
func fieldsOf(h http.Header, conn *limitedConn) fields {
	if conn == nil {
		return fields{h: h, own: make([]string, 0, 8)}
	}
	conn.gathered.lines = conn.gathered.lines[:0]
	h["Content-Type"] = nil // it is among the lines: net/http is not to guess one
	return fields{h: h, conn: conn}
}

// set sets a field whose value is this answer's own.
func (f *fields) set(key, value string) {
	if f.conn != nil {
		f.line(key, value)
		return
	}
	f.own = append(f.own, value)
	n := len(f.own)
	f.h[key] = f.own[n-1 : n : n]
}

// keep sets a field that net/http decides by.
func (f *fields) keep(key, value string) {
	if f.conn != nil {
		f.h[key] = []string{value}
		return
	}
	f.set(key, value)
}

// share sets a field to one value that many answers share.
func (f *fields) share(key string, value []string) {
	if f.conn != nil {
		f.line(key, value[0])
		return
	}
	f.h[key] = value
}

// line appends one. As in net/http, an end of a line within a value is a space.
func (f *fields) line(key, value string) {
	b := append(f.conn.gathered.lines, key...)
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
	f.conn.gathered.lines = append(b, "\r\n"...)
}

// imageFields are those of every image.
var imageFields = []struct {
	key   string
	value []string
}{
	{"X-Content-Type-Options", nosniff},
	{"Content-Security-Policy", []string{"default-src 'none'; sandbox"}}, // an SVG or HTML that got in as orig is dead
	{"Cross-Origin-Resource-Policy", []string{"cross-origin"}},
	{"Access-Control-Allow-Origin", anyOrigin},
	{"Timing-Allow-Origin", anyOrigin},
}

var imageLines = func() []byte {
	var c limitedConn
	f := fieldsOf(http.Header{}, &c)
	for _, field := range imageFields {
		f.share(field.key, field.value)
	}
	return c.gathered.lines
}()

// shareImageFields sets those of every image.
func (f *fields) shareImageFields() {
	if f.conn != nil {
		f.conn.gathered.lines = append(f.conn.gathered.lines, imageLines...)
		return
	}
	for _, field := range imageFields {
		f.h[field.key] = field.value
	}
}
