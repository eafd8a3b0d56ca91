package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
)

// Intake takes in what is to be warmed or purged later. Its methods return nil once that lies in
// the queue, durably; nothing is fetched or made before they return. Their errors are one
// of the sentinels below, wrapped.
type Intake interface {
	// Event takes what a feed service posted. It reads the body when the headers are good,
	// and takes it in if the signature is. kind is the event's type, "" if that was not
	// read; repeated: its id was taken before, and nothing is done now.
	Event(ctx context.Context, header http.Header, read func() ([]byte, error)) (kind string, repeated bool, err error)
	// Notice takes what an S3 server posted. kinds are s3.created and s3.removed, one for
	// each object of a configured source; of none is no error.
	Notice(ctx context.Context, body []byte) (kinds []string, err error)
}

// Sentinels of an Intake and of a Warmer.
var (
	ErrForged      = errors.New("the signature is not good")         // 401; its text is shown
	ErrEvent       = errors.New("not what is expected here")         // 422; its text is shown, and names the field
	ErrFull        = errors.New("the queue is full")                 // 429
	ErrUnavailable = errors.New("the queue cannot be written")       // 503
	ErrTooLarge    = errors.New("more than the queue takes at once") // 413
)

// Bounds of what is posted to an Intake.
const (
	maxEventBody  = 1 << 20 // bytes (CONTRACT 5)
	intakesAtOnce = 32      // bodies that are held at the same time
)

// gate admits at most so many at once.
type gate chan struct{}

// enter returns what has to be called at the end, or a refusal.
func (g gate) enter() (leave func(), err error) {
	select {
	case g <- struct{}{}:
		return func() { <-g }, nil
	default:
		return nil, errCrowded
	}
}

var errCrowded = refused(http.StatusTooManyRequests, "Too much is being taken in right now. Try again.")

// readBody reads at most most bytes, and none if the body says itself that it has more.
func readBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	long := refused(http.StatusRequestEntityTooLarge, "The body has more than %d bytes.", most)
	if r.ContentLength > most {
		return nil, long
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil, refused(http.StatusUnsupportedMediaType, "The body is encoded (Content-Encoding), which is not read here.")
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
	case err != nil:
		return nil, refused(http.StatusBadRequest, "The body ended before it was whole.")
	}
	return body.Bytes(), nil
}

// intakeRefusal is what an Intake's error looks like from outside, and its label in metrics.
func (p *private) intakeRefusal(err error) (label string, _ error) {
	var known *privateError
	switch {
	case err == nil:
		return "accepted", nil
	case errors.As(err, &known):
		switch known.status {
		case http.StatusRequestEntityTooLarge:
			return "too_large", err
		case http.StatusTooManyRequests:
			return "full", err
		case http.StatusUnauthorized:
			return "forged", err
		}
		return "invalid", err
	case errors.Is(err, ErrForged):
		return "forged", refused(http.StatusUnauthorized, "%v.", err)
	case errors.Is(err, ErrEvent):
		return "invalid", refused(http.StatusUnprocessableEntity, "%v.", err)
	case errors.Is(err, ErrTooLarge):
		return "too_large", refused(http.StatusRequestEntityTooLarge, "This is more than the queue takes at once: send less of it in each event.")
	case errors.Is(err, ErrFull):
		return "full", refused(http.StatusTooManyRequests, "The queue is full. Try again.")
	}
	p.Log.Error("the queue takes nothing in", "err", err)
	return "unavailable", refused(http.StatusServiceUnavailable, "The queue cannot be written now. Try again.")
}

// count tells the observer what became of an event.
func (p *private) count(kind, outcome string) {
	if p.Observe != nil {
		if kind == "" {
			kind = "unknown"
		}
		p.Observe(kind, outcome)
	}
}

// accepted is the answer to what lies in the queue.
func accepted(w http.ResponseWriter, r *http.Request, n int) error {
	return writeJSON(w, r, http.StatusAccepted, struct {
		Accepted int `json:"accepted"`
	}{n})
}
