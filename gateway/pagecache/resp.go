package pagecache

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Bounds of one message of Redis. Those of this package are below a thousandth of them.
const (
	maxMessage  = 32 << 20 // bytes
	maxElements = 100_000  // of all arrays and maps in it
	maxDepth    = 16       // arrays and maps in each other
	maxLine     = 64 << 10 // bytes of a line, also of a simple string or error
)

// messages checks what a server sends, in the protocol RESP3, before the client library reads it: the library
// allocates what a length announces, and a negative or absurd one ends the process.
type messages struct {
	line []byte // the beginning of a line
	skip int    // bytes of a string that are still to come, with its line end
	open []aggregate

	bytes, elements int // of the message so far
}

// aggregate is an array or map whose elements are still to come.
type aggregate struct {
	left      int
	attribute bool // precedes an element without being one
}

var errMessage = errors.New("not a message of Redis")

// check checks the next bytes. After an error the connection must be closed.
func (m *messages) check(p []byte) error {
	for len(p) > 0 {
		if m.skip > 0 {
			n := min(m.skip, len(p))
			p = p[n:]
			if m.skip -= n; m.skip == 0 {
				m.ended()
			}
			continue
		}
		n := bytes.IndexByte(p, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(p)
		}
		if len(m.line)+n > maxLine {
			return fmt.Errorf("%w: a line has more than %d bytes", errMessage, maxLine)
		}
		m.line, p = append(m.line, p[:n]...), p[n:]
		if !whole {
			return nil
		}
		if err := m.begin(m.line); err != nil {
			return err
		}
		m.line = m.line[:0]
	}
	return nil
}

// begin takes the line with which a value begins.
func (m *messages) begin(line []byte) error {
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	if !ended || len(text) == 0 {
		return fmt.Errorf("%w: %.20q", errMessage, line)
	}
	kind, text := text[0], text[1:]
	n := 0
	switch kind {
	case '$', '!', '=', '*', '%', '~', '>', '|':
		var err error
		if n, err = strconv.Atoi(string(text)); err != nil || n < -1 {
			return fmt.Errorf("%w: %.20q", errMessage, line)
		}
	case '_':
		ended = len(text) == 0
	case '#':
		ended = string(text) == "t" || string(text) == "f"
	case '+', '-', ':', ',', '(':
	default:
		ended = false // also strings and arrays in pieces, which Redis does not send
	}
	if m.bytes += len(line); !ended || n == -1 && (kind == '%' || kind == '|') {
		return fmt.Errorf("%w: %.20q", errMessage, line)
	}
	switch kind {
	case '$', '!', '=':
		m.bytes += min(max(n, 0), maxMessage+1)
	case '%', '|':
		n = 2 * min(n, maxElements)
		m.elements += n
	case '*', '~', '>':
		m.elements += min(max(n, 0), maxElements+1)
	}
	if m.bytes > maxMessage || m.elements > maxElements {
		return fmt.Errorf("%w: more than %d bytes or %d elements", errMessage, maxMessage, maxElements)
	}
	switch {
	case n < 0: // null
		m.ended()
	case kind == '$', kind == '!', kind == '=':
		m.skip = n + len("\r\n")
	case n > 0:
		if len(m.open) == maxDepth {
			return fmt.Errorf("%w: more than %d arrays in each other", errMessage, maxDepth)
		}
		m.open = append(m.open, aggregate{n, kind == '|'})
	case kind != '|':
		m.ended()
	}
	return nil
}

// ended notes the end of a value, and of the arrays and maps that end with it.
func (m *messages) ended() {
	for len(m.open) > 0 {
		last := &m.open[len(m.open)-1]
		if last.left--; last.left > 0 {
			return
		}
		attribute := last.attribute
		if m.open = m.open[:len(m.open)-1]; attribute {
			return
		}
	}
	m.bytes, m.elements = 0, 0
}
