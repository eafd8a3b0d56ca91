package upstream

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/novasocial/imagetier/gateway/feed"
	"github.com/novasocial/imagetier/internal/circuit"
)

// Outcome is how a call ended, as a label of a metric.
type Outcome string

const (
	OK          Outcome = "ok"
	NotFound    Outcome = "not_found"
	Invalid     Outcome = "invalid"      // the service refused the request
	Canceled    Outcome = "canceled"     // the caller left
	Timeout     Outcome = "timeout"      // no answer in time
	Unavailable Outcome = "unavailable"  // unreachable, or it failed
	BreakerOpen Outcome = "breaker_open" // not called
	panicked    Outcome = "panic"
)

// Outcomes lists all outcomes.
var Outcomes = []Outcome{OK, NotFound, Invalid, Canceled, Timeout, Unavailable, BreakerOpen}

var (
	errBreakerOpen = fmt.Errorf("%w: circuit breaker open", feed.ErrUnavailable)
	errNotFound    = errors.New("not found")
	errNotText     = fmt.Errorf("%w: it is not valid UTF-8", feed.ErrInvalid)
)

// judge maps the gRPC status of a call with the context ctx to an Outcome and an error. The error's
// text contains the message of the service, for the log.
func judge(ctx context.Context, err error) (Outcome, error) {
	code := status.Code(err)
	left := ctx.Err()
	switch {
	case code == codes.OK:
		return OK, nil
	case errors.Is(left, context.Canceled) && (code == codes.Canceled || code == codes.DeadlineExceeded):
		return Canceled, left
	case code == codes.DeadlineExceeded: // of this call, or of the caller's whole request
		return Timeout, fmt.Errorf("%w: %v", feed.ErrTimeout, err)
	case code == codes.Canceled: // by the service, or by Close
		return Canceled, fmt.Errorf("%w: %v", feed.ErrUnavailable, err)
	case code == codes.NotFound:
		return NotFound, fmt.Errorf("%w: %v", errNotFound, err)
	case aboutTheRequest(code):
		return Invalid, fmt.Errorf("%w: %v", feed.ErrInvalid, err)
	}
	return Unavailable, fmt.Errorf("%w: %v", feed.ErrUnavailable, err)
}

// aboutTheRequest reports whether a code is about the request and not about the service. If such
// codes counted as failures, one client with bad requests could open the breaker for all. Unauthenticated is about
// the gateway, which sends no credentials of users.
func aboutTheRequest(code codes.Code) bool {
	switch code {
	case codes.InvalidArgument, codes.OutOfRange, codes.FailedPrecondition, codes.AlreadyExists, codes.PermissionDenied:
		return true
	}
	return false
}

// resultOf returns the result of a call for the breaker.
func resultOf(how Outcome) circuit.Result {
	switch how {
	case OK:
		return circuit.Success
	case NotFound, Invalid, Canceled:
		return circuit.Ignored
	}
	return circuit.Failure
}
