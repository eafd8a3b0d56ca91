package httpserver

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// copyBelow is the length of a body, in bytes, below which copying it behind its header costs less
// than a second part of a writev.
const copyBelow = 4 << 10

// send writes the header and the first step of the body by one system call. It is the [sender] of
// HTTP/1.1.
func (x *http1Conn) send(w *Response, status int, body []byte, pace *Pace) (written int64, err error) {
	defer func() { x.cut = err != nil }()
	x.close = x.close || x.engine.draining.Load()
	now := time.Now()
	x.out = x.appendHeader(x.out[:0], w, status, len(body), now)
	if x.request.Method == http.MethodHead || !hasLength(status) {
		body = nil
	}
	step := body[:min(len(body), pace.Step)]
	x.allowWrite(now, pace.allowance(len(step)))
	if len(step) < copyBelow && len(step) == len(body) {
		x.out = append(x.out, step...)
		n, err := x.rw.Write(x.out)
		return max(0, int64(n-len(x.out)+len(step))), err
	}
	if written, err = x.writeBoth(step); err != nil {
		return written, err
	}
	for body = body[len(step):]; len(body) > 0; body = body[len(step):] {
		step = body[:min(len(body), pace.Step)]
		x.allowWrite(time.Now(), pace.allowance(len(step)))
		n, err := x.rw.Write(step)
		written += int64(n)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// writeBoth writes out and then step, and returns how much of step was written.
func (x *http1Conn) writeBoth(step []byte) (written int64, err error) {
	if x.vector == nil {
		if _, err := x.rw.Write(x.out); err != nil {
			return 0, err
		}
		n, err := x.rw.Write(step)
		return int64(n), err
	}
	n, err := x.vector.write(x.out, step)
	return max(0, n-int64(len(x.out))), err
}

// allowWrite sets the write deadline. One that is at most a 16th earlier stays, as in allowRead.
func (x *http1Conn) allowWrite(now time.Time, d time.Duration) {
	if left := x.writeBy.Sub(now); left <= d && left >= d-d/16 {
		return
	}
	x.writeBy = now.Add(d)
	_ = x.rw.SetWriteDeadline(x.writeBy)
}

// appendHeader appends the status line and the header.
func (x *http1Conn) appendHeader(b []byte, w *Response, status, length int, now time.Time) []byte {
	if status == http.StatusOK {
		b = append(b, "HTTP/1.1 200 OK\r\n"...)
	} else {
		b = strconv.AppendInt(append(b, "HTTP/1.1 "...), int64(status), 10)
		b = append(append(append(b, ' '), http.StatusText(status)...), "\r\n"...)
	}
	if !w.dated {
		b = appendDate(b, now)
	}
	if hasLength(status) {
		b = strconv.AppendInt(append(b, "Content-Length: "...), int64(length), 10)
		b = append(b, "\r\n"...)
	}
	switch {
	case x.close:
		b = append(b, "Connection: close\r\n"...)
	case x.request.Proto == "HTTP/1.0":
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	b = append(b, w.lines...)
	return append(b, "\r\n"...)
}

// date is a Date line and the second that it names.
type date struct {
	second int64
	line   []byte
}

var lastDate atomic.Pointer[date]

// appendDate appends a Date line, which is formatted once a second.
func appendDate(b []byte, now time.Time) []byte {
	last := lastDate.Load()
	if second := now.Unix(); last == nil || last.second != second {
		line := append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)
		last = &date{second, line}
		lastDate.Store(last)
	}
	return append(b, last.line...)
}
