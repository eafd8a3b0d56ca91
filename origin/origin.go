// Package origin defines [Source], a store of original images, and wrappers that
// make one robust: [Retry], [Deadline], [Limit], and package breaker. The
// implementations are dirorigin, s3origin and weborigin; origintest is the
// conformance suite that all of them pass.
//
// Wrap a source in this order, so that each wrapper sees the result of the one inside:
//
//	src, err := s3origin.New(ctx, cfg)               // or another source
//	src = origin.Retry(src, …)                       // up to four tries, body included
//	src = origin.Deadline(src, timeout)              // for all tries together
//	src = origin.Limit(src, …)                       // concurrent requests and queue
//	src = breaker.New(src, …)                        // fail fast while the origin is down
//
// and read from it with [ReadAll]. Start reading at Source, then ReadAll.
package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/novasocial/imagetier/origin/objectname"
)

// A Source opens originals by name.
type Source interface {
	// Open returns the named object, or an error that wraps one of the sentinels
	// below or ctx's error. The caller closes Object.Body. ctx covers the reading
	// too: Body fails with an error that wraps ctx's error soon after ctx is done,
	// and with one that wraps ErrUnavailable if it ends before the promised Size.
	// A checksum mismatch may show only at the end, so the bytes are good only
	// after Read has returned io.EOF.
	Open(ctx context.Context, name string, cond Cond) (*Object, error)

	// Head returns the metadata of the named object without fetching its bytes.
	// Its errors are those of Open without a condition.
	Head(ctx context.Context, name string) (Metadata, error)
}

// Cond is the condition of a request: it pins one content of an object, or
// revalidates a copy. At most one of Match and VersionID is set, and neither
// together with NoneMatch or ModifiedSince.
type Cond struct {
	// Match is a strong entity tag without its quotes (If-Match). If the answer
	// has a different tag, a weak one or none, the error is ErrChanged, even if
	// the origin ignores If-Match.
	Match string
	// VersionID is an S3 object version. Sources without versions return ErrNotFound.
	VersionID string
	// NoneMatch is an entity tag as in Object.ETag (If-None-Match) and
	// ModifiedSince a Last-Modified time. The error is ErrNotModified if the
	// object has not changed.
	NoneMatch     string
	ModifiedSince time.Time
}

// Object is an opened original.
type Object struct {
	Metadata
	Body io.ReadCloser
}

// Metadata describes an original.
type Metadata struct {
	Size         int64     // bytes; -1 if unknown
	ETag         string    // as sent by the origin: quoted, W/ before a weak one; or ""
	LastModified time.Time // zero if unknown
	Date         time.Time // when the origin made the answer (RFC 9110, 6.6.1); zero if unknown
	// Decoded says that Body is decoded from a content coding (Content-Encoding). ETag is
	// the tag of the coded bytes: it revalidates, and does not name the bytes of Body.
	Decoded bool
	Fresh   Freshness
}

// NotModified is the error of a successful revalidation: errors.Is(err, ErrNotModified),
// and errors.As finds the freshness that replaces the stored one (RFC 9111, 4.3.4).
// If Fresh is Silent, the stored lifetime starts again, counted from Fresh.Received less Fresh.Age.
type NotModified struct {
	ETag         string
	LastModified time.Time
	Date         time.Time // of the 304
	Fresh        Freshness
}

func (*NotModified) Error() string        { return ErrNotModified.Error() }
func (*NotModified) Is(target error) bool { return target == ErrNotModified }

// Busy is the error of an overloaded origin (status 408, 425, 429 or 503): errors.Is(err, ErrBusy),
// and errors.As finds the Retry-After.
type Busy struct {
	RetryAfter time.Duration // 0 if the origin did not say
}

func (*Busy) Error() string        { return ErrBusy.Error() }
func (*Busy) Is(target error) bool { return target == ErrBusy }

// Freshness is how long an answer may be reused (RFC 9111), computed when the answer
// arrived. Package rfc9111 computes it from HTTP headers.
type Freshness struct {
	// Silent says that the origin set no lifetime: the caller's defaults apply.
	// Lifetime, MustRevalidate and NoStore are not set.
	Silent bool
	// NoStore is set by no-store, private, or a Vary that names a field in which
	// requests could differ: use the answer once, do not store it.
	NoStore bool
	// Age is the corrected initial age (RFC 9111, 4.2.3), which includes the delay of the answer.
	Age time.Duration
	// Received is when the headers of the answer arrived, by the local clock: Age counts on from
	// here. If zero, it counts from when the caller sent the request.
	Received time.Time
	// Lifetime is the freshness lifetime, counted from Age 0; 0 means stale at
	// once (no-cache).
	Lifetime time.Duration
	// MustRevalidate is set by must-revalidate, proxy-revalidate, s-maxage and
	// no-cache: the answer is never served stale.
	MustRevalidate       bool
	StaleWhileRevalidate time.Duration // RFC 5861
	// StaleIfError (RFC 5861) is 0 if the origin did not say: the caller's default
	// applies. It is negative if the origin allows none.
	StaleIfError time.Duration
}

// Errors of a Source and of the wrappers. Test for them with errors.Is. cause.go has the
// errors that say why a request failed.
var (
	// ErrNotFound is returned only if the origin itself answered that there is no
	// such original.
	ErrNotFound = errors.New("original not found")
	// ErrChanged means that the entity tag is not the one in Cond.Match, weak or missing.
	ErrChanged = errors.New("original is not the pinned one")
	// ErrNotModified is wrapped by NotModified.
	ErrNotModified = errors.New("original not modified")
	// ErrDenied means status 401 or 403, or a network address that is not allowed.
	ErrDenied = errors.New("origin denied access")
	// ErrRejected means any other answer below 500: the origin works, and does not hand
	// out this object.
	ErrRejected = errors.New("origin rejected the request")
	// ErrUnavailable means no answer, a 5xx, a truncated body or an open breaker.
	// If the origin was too slow, the error also wraps context.DeadlineExceeded.
	ErrUnavailable = errors.New("origin unavailable")
	// ErrBusy is returned by Limit, and for the origin's own 429, 503 and the like (see Busy).
	ErrBusy = errors.New("too many requests to the origin")
	// ErrTooLarge means that an original has more bytes than allowed, by its
	// promised size or by count.
	ErrTooLarge = errors.New("original too large")
	// ErrName means that the name is not valid for this source: "..", an empty
	// segment, a NUL.
	ErrName = objectname.ErrName
)

// SizeError is returned for an original that has more than Max bytes. It wraps ErrTooLarge.
type SizeError struct{ Max int64 }

func (e *SizeError) Error() string { return fmt.Sprintf("%s: more than %d bytes", ErrTooLarge, e.Max) }

// Unwrap returns ErrTooLarge.
func (e *SizeError) Unwrap() error { return ErrTooLarge }
