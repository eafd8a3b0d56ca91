package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"

	"github.com/novasocial/imagetier/gateway/budget"
)

// maxQuery is the longest request body in which aliases are looked for, in bytes.
const maxQuery = 256 << 10

// maxBodies bounds these bodies together, in bytes. Each is held until its answer ends.
const maxBodies = 32 << 20

func (p *Proxy) tooLarge() string {
	return fmt.Sprintf("A request may have at most %d bytes (--max-request-bytes).", p.cfg.MaxRequestBytes)
}

// readRequest bounds the body of a request and reads the query in it. A status other than 0
// refuses the request.
func (p *Proxy) readRequest(w http.ResponseWriter, r *http.Request, x *exchange) (status int, detail string) {
	switch {
	case r.Method == http.MethodConnect: // nothing could be rewritten in a tunnel
		return http.StatusMethodNotAllowed, "CONNECT is not supported."
	case r.ContentLength > p.cfg.MaxRequestBytes:
		return http.StatusRequestEntityTooLarge, p.tooLarge()
	}
	if r.Body != nil && r.Body != http.NoBody {
		x.body = &requestBody{ReadCloser: http.MaxBytesReader(w, r.Body, p.cfg.MaxRequestBytes)}
		r.Body = x.body
	}
	var over *http.MaxBytesError
	switch err := p.readQuery(r, x); {
	case err == nil:
		return 0, ""
	case errors.As(err, &over):
		return http.StatusRequestEntityTooLarge, p.tooLarge()
	case errors.Is(err, budget.ErrFull):
		w.Header().Set("Retry-After", "1")
		return http.StatusServiceUnavailable, "Too many requests are being read. Try again later."
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout, "The request body arrived too slowly."
	default:
		return http.StatusBadRequest, "The request was cut short."
	}
}

// requestBody notes whether reading it took too long: the error that the transport returns for
// that is the same as that of a service which does not answer.
type requestBody struct {
	io.ReadCloser
	slow atomic.Bool
}

func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		b.slow.Store(true)
	}
	return n, err
}

func (x *exchange) slowBody() bool { return x.body != nil && x.body.slow.Load() }

// readQuery reads the query of a GraphQL request to find aliases. It reads up to maxQuery bytes of
// the body before the request is forwarded, and only if the body may be a query.
func (p *Proxy) readQuery(r *http.Request, x *exchange) error {
	if r.URL.RawQuery != "" {
		x.query = p.queries.parse(p.fields, []operation{operationOf(r.URL.Query())})
	}
	form := queryForm(r.Header)
	if r.Body == nil || r.Body == http.NoBody || form == noQuery {
		return nil
	}
	head, release, err := p.bodies.ReadAll(io.LimitReader(r.Body, maxQuery+1))
	x.release = release
	if err != nil {
		return err
	}
	if len(head) > maxQuery {
		r.Body = &joined{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	} else {
		// The whole body was read: its length is known, and it can be sent again if a reused
		// connection turns out to be closed.
		_ = r.Body.Close()
		r.ContentLength, r.TransferEncoding = int64(len(head)), nil
		r.Body = io.NopCloser(bytes.NewReader(head))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	}
	if operations := readOperations(form, r.Header.Get("Content-Type"), head); len(operations) > 0 {
		x.query = p.queries.parse(p.fields, operations)
		x.repeatable = x.query.queries
	}
	return nil
}

type joined struct {
	io.Reader
	io.Closer
}
