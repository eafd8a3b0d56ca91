// Package rewrite replaces the values of some members of JSON while it streams, and leaves
// every other byte as it is: blanks, the spelling of numbers and escapes, the order of
// members, duplicates, bytes that are no UTF-8.
//
// A Rewriter is a JSON text (or several, one after another: NDJSON); Multipart and Events
// find the JSON in multipart/mixed (@defer) and text/event-stream. All of them hold back no
// more than the value that they may replace, so the first byte is not delayed, and keep no
// more than MaxValue bytes of a value and 64 KiB of URLs, whatever the length of the body.
// Where a text stops being JSON, nothing is replaced from there on.
package rewrite

// Bounds of what is kept.
const (
	// MaxValue is the longest string that is looked at, in bytes as it is spelled; a longer
	// one stays as it is. URLs of 8 KiB fit, if only every second character is escaped.
	MaxValue = 16 << 10
	// MaxDepth is how deep arrays and objects may be nested, as in encoding/json. What is
	// beyond it stays as it is, with the rest of the text.
	MaxDepth = 10_000

	maxRemembered = 64 << 10 // bytes of URLs that Fill fields may be filled from
)

// Field is what members of a name are.
type Field struct {
	// Name tells the Link which field it is, whatever the body calls it (an alias).
	Name string
	// Source fields are what Fill fields behind them in the same object are filled from.
	Source bool
	// Fill fields that are null or "" get the URL that Link makes of the last Source before
	// them in the same object. Where there is none before them they stay as they are: the
	// body is not held back to wait for one.
	Fill bool
}

// Fields are Field by the names that members have in the body. A Rewriter only reads it.
type Fields map[string]*Field

// Link returns what stands in the place of url, the value of a member of field or one of
// the strings in its array. ok is false where the value is to stay as it is. Of a Fill
// field that is empty, url is that of the Source.
type Link func(field *Field, url string) (replacement string, ok bool)

// Rewriter rewrites JSON. Its zero value replaces nothing; Reset makes it ready for a text.
// It is for one goroutine at a time.
type Rewriter struct {
	fields Fields
	link   Link
	maxKey int // bytes of the longest name, each spelled as an escape

	state state
	stack []frame
	field *Field // of the value that is read or comes next
	urls  []byte // what the frames remember, one after another

	// Of a string or literal that the last chunk did not end.
	purpose purpose
	raw     []byte // what there was of it, without the first quote
	held    bool   // neither raw nor the quote before it are written yet
	escape  bool   // the last byte of raw is a backslash that escapes the next one
	escapes bool   // there is an escape in it

	bom     uint8 // bytes of a byte order mark that were read; whole, or too late: 3
	scratch []byte
}

// byteOrderMark may stand before JSON, where who reads it may ignore it (RFC 8259, 8.1).
const byteOrderMark = "\xef\xbb\xbf"

type state uint8

const (
	wantValue      state = iota // at the top, after : and after , in an array
	wantValueOrEnd              // after [
	wantKeyOrEnd                // after {
	wantKey                     // after , in an object
	wantColon
	wantNext // after a value: , or the end of the array or object
	inString
	inLiteral // number, true, false, null
	notJSON
)

// purpose is what a string is read for.
type purpose uint8

const (
	skip    purpose = iota // a value of no interest
	skipKey                // a name of no interest
	key
	value
)

type frame struct {
	array bool
	field *Field // of an array: whose value it is
	// Of an object: urls[from:to] is the URL of its last Source.
	from, to int32
}

// Reset makes r ready for a new text.
func (r *Rewriter) Reset(fields Fields, link Link) {
	r.fields, r.link = fields, link
	r.maxKey = 0
	for name := range fields {
		r.maxKey = max(r.maxKey, 6*len(name))
	}
	r.state, r.stack, r.field, r.urls = wantValue, r.stack[:0], nil, r.urls[:0]
	r.raw, r.held, r.escape, r.escapes = r.raw[:0], false, false, false
	r.bom = 0
}

// Append reads the next bytes of the text and appends to dst what can be written of it.
// What dst gets over a text is the same however the text is cut into chunks.
func (r *Rewriter) Append(dst, src []byte) []byte {
	from := 0 // src[from:i] is read and not yet written
	for i := 0; i < len(src); {
		c := src[i]
		switch r.state {
		case notJSON:
			return append(dst, src[from:]...)
		case inString:
			dst, i, from = r.goOnString(dst, src, i, from)
		case inLiteral:
			dst, i, from = r.goOnLiteral(dst, src, i, from)
		default:
			if r.bom < 3 {
				if c == byteOrderMark[r.bom] {
					r.bom++
					i++
					continue
				}
				if r.bom > 0 {
					r.state = notJSON
					continue
				}
				r.bom = 3
			}
			switch {
			case c == ' ' || c == '\n' || c == '\r' || c == '\t':
				i++
			case c == '"':
				r.beginString()
				if r.held {
					dst = append(dst, src[from:i]...)
					from = i + 1
				}
				i++
			case r.literalMayBegin(c):
				if r.held {
					dst = append(dst, src[from:i]...)
					from = i
				}
				r.state = inLiteral
			default:
				r.punctuation(c)
				i++
			}
		}
	}
	if r.held {
		return dst
	}
	return append(dst, src[from:]...)
}

// Close appends what is held back: the begin of a value that never ended. complete reports
// whether what was read is one or more whole JSON texts, or nothing at all.
func (r *Rewriter) Close(dst []byte) (out []byte, complete bool) {
	top := len(r.stack) == 0 && (r.state == wantValue || r.state == inLiteral)
	if r.held {
		dst = r.release(dst)
	}
	return dst, top
}

// JSON reports whether everything so far may be the begin of JSON.
func (r *Rewriter) JSON() bool { return r.state != notJSON }

// punctuation reads one byte that begins neither a string nor a literal.
func (r *Rewriter) punctuation(c byte) {
	switch {
	case (c == '{' || c == '[') && (r.state == wantValue || r.state == wantValueOrEnd):
		r.push(c == '[')
	case c == '}' && (r.state == wantKeyOrEnd || r.state == wantNext && !r.top().array),
		c == ']' && (r.state == wantValueOrEnd || r.state == wantNext && r.top().array):
		r.pop()
	case c == ':' && r.state == wantColon:
		r.state = wantValue
	case c == ',' && r.state == wantNext:
		if r.state = wantKey; r.top().array {
			r.state, r.field = wantValue, r.top().field
		}
	default:
		r.state = notJSON
	}
}

func (r *Rewriter) top() *frame { return &r.stack[len(r.stack)-1] }

func (r *Rewriter) push(array bool) {
	if len(r.stack) == MaxDepth {
		r.state = notJSON
		return
	}
	f := frame{array: array, from: int32(len(r.urls)), to: int32(len(r.urls))}
	if r.state = wantKeyOrEnd; array {
		r.state, f.field = wantValueOrEnd, r.field
	}
	r.stack = append(r.stack, f)
}

func (r *Rewriter) pop() {
	r.urls = r.urls[:r.top().from]
	r.stack = r.stack[:len(r.stack)-1]
	r.endValue()
}

// endValue: a value ends here, with its last byte.
func (r *Rewriter) endValue() {
	r.field = nil
	if r.state = wantNext; len(r.stack) == 0 {
		r.state = wantValue
	}
}

// member reports whether the value at hand is an object's, not an array's.
func (r *Rewriter) member() bool { return len(r.stack) > 0 && !r.top().array }

// beginString reads the first quote of a string.
func (r *Rewriter) beginString() {
	switch r.state {
	case wantKey, wantKeyOrEnd:
		r.purpose = key
	case wantValue, wantValueOrEnd:
		if r.purpose = skip; r.field != nil {
			r.purpose, r.held = value, true
		}
	default:
		r.state = notJSON
		return
	}
	r.state, r.raw, r.escape, r.escapes = inString, r.raw[:0], false, false
}

// goOnString reads on in a string, from src[i], to its end or the end of src.
func (r *Rewriter) goOnString(dst, src []byte, i, from int) ([]byte, int, int) {
	start := i
	for ; i < len(src); i++ {
		c := src[i]
		if plainByte[c] && !r.escape {
			continue
		}
		switch {
		case r.escape:
			r.escape = false
		case c == '"':
			raw := src[start:i]
			if len(r.raw) > 0 {
				r.raw = append(r.raw, raw...)
				raw = r.raw
			}
			return r.endString(dst, raw, i+1, from)
		case c == '\\':
			r.escape, r.escapes = true, true
		case c < ' ': // as in no JSON
			r.state = notJSON
		}
		if r.state == notJSON {
			break
		}
	}
	if r.purpose == key || r.purpose == value {
		r.raw = append(r.raw, src[start:i]...)
	}
	if r.held {
		from = i
	}
	switch {
	case r.purpose == key && len(r.raw) > r.maxKey:
		r.purpose, r.raw = skipKey, r.raw[:0]
	case r.purpose == value && len(r.raw) > MaxValue:
		r.forget()
		r.purpose, dst = skip, r.release(dst)
	case r.held && r.state == notJSON:
		dst = r.release(dst)
	}
	return dst, i, from
}

// plainByte are the bytes that mean nothing in a string but themselves.
var plainByte = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return set
}()

// endString is told what stands between the quotes, and after of the byte behind them.
func (r *Rewriter) endString(dst, raw []byte, after, from int) ([]byte, int, int) {
	switch r.purpose {
	case key:
		r.field = nil
		if len(raw) <= r.maxKey {
			if name, ok := r.unescape(raw); ok {
				r.field = r.fields[string(name)]
			}
		}
		r.state = wantColon
		return dst, after, from
	case skipKey:
		r.field, r.state = nil, wantColon
		return dst, after, from
	case value:
		dst = append(dst, '"')
		if replacement, ok := r.replace(raw); ok {
			dst = appendQuoted(dst, replacement)
		} else {
			dst = append(dst, raw...)
		}
		dst = append(dst, '"')
		r.held, from = false, after
	}
	r.endValue()
	return dst, after, from
}

// replace returns what to write between the quotes of a value of r.field.
func (r *Rewriter) replace(raw []byte) (string, bool) {
	if len(raw) > MaxValue {
		r.forget()
		return "", false
	}
	if len(raw) == 0 {
		return r.fill()
	}
	url, ok := r.unescape(raw)
	if !ok {
		r.forget()
		return "", false
	}
	r.remember(url)
	return r.link(r.field, string(url))
}

// remember notes the URL of a Source for the fields behind it.
func (r *Rewriter) remember(url []byte) {
	if !r.field.Source || !r.member() {
		return
	}
	r.forget()
	if f := r.top(); int(f.from)+len(url) <= maxRemembered {
		r.urls = append(r.urls[:f.from], url...)
		f.to = int32(len(r.urls))
	}
}

func (r *Rewriter) forget() {
	if r.field.Source && r.member() {
		f := r.top()
		r.urls, f.to = r.urls[:f.from], f.from
	}
}

// fill returns what to write for a value that is empty.
func (r *Rewriter) fill() (string, bool) {
	r.forget()
	if !r.field.Fill || !r.member() || r.top().from == r.top().to {
		return "", false
	}
	return r.link(r.field, string(r.urls[r.top().from:r.top().to]))
}

// literalMayBegin reports whether c begins a number, true, false or null where one may
// stand, and whether it is held.
func (r *Rewriter) literalMayBegin(c byte) bool {
	if r.state != wantValue && r.state != wantValueOrEnd || !inLiteralByte[c] {
		return false
	}
	r.raw = r.raw[:0]
	if r.purpose = skip; r.field != nil && c == 'n' && r.member() {
		r.purpose, r.held = value, true
	}
	return true
}

var inLiteralByte = func() (set [256]bool) {
	for _, c := range []byte("+-.0123456789eEtrufalsn") {
		set[c] = true
	}
	return set
}()

// goOnLiteral reads on in a literal to its end, which is another byte, or the end of src.
func (r *Rewriter) goOnLiteral(dst, src []byte, i, from int) ([]byte, int, int) {
	start := i
	for i < len(src) && inLiteralByte[src[i]] {
		i++
	}
	if r.held {
		from = i
		if r.raw = append(r.raw, src[start:min(i, start+8)]...); i-start > 8 || len(r.raw) > len("null") {
			dst = append(dst, r.raw...)
			r.held, r.raw = false, r.raw[:0]
			from = min(i, start+8)
		}
	}
	if i == len(src) {
		return dst, i, from
	}
	if r.held {
		r.held = false
		replacement, ok := "", false
		if string(r.raw) == "null" {
			replacement, ok = r.fill()
		}
		if ok {
			dst = append(appendQuoted(append(dst, '"'), replacement), '"')
		} else {
			dst = append(dst, r.raw...)
		}
	}
	r.endValue()
	return dst, i, from
}

// release writes what is held as it is.
func (r *Rewriter) release(dst []byte) []byte {
	if r.state != inLiteral {
		dst = append(dst, '"')
	}
	dst = append(dst, r.raw...)
	r.held, r.raw = false, r.raw[:0]
	return dst
}

// unescape returns the text of a string, which is valid until the next one. ok is false if
// it is no Unicode: another text would be made of it by everyone who reads it.
func (r *Rewriter) unescape(raw []byte) (text []byte, ok bool) {
	if !r.escapes && isASCII(raw) {
		return raw, true
	}
	r.scratch, ok = appendUnquoted(r.scratch[:0], raw)
	return r.scratch, ok
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
