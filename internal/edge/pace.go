package edge

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Pace is what is expected of a client that takes an answer. Bodies are written in steps;
// each has Grace plus the time that its bytes take at Rate to reach the kernel, and a step
// that is late ends the connection (HTTP/1) or the stream (HTTP/2). So a phone on a bad
// line gets its image however long that takes, and one that has stopped reading holds a
// goroutine for 42 s at most, whatever it asked for. What the kernel has accepted is the
// kernel's to deliver.
//
// A hole: Linux lets a blocked writer go on only when a third of the send buffer is free,
// and that buffer grows to 4 MB for a client that was fast. One that then falls to Rate in
// the middle of something larger may not free so much in time, and is cut. (nginx, whose
// send_timeout of 60 s is between two writes, has the same.)
type Pace struct {
	Grace time.Duration // 0 is 10 s
	Rate  int           // bytes a second; 0 is 4,096, less than a phone on EDGE takes
	Step  int           // bytes; 0 is 131,072. Smaller bodies are one write
}

func (p Pace) withDefaults() Pace {
	if p.Grace <= 0 {
		p.Grace = 10 * time.Second
	}
	if p.Rate <= 0 {
		p.Rate = 4 << 10
	}
	if p.Step <= 0 {
		p.Step = 128 << 10
	}
	return p
}

// allowance is how long writing n bytes may take.
func (p *Pace) allowance(n int) time.Duration {
	return p.Grace + time.Duration(n)*time.Second/time.Duration(p.Rate)
}

// send writes status and body; the headers are set. HEAD gets no body. conn is nil, or gathers the
// answer.
func (x *exchange) send(status int, body []byte, conn *limitedConn) {
	x.status = status
	control := http.NewResponseController(x.w)
	if x.r.Method == http.MethodHead {
		body = nil
	}
	step := body[:min(len(body), x.Pace.Step)]
	// A writer that has no deadlines is a test's or a wrapper's; it is served all the same.
	_ = control.SetWriteDeadline(time.Now().Add(x.Pace.allowance(len(step))))
	x.w.WriteHeader(status)
	if conn != nil {
		conn.gather()
	}
	for len(step) > 0 {
		n, err := x.w.Write(step)
		if conn != nil {
			err = errors.Join(err, conn.release())
			conn = nil
		}
		x.bytes += int64(n)
		if err != nil {
			// net/http closes what is shorter than its Content-Length.
			x.err = fmt.Errorf("%w: %w", errCut, err)
			x.status = StatusClientGone
			return
		}
		body = body[len(step):]
		if step = body[:min(len(body), x.Pace.Step)]; len(step) > 0 {
			_ = control.SetWriteDeadline(time.Now().Add(x.Pace.allowance(len(step))))
		}
	}
}

// hangUpOnBody ends an HTTP/1 connection whose request announced a body. net/http would
// read it before it answers, for as long as the client likes; and a body on a GET is
// either a mistake or an attempt at smuggling (RFC 9110, 9.3.1).
func (x *exchange) hangUpOnBody(h http.Header) {
	if x.r.ContentLength != 0 && x.r.ProtoMajor == 1 {
		h["Connection"] = closeAfterward
	}
}
