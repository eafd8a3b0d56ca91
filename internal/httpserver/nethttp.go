package httpserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// NetHTTP returns an [http.Handler] that answers by next.
func NetHTTP(next Responder) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		target := r.RequestURI
		if target == "" { // the request was made in this process
			target = r.URL.EscapedPath()
		}
		next.Respond(&Request{
			Method: r.Method, Target: target, Proto: r.Proto, RemoteAddr: r.RemoteAddr, HasBody: HasBody(r),
			ctx: r.Context(), fields: header(r.Header),
		}, &Response{sender: netHTTP{w, r}})
	})
}

type header http.Header

func (h header) values(name string) []string { return h[name] }

// netHTTP is the sender for requests that net/http has read.
type netHTTP struct {
	w http.ResponseWriter
	r *http.Request
}

// send copies the header lines into net/http's map, where they replace what was set before.
func (e netHTTP) send(w *Response, status int, body []byte, pace *Pace) (written int64, err error) {
	h := e.w.Header()
	for line := range strings.SplitSeq(strings.TrimSuffix(string(w.lines), "\r\n"), "\r\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h[name] = []string{value}
		}
	}
	if hasLength(status) {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	if e.r.Method == http.MethodHead {
		body = nil
	}
	control := http.NewResponseController(e.w)
	step := body[:min(len(body), pace.Step)]
	// Only writers of tests and wrappers have no deadlines, and need none.
	_ = control.SetWriteDeadline(time.Now().Add(pace.allowance(len(step))))
	e.w.WriteHeader(status)
	for len(step) > 0 {
		n, err := e.w.Write(step)
		written += int64(n)
		if err != nil {
			return written, err
		}
		body = body[len(step):]
		if step = body[:min(len(body), pace.Step)]; len(step) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(pace.allowance(len(step))))
		}
	}
	return written, nil
}
