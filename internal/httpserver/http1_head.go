package httpserver

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
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
		case len(b) == x.reader.Size():
			x.grow(b)
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
// arrived.
func (x *http1Conn) grow(read []byte) {
	rest := io.MultiReader(bytes.NewReader(bytes.Clone(read)), x.rw)
	x.reader = bufio.NewReaderSize(rest, x.engine.cfg.MaxHeaderBytes)
	_, _ = x.reader.Peek(len(read))
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
	case err == errHeadTooLarge:
		status = http.StatusRequestHeaderFieldsTooLarge
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
