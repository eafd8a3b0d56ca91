// Package problem is the one table from error to HTTP answer, and the writer of
// application/problem+json bodies (RFC 9457). The public handler and the private API both
// answer errors by it.
//
// Start with the table in table.go.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/objectname"
	"github.com/novasocial/imagetier/resize"
)

// Row says how one error is answered.
type Row struct {
	Err          error // matched by errors.Is
	Status       int
	Code         string // for programs: stable, listed in docs/api/errors.md
	CacheControl string
	Level        slog.Level // minimum level of the log line
	Detail       string     // as text for users; "": the text of the error, which is safe to show
}

// StatusClientGone is the status, in logs and metrics, of a request whose client hung up
// before the end of the answer. nginx uses the same number.
const StatusClientGone = 499

// Table is the rows in order of precedence.
type Table []Row

// New returns the table of the image path. negativeTTL is how long others may cache a 404.
func New(negativeTTL time.Duration) Table {
	rows := append(Table(nil), public...)
	for i := range rows {
		if rows[i].CacheControl == negative {
			rows[i].CacheControl = "public, max-age=" + strconv.FormatInt(int64(negativeTTL/time.Second), 10)
		}
	}
	return rows
}

// Of returns the row of err, which occurred while serving a request with ctx.
func (t Table) Of(ctx context.Context, err error) *Row {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &clientGone
	}
	for i := range t {
		if errors.Is(err, t[i].Err) {
			return &t[i]
		}
	}
	return &internal
}

// Of returns the row of an error of the private API, whose answers are never cached: a
// CacheControl of an image is to be ignored.
func Of(err error) *Row { return private.Of(context.Background(), err) }

// detailed is an error with a detail of its own that is safe to show.
type detailed struct {
	kind   error
	detail string
}

func (e *detailed) Error() string { return e.detail }
func (e *detailed) Unwrap() error { return e.kind }

// Errorf returns an error that is answered by the row of kind, with this text as its detail
// instead of the row's. The text is shown to clients.
func Errorf(kind error, format string, args ...any) error {
	return &detailed{kind, fmt.Sprintf(format, args...)}
}

// DetailOf returns the detail that clients see of err: not the error's own text, except for errors
// that are meant for clients.
func (row *Row) DetailOf(err error) string {
	var own *detailed
	var missing *resize.UnavailableError
	var limit *resize.LimitError
	var original *resize.OriginalError
	var name *objectname.Error
	var size *origin.SizeError
	switch {
	case errors.As(err, &own):
		return own.detail
	case errors.As(err, &missing):
		return "This cannot be made here yet: " + missing.What + "."
	case errors.As(err, &limit):
		return row.because(limit.What)
	case errors.As(err, &original) && errors.Is(row.Err, original.Err):
		return row.because(original.What)
	case errors.As(err, &name):
		return row.because(name.What)
	case errors.As(err, &size):
		return row.because(fmt.Sprintf("the limit is %d (--max-original-bytes)", size.Max))
	case row.Detail == "":
		return err.Error()
	}
	return row.Detail
}

// because returns the detail of row with a reason.
func (row *Row) because(reason string) string {
	return strings.TrimSuffix(row.Detail, ".") + ": " + reason + "."
}

// body is the body of a problem. Its type is always about:blank: code says more.
type body struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// Body returns the body of the answer to err, and sets the header fields that belong to it
// and to the status.
func (row *Row) Body(h http.Header, err error, requestID string) []byte {
	text, marshalErr := json.Marshal(
		body{"about:blank", Title(row.Status), row.Status, row.Code, row.DetailOf(err), requestID},
	)
	if marshalErr != nil {
		panic(marshalErr) // strings and a number always marshal
	}
	text = append(text, '\n')
	h["Cache-Control"] = []string{row.CacheControl}
	h["Content-Type"] = []string{"application/problem+json"}
	h["Content-Length"] = []string{strconv.Itoa(len(text))}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["X-Request-Id"] = []string{requestID}
	switch row.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h["Retry-After"] = []string{retryAfter(err)}
	case http.StatusUnauthorized:
		h["Www-Authenticate"] = []string{`Bearer realm="imagetier"`}
	}
	return text
}

// Title returns the title of a status.
func Title(status int) string {
	if status == StatusClientGone {
		return "Client Closed Request"
	}
	return http.StatusText(status)
}

// retryAfter returns seconds: the origin's Retry-After, at most 60, or else 1 or 2 at random, so
// that clients refused together do not return together.
func retryAfter(err error) string {
	var busy *origin.Busy
	if errors.As(err, &busy) && busy.RetryAfter > 0 {
		whole := int64((busy.RetryAfter + time.Second - 1) / time.Second)
		return strconv.FormatInt(min(whole, 60), 10)
	}
	return strconv.Itoa(1 + rand.IntN(2))
}
