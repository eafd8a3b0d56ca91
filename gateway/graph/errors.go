package graph

import (
	"context"
	"errors"

	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/novasocial/imagetier/gateway/feed"
)

// Code is what extensions.code of an error says.
type Code string

const (
	BadInput        Code = "BAD_USER_INPUT"                // an argument, or a bound of requests
	Unauthenticated Code = "UNAUTHENTICATED"               // no token where one is needed, or a bad one
	AuthDown        Code = "AUTH_UNAVAILABLE"              // tokens cannot be verified now
	UpstreamTimeout Code = "UPSTREAM_TIMEOUT"              // a service did not answer in time
	UpstreamError   Code = "UPSTREAM_ERROR"                // it failed, or cannot be reached
	BadRequest      Code = "BAD_REQUEST"                   // no GraphQL request
	ParseFailed     Code = "GRAPHQL_PARSE_FAILED"          // no GraphQL
	Invalid         Code = "GRAPHQL_VALIDATION_FAILED"     // GraphQL, but not of this schema
	NoPersisted     Code = "PERSISTED_QUERY_NOT_SUPPORTED" // so clients send the text
	Internal        Code = "INTERNAL_SERVER_ERROR"
)

// Codes are all there are.
var Codes = []Code{BadInput, Unauthenticated, AuthDown, UpstreamTimeout, UpstreamError, BadRequest, ParseFailed, Invalid, NoPersisted, Internal}

const wentWrong = "Something went wrong here."

// fault is an error as a client reads it.
type fault struct {
	Message    string              `json:"message"`
	Locations  []gqlerror.Location `json:"locations,omitempty"`
	Path       []any               `json:"path,omitempty"`
	Extensions struct {
		Code    Code         `json:"code"`
		Service feed.Service `json:"service,omitempty"` // whose fault it is
	} `json:"extensions"`
}

func (f *fault) Error() string { return string(f.Extensions.Code) + ": " + f.Message }

func newFault(code Code, text string) *fault {
	f := &fault{Message: text}
	f.Extensions.Code = code
	return f
}

// upstream says of a service's error what a client may know: which service and what kind,
// and nothing of its text. cause is a *feed.Fault, or that the request's time is over.
func upstream(cause error, otherwise feed.Service) *fault {
	service := otherwise
	var of *feed.Fault
	if errors.As(cause, &of) {
		service = of.Service
	}
	f := newFault(UpstreamError, "The "+string(service)+" service cannot be reached, or failed.")
	switch {
	case errors.Is(cause, feed.ErrInvalid):
		f = newFault(BadInput, "The "+string(service)+" service refused what was asked. Is the cursor one that it gave?")
	case errors.Is(cause, feed.ErrTimeout), errors.Is(cause, context.DeadlineExceeded):
		f = newFault(UpstreamTimeout, "The "+string(service)+" service did not answer in time.")
	}
	f.Extensions.Service = service
	return f
}

// parsing turns what the parser and its rules say into faults.
func parsing(err error) []*fault {
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
