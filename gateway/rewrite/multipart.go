package rewrite

import (
	"bytes"
	"mime"
	"strings"
)

// maxPartHeaders is the maximum size of the headers of a part, in bytes. A part with more is kept.
const maxPartHeaders = 8 << 10

// Multipart rewrites the JSON parts of a multipart body (RFC 2046, section 5.1), as sent by GraphQL
// incremental delivery (@defer, @stream). It removes the Content-Length of JSON parts. Call Reset
// before each body. It is not safe for concurrent use.
type Multipart struct {
	part      Rewriter
	fields    Fields
	link      Link
	delimiter []byte // -- and the boundary
	state     partState
	json      bool // the part is rewritten
	// held is the start of a line that may be a delimiter, or the headers of a part so far.
	held []byte
	// lineBegin is the index in held of the last header line.
	lineBegin int
}

type partState uint8

const (
	lineMayDelimit partState = iota // at the start of a line, in a part or before the first one
	inLine                          // in a line that is not a delimiter
	inDelimiter                     // after a delimiter, in its line
	inPartHeaders
	afterLastPart
	inHugePartHeader // in headers over the limit
)

// Reset prepares m for a body with this boundary.
func (m *Multipart) Reset(boundary string, fields Fields, link Link) {
	m.fields, m.link = fields, link
	m.delimiter = append(append(m.delimiter[:0], "--"...), boundary...)
	m.state, m.json, m.held = lineMayDelimit, false, m.held[:0]
}

// Append reads the next bytes of the body and appends to dst everything that need not be held back.
func (m *Multipart) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		switch m.state {
		case lineMayDelimit:
			m.held = append(m.held, src[0])
			src = src[1:]
			dst = m.checkDelimiter(dst)
		case inLine:
			line := lineOf(src)
			src = src[len(line):]
			dst = m.content(dst, line)
			if ended(line) {
				m.state = lineMayDelimit
			}
		case inDelimiter:
			line := lineOf(src)
			src, dst = src[len(line):], append(dst, line...)
			if ended(line) {
				m.state, m.lineBegin = inPartHeaders, 0
			}
		case inPartHeaders:
			line := lineOf(src)
			src = src[len(line):]
			m.held = append(m.held, line...)
			dst = m.headers(dst, ended(line))
		case inHugePartHeader:
			line := lineOf(src)
			src, dst = src[len(line):], append(dst, line...)
			if ended(line) {
				m.state = lineMayDelimit // the headers are treated as content
			}
		case afterLastPart:
			return append(dst, src...)
		}
	}
	return dst
}

// Close appends held back bytes. complete reports whether the closing delimiter was read.
func (m *Multipart) Close(dst []byte) (out []byte, complete bool) {
	if m.state == inPartHeaders {
		return append(dst, m.held...), false
	}
	dst = m.content(dst, m.held)
	m.held = m.held[:0]
	return m.endPart(dst), m.state == afterLastPart
}

// checkDelimiter checks whether the held start of a line is, or can become, a delimiter.
func (m *Multipart) checkDelimiter(dst []byte) []byte {
	n, d := len(m.held), len(m.delimiter)
	last := m.held[n-1]
	switch {
	case n <= d && last == m.delimiter[n-1]:
		return dst
	case n == d+1 && last == '-':
		return dst
	case n == d+1 && (last == '\n' || last == '\r' || last == ' ' || last == '\t'):
		m.state = inDelimiter
		if last == '\n' {
			m.state, m.lineBegin = inPartHeaders, 0
		}
	case n == d+2 && last == '-':
		m.state = afterLastPart
	default:
		if m.state = inLine; last == '\n' {
			m.state = lineMayDelimit
		}
		dst = m.content(dst, m.held)
		m.held = m.held[:0]
		return dst
	}
	dst = append(m.endPart(dst), m.held...)
	m.held = m.held[:0]
	return dst
}

// content writes bytes of a part or of the preamble.
func (m *Multipart) content(dst, text []byte) []byte {
	if !m.json {
		return append(dst, text...)
	}
	return m.part.Append(dst, text)
}

func (m *Multipart) endPart(dst []byte) []byte {
	if m.json {
		dst, _ = m.part.Close(dst)
		m.json = false
	}
	return dst
}

// headers reads the held headers of a part after an addition to them.
func (m *Multipart) headers(dst []byte, lineEnded bool) []byte {
	if len(m.held) > maxPartHeaders {
		if m.state = inHugePartHeader; lineEnded {
			m.state = lineMayDelimit
		}
		dst = append(dst, m.held...)
		m.held = m.held[:0]
		return dst
	}
	if !lineEnded {
		return dst
	}
	line := m.held[m.lineBegin:]
	m.lineBegin = len(m.held)
	if len(bytes.TrimRight(line, "\r\n")) > 0 {
		return dst
	}
	m.json = isJSONPart(m.held)
	for line := range bytes.Lines(m.held) {
		if name, _, _ := bytes.Cut(line, []byte(":")); !m.json ||
			!strings.EqualFold(string(bytes.TrimSpace(name)), "Content-Length") {
			dst = append(dst, line...)
		}
	}
	m.held, m.state = m.held[:0], lineMayDelimit
	m.part.Reset(m.fields, m.link)
	return dst
}

// isJSONPart reports whether a part has JSON by its headers. A part without Content-Type is tried,
// and kept if it is not JSON.
func isJSONPart(headers []byte) bool {
	for line := range bytes.Lines(headers) {
		if name, value, ok := bytes.Cut(line, []byte(":")); ok &&
			strings.EqualFold(string(bytes.TrimSpace(name)), "Content-Type") {
			return IsJSON(string(bytes.TrimSpace(value)))
		}
	}
	return true
}

// IsJSON reports whether a Content-Type is JSON or a sequence of JSON texts.
func IsJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil && media == "" {
		return false
	}
	switch media {
	case "application/json",
		"text/json",
		"application/x-ndjson",
		"application/ndjson",
		"application/jsonl",
		"application/x-jsonlines":
		return true
	}
	return strings.HasSuffix(media, "+json")
}

// lineOf returns the first line of src with its line feed, or all of src without one.
func lineOf(src []byte) []byte {
	if at := bytes.IndexByte(src, '\n'); at >= 0 {
		return src[:at+1]
	}
	return src
}

func ended(line []byte) bool { return line[len(line)-1] == '\n' }
