package rewrite

import "bytes"

// Events rewrites the JSON in the data of server-sent events (text/event-stream). The data of each
// event is one text, also across several data lines. Only values are held back. Call Reset before
// each stream. It is not safe for concurrent use.
type Events struct {
	data   Rewriter
	fields Fields
	link   Link

	column  int  // bytes of the line read so far, while they match dataField
	inData  bool // after dataField
	skip    bool // in a line of another field
	bom     int  // bytes read of a byte order mark; 3 once it is complete or cannot follow
	afterCR bool // a line feed now belongs to the previous line end
}

const dataField = "data:"

// Reset prepares e for a stream.
func (e *Events) Reset(fields Fields, link Link) {
	e.fields, e.link = fields, link
	e.column, e.inData, e.skip, e.afterCR = 0, false, false, false
	e.data.Reset(fields, link)
	e.bom = 0
}

// Append reads the next bytes of the stream and appends to dst everything that need not be held back.
func (e *Events) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		c := src[0]
		if e.bom < len(byteOrderMark) {
			if c == byteOrderMark[e.bom] {
				e.bom++
				src, dst = src[1:], append(dst, c)
				continue
			}
			e.skip = e.bom > 0 // not a mark after all, so another field
			e.bom = len(byteOrderMark)
		}
		switch {
		case e.afterCR && c == '\n':
			e.afterCR = false
			src, dst = src[1:], append(dst, c)
		case c == '\r' || c == '\n':
			e.afterCR = c == '\r'
			src, dst = src[1:], append(e.endLine(dst), c)
		case e.inData || e.skip:
			e.afterCR = false
			n := bytes.IndexAny(src, "\r\n")
			if n < 0 {
				n = len(src)
			}
			if e.inData {
				dst = e.data.Append(dst, src[:n])
			} else {
				dst = append(dst, src[:n]...)
			}
			src = src[n:]
		default:
			e.afterCR = false
			e.skip = c != dataField[e.column]
			e.column++
			e.inData = !e.skip && e.column == len(dataField)
			src, dst = src[1:], append(dst, c)
		}
	}
	return dst
}

// endLine handles the end of a line, before it is written.
func (e *Events) endLine(dst []byte) []byte {
	switch {
	case e.inData:
		// Data lines are joined by line feeds. The Rewriter never holds back white space, so the
		// line feed is the last byte that it writes; it is removed again.
		dst = e.data.Append(dst, []byte{'\n'})
		dst = dst[:len(dst)-1]
	case e.column == 0: // the event ends
		dst, _ = e.data.Close(dst)
		e.data.Reset(e.fields, e.link)
	}
	e.column, e.inData, e.skip = 0, false, false
	return dst
}

// Close appends held back bytes. A stream of events has no end marker, so it is always complete.
func (e *Events) Close(dst []byte) (out []byte, complete bool) {
	dst, _ = e.data.Close(dst)
	return dst, true
}
