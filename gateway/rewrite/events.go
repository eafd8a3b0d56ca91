package rewrite

import "bytes"

// Events rewrites the JSON in the data of server-sent events (text/event-stream). Each
// event's data is a text of its own; one that stands in several data lines is read as one.
// Nothing is held back but a value. Reset makes it ready; it is for one goroutine at a time.
type Events struct {
	data   Rewriter
	fields Fields
	link   Link

	column  int  // how many bytes of a line are read, as long as they are those of dataField
	inData  bool // behind dataField
	skip    bool // in a line of another field
	bom     int  // bytes of a byte order mark that were read; whole, or too late: 3
	afterCR bool // a line feed would belong to the line end before it
}

const dataField = "data:"

// Reset makes e ready for a stream.
func (e *Events) Reset(fields Fields, link Link) {
	e.fields, e.link = fields, link
	e.column, e.inData, e.skip, e.afterCR = 0, false, false, false
	e.data.Reset(fields, link)
	e.bom = 0
}

// Append reads the next bytes of the stream and appends to dst what can be written of it.
func (e *Events) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		c := src[0]
		if e.bom < len(byteOrderMark) {
			if c == byteOrderMark[e.bom] {
				e.bom++
				src, dst = src[1:], append(dst, c)
				continue
			}
			e.skip = e.bom > 0 // it was none, and is the begin of a field
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

// endLine is told of the end of a line, before it is written.
func (e *Events) endLine(dst []byte) []byte {
	switch {
	case e.inData:
		// The data of several lines is joined by line feeds. The Rewriter holds no blank back,
		// so this one is the last byte that it writes.
		dst = e.data.Append(dst, []byte{'\n'})
		dst = dst[:len(dst)-1]
	case e.column == 0: // the event ends
		dst, _ = e.data.Close(dst)
		e.data.Reset(e.fields, e.link)
	}
	e.column, e.inData, e.skip = 0, false, false
	return dst
}

// Close appends what is held back. A stream of events has no end of its own, so it is
// always complete.
func (e *Events) Close(dst []byte) (out []byte, complete bool) {
	dst, _ = e.data.Close(dst)
	return dst, true
}
