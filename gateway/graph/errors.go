package graph

import (
	"context"
	"errors"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/novasocial/imagetier/gateway/feed"
)

// Code is the extensions.code of an error.
type Code string

const (
	BadInput        Code = "BAD_USER_INPUT"                // an invalid argument, or a request over a limit
	Unauthenticated Code = "UNAUTHENTICATED"               // missing or invalid token
	AuthDown        Code = "AUTH_UNAVAILABLE"              // tokens cannot be verified now
	UpstreamTimeout Code = "UPSTREAM_TIMEOUT"              // a service did not answer in time
	UpstreamError   Code = "UPSTREAM_ERROR"                // a service failed or is unreachable
	BadRequest      Code = "BAD_REQUEST"                   // not a GraphQL request
	ParseFailed     Code = "GRAPHQL_PARSE_FAILED"          // a syntax error
	Invalid         Code = "GRAPHQL_VALIDATION_FAILED"     // does not match the schema
	NoPersisted     Code = "PERSISTED_QUERY_NOT_SUPPORTED" // makes clients send the query text
	Overloaded      Code = "OVERLOADED"                    // no memory for the answer; try again later
	Internal        Code = "INTERNAL_SERVER_ERROR"
)

// Codes are all codes.
var Codes = []Code{
	BadInput,
	Unauthenticated,
	AuthDown,
	UpstreamTimeout,
	UpstreamError,
	BadRequest,
	ParseFailed,
	Invalid,
	NoPersisted,
	Overloaded,
	Internal,
}

const internalMessage = "Internal error."

// fault is an error as sent to clients.
type fault struct {
	Message    string              `json:"message"`
	Locations  []gqlerror.Location `json:"locations,omitempty"`
	Path       []any               `json:"path,omitempty"`
	Extensions struct {
		Code    Code         `json:"code"`
		Service feed.Service `json:"service,omitempty"` // the service that failed
	} `json:"extensions"`
}

func (f *fault) Error() string { return string(f.Extensions.Code) + ": " + f.Message }

func newFault(code Code, text string) *fault {
	f := &fault{Message: text}
	f.Extensions.Code = code
	return f
}

// upstream returns the client's view of a service error: the service and the kind, but not the
// text. service is used if cause is not a *feed.Fault, but the timeout of the request.
func upstream(cause error, service feed.Service) *fault {
	var of *feed.Fault
	if errors.As(cause, &of) {
		service = of.Service
	}
	f := newFault(UpstreamError, "The "+string(service)+" service failed or is unreachable.")
	switch {
	case errors.Is(cause, feed.ErrInvalid):
		f = newFault(
			BadInput,
			"The "+string(service)+" service rejected the request. Check that the cursor is from a previous page.",
		)
	case errors.Is(cause, feed.ErrTimeout), errors.Is(cause, context.DeadlineExceeded):
		f = newFault(UpstreamTimeout, "The "+string(service)+" service did not answer in time.")
	}
	f.Extensions.Service = service
	return f
}

// parserFaults converts errors of the parser and the validator.
func parserFaults(err error) []*fault {
	var list gqlerror.List
	var one *gqlerror.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = gqlerror.List{one}
	default:
		return []*fault{newFault(ParseFailed, err.Error())}
	}
	var faults []*fault
	for _, e := range list {
		code := ParseFailed
		if e.Rule != "" {
			code = Invalid
		}
		f := newFault(code, e.Message)
		f.Locations = e.Locations
		faults = append(faults, f)
	}
	return faults
}
