package httpserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/valyala/fasthttp"
)

// errGone: the client has left, or was too slow.
var errGone = errors.New("connection ended before a request")

// readHead reads and parses the head of the next request. The deadline for its first byte is set.
func (x *http1Conn) readHead() error {
	var scan headScan
	limit := x.engine.cfg.MaxHeaderBytes
	for waited := false; ; {
		b, _ := x.reader.Peek(x.reader.Buffered())
		complete, err := scan.more(b)
		switch {
		case scan.at > limit || !complete && len(b) >= limit:
			return errHeadTooLarge
		case err == errHTTP2 && (x.served > 0 || x.engine.tls != nil):
			return errVersion
		case err != nil:
			return err
		case complete:
			return x.parse(scan)
		case len(b) == x.reader.Size() && !x.grow(b):
			return errLongHeads
		}
		if len(b) > 0 && x.served > 0 && !waited {
			waited = true
			x.readBy = time.Time{}
			_ = x.rw.SetReadDeadline(time.Now().Add(x.engine.cfg.HeaderTimeout))
		}
		if _, err := x.reader.Peek(len(b) + 1); err != nil {
			return errGone
		}
	}
}

// grow continues reading into a buffer that holds the longest head. read is the part that has
// arrived. It reports whether there is room for another long head.
func (x *http1Conn) grow(read []byte) bool {
	if x.engine.long.Add(1) > maxLongHeads {
		x.engine.long.Add(-1)
		return false
	}
	x.long = true
	small := x.reader
	x.read(bufio.NewReaderSize(nil, x.engine.cfg.MaxHeaderBytes), read)
	small.Reset(nil)
	x.engine.readers.Put(small)
	return true
}

// shrink gives back what a long head took. The connection may wait for long for the next one.
func (x *http1Conn) shrink() {
	if !x.long || x.reader.Buffered() > readerSize {
		return
	}
	rest, _ := x.reader.Peek(x.reader.Buffered())
	x.read(x.engine.newReader(nil), rest)
	x.head = fasthttp.RequestHeader{}
	x.request = Request{} // the target may be long
	x.long = false
	x.engine.long.Add(-1)
}

// read continues reading with r, whose buffer has room for the bytes read before.
func (x *http1Conn) read(r *bufio.Reader, before []byte) {
	var from io.Reader = x.rw
	if len(before) > 0 {
		from = io.MultiReader(bytes.NewReader(bytes.Clone(before)), x.rw)
	}
	r.Reset(from)
	_, _ = r.Peek(len(before))
	x.reader = r
}

// parse reads the head, all of which is buffered.
func (x *http1Conn) parse(scan headScan) error {
	if err := x.head.Read(x.reader); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	proto := x.head.Protocol()
	switch {
	case string(proto) != "HTTP/1.1" && string(proto) != "HTTP/1.0":
		return errVersion
	case scan.coded && x.head.ContentLength() != chunked:
		return errCoding
	}
	return nil
}

// refuse answers an invalid request, and ends the connection. The answer never quotes the client's
// text.
func (x *http1Conn) refuse(err error) {
	status, reason := http.StatusBadRequest, err
	switch {
	case err == errGone:
		return
	case err == errHTTP2:
		x.conn.unread, _ = x.reader.Peek(x.reader.Buffered())
		x.handOver(x.conn)
		return
	case err == errHeadTooLarge, err == errHeadLines:
		status = http.StatusRequestHeaderFieldsTooLarge
	case err == errLongHeads:
		status = http.StatusServiceUnavailable
	case err == errVersion:
		status = http.StatusHTTPVersionNotSupported
	case errors.Is(err, errMalformed):
		reason = errMalformed // fasthttp's text quotes the request
	}
	x.request = Request{}
	x.response = Response{sender: x}
	x.response.SetField(refusal)
	x.close = true
	pace := Pace{}.WithDefaults()
	if _, err := x.response.Send(status, []byte(http.StatusText(status)+": "+reason.Error()+"\n"), &pace); err == nil {
		x.linger()
	}
}

var refusal = Join(
	NewField("Content-Type", "text/plain; charset=utf-8"),
	NewField("Cache-Control", "no-store"),
	NewField("X-Content-Type-Options", "nosniff"),
)
