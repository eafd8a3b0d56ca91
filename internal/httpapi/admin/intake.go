package admin

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/prefetch/service"
)

// Bounds of events and notifications.
const (
	maxEventBody  = 1 << 20 // bytes
	intakesAtOnce = 32      // bodies in memory at the same time
)

// limiter limits concurrent requests to its capacity.
type limiter chan struct{}

// enter returns the function to call when the request ends, or an error if the limit is reached.
func (l limiter) enter() (leave func(), err error) {
	select {
	case l <- struct{}{}:
		return func() { <-l }, nil
	default:
		return nil, errCrowded
	}
}

var errCrowded = problem.Errorf(problem.ErrConcurrency, "Too many requests are being read right now. Try again.")

// readBody reads at most most bytes, and nothing if Content-Length is larger.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	long := problem.Errorf(problem.ErrBodyLarge, "The body has more than %d bytes.", most)
	if r.ContentLength > most {
		return nil, long
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, problem.Errorf(problem.ErrEncoding, "The body has a Content-Encoding, which is not supported here.")
	}
	var body bytes.Buffer
	if r.ContentLength > 0 {
		body.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := io.Copy(&body, http.MaxBytesReader(w, r.Body, most))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, long
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, problem.ErrBodySlow
	case err != nil:
		return nil, problem.Errorf(problem.ErrRequest, "The body ended early.")
	}
	return body.Bytes(), nil
}

// outcomeOf returns the label of err in metrics, and err as an error of the problem table.
func outcomeOf(err error) (label string, _ error) {
	if err == nil {
		return "accepted", nil
	}
	row := problem.Of(err)
	switch row.Status {
	case http.StatusUnauthorized:
		return "forged", err
	case http.StatusRequestEntityTooLarge:
		return "too_large", err
	case http.StatusTooManyRequests:
		return "full", err
	case http.StatusServiceUnavailable:
		return "unavailable", err
	case http.StatusInternalServerError:
		return "unavailable", fmt.Errorf("%w: %w", service.ErrUnavailable, err)
	}
	return "invalid", err
}

// count reports the outcome of an event to the observer.
func (p *api) count(kind, outcome string) {
	if p.Observe != nil {
		if kind == "" {
			kind = "unknown"
		}
		p.Observe(kind, outcome)
	}
}

// accepted answers 202: the request is in the queue.
func accepted(w http.ResponseWriter, r *http.Request, n int) error {
	return writeJSON(w, r, http.StatusAccepted, struct {
		Accepted int `json:"accepted"`
	}{n})
}
