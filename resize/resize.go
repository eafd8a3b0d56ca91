// Package resize defines what a variant is ([Spec]), which originals may be decoded
// ([Header], [Limits]) and the interface that makes variants ([Resizer]). It knows nothing
// of URLs, HTTP or storage and imports only the standard library: resize/vips uses libvips,
// and resize/workers runs it in child processes.
//
// Start with spec.go (variants and their names), then header.go (reading originals).
package resize

import (
	"context"
	"errors"
)

// Image is a finished variant: a complete encoded image, or an [Info] as JSON.
type Image struct {
	Body          []byte // encoded in Format; never modified after it is returned
	Format        Format
	Width, Height int // pixels, as encoded
}

// A Resizer makes variants. Every implementation passes the tests of resizetest.
type Resizer interface {
	// Resize makes one Image per Spec, in the order of specs, and decodes original as few
	// times as possible. The bytes of an Image depend only on original and its own Spec, not
	// on the other specs: a URL names the same bytes on every node.
	//
	// Every Spec must be a variant of a concrete format (ShapeVariant, never Auto), a
	// [Mezzanine], or Spec{Shape: ShapeInfo, Format: JSON}, whose Image is the JSON of an
	// Info with the upright width and height of the original. Any other is ErrSpec.
	// Resize does not modify original and does not use it after returning.
	//
	// Errors wrap one of the sentinels below; with an error there are no images.
	Resize(ctx context.Context, original []byte, specs ...Spec) ([]Image, error)
}

var (
	// ErrSpec: the Spec is invalid, or this Resizer cannot make it.
	ErrSpec = errors.New("invalid shape")
	// ErrUnsupported: the first bytes are not those of a kind that is decoded.
	ErrUnsupported = errors.New("unsupported kind of image")
	// ErrTooLarge: bytes, pixels, a side or the number of frames exceeds the Limits.
	ErrTooLarge = errors.New("image too large")
	// ErrCorrupt: the image is damaged or truncated, or it crashed each process that decoded it.
	ErrCorrupt = errors.New("corrupt image")
	// ErrBusy: the queue is full. Nothing was started.
	ErrBusy = errors.New("resizer busy")
	// ErrTimeout: the job exceeded its time limit and was stopped.
	ErrTimeout = errors.New("resize timed out")
	// ErrFailed: the resizer itself failed (it could not be started, was killed, ran out of
	// memory, or its answer was invalid); this says nothing about the image.
	ErrFailed = errors.New("resizer failed")
)

// LimitError is returned for an original or a variant that is over a limit. It wraps ErrTooLarge,
// and What may be shown to a client.
type LimitError struct {
	What string // "it has 40 frames, the limit is 30 (--max-frames)"
}

func (e *LimitError) Error() string { return ErrTooLarge.Error() + ": " + e.What }

// Unwrap returns ErrTooLarge.
func (e *LimitError) Unwrap() error { return ErrTooLarge }

// UnavailableError is returned for a valid Spec whose format the installed libraries cannot
// write. It wraps ErrSpec, and What may be shown to a client.
type UnavailableError struct {
	What string // "the format jxl"
}

func (e *UnavailableError) Error() string { return "not available: " + e.What }

// Unwrap returns ErrSpec.
func (e *UnavailableError) Unwrap() error { return ErrSpec }
