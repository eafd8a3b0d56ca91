// Package rewrite replaces the values of some fields in streaming JSON, and keeps every other byte:
// white space, the spelling of numbers and escapes, the order of fields, duplicates, invalid UTF-8.
//
// A [Rewriter] reads one JSON text, or several in a row (NDJSON). [Multipart] and [Events] find the
// JSON in multipart/mixed (@defer) and text/event-stream. All of them hold back only a value that
// they may replace, so the first byte is not delayed, and buffer at most MaxValue bytes of a value
// and 64 KiB of URLs, whatever the length of the body. After invalid JSON nothing is replaced.
//
// Start reading at [Rewriter.Append].
package rewrite

// Limits of the buffers.
const (
	// MaxValue is the maximum length of a string to replace, in bytes as written. A longer one
	// is kept.
	MaxValue = 16 << 10
	// MaxDepth is the maximum nesting depth of arrays and objects, as in encoding/json. Deeper
	// values are kept, with the rest of the text.
	MaxDepth = 10_000

	maxRemembered = 64 << 10 // bytes of the URLs that Fill fields are filled from
)

// Field says how to treat the fields of a name.
type Field struct {
	// Name is the canonical name for the Link; the body may use an alias.
	Name string
	// Source fields provide the URL for Fill fields after them in the same object.
	Source bool
	// Fill fields that are null or "" get the URL that Link returns for the last Source before
	// them in the same object. Without one they are kept, because the body is not held back to
	// wait for a later one.
	Fill bool
}

// Fields maps the names in the body to Fields. A Rewriter only reads it.
type Fields map[string]*Field

// Link returns the replacement of url, which is the value of a field or a string in its array, or,
// for an empty Fill field, the URL of the Source. If ok is false, the value is kept.
type Link func(field *Field, url string) (replacement string, ok bool)

// Rewriter rewrites JSON. The zero value replaces nothing; call Reset before each text. It is not
// safe for concurrent use.
type Rewriter struct {
	fields Fields
	link   Link
	maxKey int // bytes of the longest name if every character is escaped

	state state
	stack []frame
	field *Field // of the current or next value
	urls  []byte // the Source URLs of all frames

	// The state of a string or literal that continues in the next chunk.
	purpose purpose
	raw     []byte // the part so far, without the opening quote
	held    bool   // raw and its opening quote are not yet written
	escape  bool   // the last byte of raw escapes the next one
	escapes bool   // raw has an escape

	bom     uint8 // bytes read of a byte order mark; 3 once it is complete or cannot follow
	scratch []byte
}

// byteOrderMark may precede JSON; parsers may ignore it (RFC 8259, section 8.1).
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

// purpose says why a string is read.
type purpose uint8

const (
	skip    purpose = iota // a value that is not replaced
	skipKey                // a name that is too long to be a field
	key
	value
)

type frame struct {
	array bool
	field *Field // of an array: the field with this value
	// For an object, urls[from:to] is the URL of its last Source.
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

// Append reads the next bytes of the text and appends to dst everything that need not be held back.
// The output does not depend on how the text is split into chunks.
func (r *Rewriter) Append(dst, src []byte) []byte {
	from := 0 // src[from:i] is read but not yet written
	for i := 0; i < len(src); {
		c := src[i]
		switch r.state {
		case notJSON:
			return append(dst, src[from:]...)
		case inString:
			dst, i, from = r.continueString(dst, src, i, from)
		case inLiteral:
			dst, i, from = r.continueLiteral(dst, src, i, from)
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

// Close appends held back bytes, the start of an incomplete value. complete reports whether the
// input was empty, consisted of complete JSON texts, or is no JSON, of which that is not known.
func (r *Rewriter) Close(dst []byte) (out []byte, complete bool) {
	top := r.state == notJSON || len(r.stack) == 0 && (r.state == wantValue || r.state == inLiteral)
	if r.held {
		dst = r.release(dst)
	}
	return dst, top
}

// JSON reports whether the input so far can be the start of JSON.
func (r *Rewriter) JSON() bool { return r.state != notJSON }

// punctuation reads one byte that starts neither a string nor a literal.
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

// endValue records the end of a value.
func (r *Rewriter) endValue() {
	r.field = nil
	if r.state = wantNext; len(r.stack) == 0 {
		r.state = wantValue
	}
}

// member reports whether the current value is in an object, not in an array.
func (r *Rewriter) member() bool { return len(r.stack) > 0 && !r.top().array }

// beginString reads the opening quote of a string.
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

// continueString reads a string from src[i] to its end or the end of src.
func (r *Rewriter) continueString(dst, src []byte, i, from int) ([]byte, int, int) {
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
		case c < ' ': // invalid in JSON
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

// plainByte is the set of bytes without a special meaning in a string.
var plainByte = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return set
}()

// endString ends a string with the text raw; after is the index of the byte after it.
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

// replace returns the new text of a string value of r.field.
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

// remember stores the URL of a Source for the fields after it.
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

// fill returns the text for an empty value.
func (r *Rewriter) fill() (string, bool) {
	r.forget()
	if !r.field.Fill || !r.member() || r.top().from == r.top().to {
		return "", false
	}
	return r.link(r.field, string(r.urls[r.top().from:r.top().to]))
}

// literalMayBegin reports whether c starts a number, true, false or null where a value is allowed,
// and holds back a null that may be filled.
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

// continueLiteral reads a literal to the first byte after it or the end of src.
func (r *Rewriter) continueLiteral(dst, src []byte, i, from int) ([]byte, int, int) {
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

// release writes the held back bytes unchanged.
func (r *Rewriter) release(dst []byte) []byte {
	if r.state != inLiteral {
		dst = append(dst, '"')
	}
	dst = append(dst, r.raw...)
	r.held, r.raw = false, r.raw[:0]
	return dst
}

// unescape returns the text of a string, valid until the next call. ok is false if it is not
// Unicode: parsers differ in how they read such a text.
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
