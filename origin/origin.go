// Package origin says what an origin of images is (Source) and wraps one against
// the faults that origins have: Retry, Deadline, Limit, and Breaker in a package of
// its own. Its implementations are dirorigin, s3origin and weborigin; origintest is
// the script that all of them pass.
//
// The wrappers are meant to be put around a source in this order, each seeing what
// the one inside makes of a fault:
//
//	src, err := s3origin.New(ctx, cfg)               // or another; measured per request
//	src = origin.Retry(src, …)                       // once more, body included
//	src = origin.Deadline(src, timeout)              // both tries together
//	src = origin.Limit(src, …)                       // at once, and waiting for it
//	src = breaker.New(src, …)                        // none of it while the origin is down
//
// and read with ReadAll.
package origin

import (
	"context"
	"errors"
	"io"
	"time"
)

// A Source opens originals by name.
type Source interface {
	// Open returns the named object, or an error that wraps one of the sentinels
	// below or ctx's error. The caller closes Object.Body. Body ends with an error
	// that wraps ErrUnavailable when it ends before the promised Size, and with one
	// that wraps ctx's error soon after ctx is done: ctx governs the whole reading.
	// Faults of the bytes (a checksum that differs) may show only at the very end, so
	// what was read is good once Read has returned io.EOF and not before.
	Open(ctx context.Context, name string, cond Cond) (*Object, error)

	// Head returns what Open without a condition would say of the named object, without
	// fetching its bytes: an entity tag costs no download. Errors are those of Open.
	Head(ctx context.Context, name string) (Metadata, error)
}

// Cond pins what is opened, or revalidates what the caller has. At most one of
// Match and VersionID is set, and neither together with the other two.
type Cond struct {
	// Match is a strong entity tag without its quotes (If-Match). Another, a weak
	// or no tag in the answer is ErrChanged, whatever the origin thinks of it.
	Match string
	// VersionID is an S3 object version; ErrNotFound from sources without versions.
	VersionID string
	// NoneMatch is an entity tag as Object.ETag spells it (If-None-Match), and
	// ModifiedSince a Last-Modified: ErrNotModified if the object is still that one.
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
	Size         int64  // bytes; -1 where the origin did not say
	ETag         string // as the origin spells it: quoted, W/ before a weak one; "" is none
	LastModified time.Time
	Fresh        Freshness
}

// NotModified is the error of a successful revalidation: errors.Is(err, ErrNotModified),
// and errors.As finds the freshness that replaces the stored one (RFC 9111, 4.3.4).
// Where Fresh is Silent the origin had nothing new to say: the lifetime that was
// stored holds once more, counted from now less Fresh.Age.
type NotModified struct {
	ETag         string
	LastModified time.Time
	Fresh        Freshness
}

func (*NotModified) Error() string        { return ErrNotModified.Error() }
func (*NotModified) Is(target error) bool { return target == ErrNotModified }

// Busy is the error of an origin that asked to be left alone for a while (429, 503):
// errors.Is(err, ErrBusy), and errors.As finds for how long.
type Busy struct {
	RetryAfter time.Duration // 0 where the origin did not say
}

func (*Busy) Error() string        { return ErrBusy.Error() }
func (*Busy) Is(target error) bool { return target == ErrBusy }

// Freshness is an origin's word on how long its answer may be used again (RFC 9111),
// reduced to numbers at the moment the answer arrived. rfc9111 makes it.
type Freshness struct {
	Silent               bool          // the origin said nothing of a lifetime: the caller's defaults hold; only Age is set besides
	NoStore              bool          // no-store, private, Vary by what a request could differ in: answer, do not keep
	Age                  time.Duration // corrected initial age (RFC 9111, 4.2.3)
	Lifetime             time.Duration // freshness lifetime, counted from Age 0; 0 is stale at once (no-cache)
	MustRevalidate       bool          // must-revalidate, proxy-revalidate, s-maxage, no-cache: never served stale
	StaleWhileRevalidate time.Duration // RFC 5861
	StaleIfError         time.Duration // RFC 5861
}

var (
	ErrNotFound    = errors.New("original not found")                   // the origin says so, and only then
	ErrChanged     = errors.New("original is not the one pinned")       // another, a weak or no entity tag
	ErrNotModified = errors.New("original not modified")                // see NotModified
	ErrDenied      = errors.New("origin denied access")                 // 401, 403, an address that may not be reached
	ErrUnavailable = errors.New("origin unavailable")                   // no answer, 5xx, a cut body, an open breaker; with context.DeadlineExceeded: too slow
	ErrBusy        = errors.New("too many requests to the origin")      // Limit, or the origin's 429 and 503
	ErrTooLarge    = errors.New("original over the limit of bytes")     // ReadAll, by promise or by count
	ErrName        = errors.New("not a name that this source can have") // .., empty segments, NUL
)
