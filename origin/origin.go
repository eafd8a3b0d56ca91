// Package origin says what an origin of images is (Source) and wraps one against
// the faults that origins have: Retry, Limit, Breaker. Its implementations are
// dirorigin, s3origin and weborigin; origintest is the script that all of them pass.
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
	// that wraps ErrUnavailable when it ends before the promised Size.
	Open(ctx context.Context, name string, cond Cond) (*Object, error)
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
	Body         io.ReadCloser
	Size         int64  // bytes; -1 where the origin did not say
	ETag         string // as the origin spells it: quoted, W/ before a weak one; "" is none
	LastModified time.Time
	Fresh        Freshness
}

// NotModified is the error of a successful revalidation: errors.Is(err, ErrNotModified),
// and errors.As finds the freshness that replaces the stored one (RFC 9111, 4.3.4).
type NotModified struct {
	ETag         string
	LastModified time.Time
	Fresh        Freshness
}

func (*NotModified) Error() string        { return ErrNotModified.Error() }
func (*NotModified) Is(target error) bool { return target == ErrNotModified }

// Freshness is an origin's word on how long its answer may be used again (RFC 9111),
// reduced to numbers at the moment the answer arrived.
type Freshness struct {
	Silent               bool          // the origin said nothing: the caller's defaults hold
	NoStore              bool          // no-store, private, Vary by anything but Accept-Encoding: answer, do not keep
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
	ErrUnavailable = errors.New("origin unavailable")                   // no answer, 5xx, a cut body, an open breaker
	ErrBusy        = errors.New("too many requests to the origin")      // Limit, or the origin's 429 and 503
	ErrTooLarge    = errors.New("original over the limit of bytes")     // ReadAll, by promise or by count
	ErrName        = errors.New("not a name that this source can have") // .., empty segments, NUL
)
