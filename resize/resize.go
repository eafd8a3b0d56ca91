// Package resize says what a variant is (Spec), what may be decoded (Header,
// Limits) and what makes one (Resizer). It knows no URL, no HTTP and no storage,
// and imports the standard library only: libvips lives in resize/vips, the child
// processes that run it in resize/workers.
package resize

import (
	"context"
	"errors"
)

// Image is one made variant: encoded bytes that decode whole; or facts, as JSON.
type Image struct {
	Body          []byte // encoded in Format; never changed after it is returned
	Format        Format
	Width, Height int // pixels, as encoded
}

// A Resizer makes variants. resizetest is the script that every implementation passes.
type Resizer interface {
	// Resize makes one Image per Spec, in their order, decoding original no oftener than
	// they need. The bytes of an Image depend on original and its Spec alone, not on what
	// was made together with it: a URL names the same bytes on every node.
	// Every Spec is a variant of a concrete format (ShapeVariant, never Auto), a mezzanine
	// (Mezzanine: a JPEG), or Spec{Shape: ShapeInfo, Format: JSON}, whose Image is the JSON
	// of an Info, with width and height of the original when upright. Any other is ErrSpec.
	// original is only read and may be used again once Resize has returned.
	//
	// It returns an error that wraps one of the sentinels below; on any error
	// there are no images.
	Resize(ctx context.Context, original []byte, specs ...Spec) ([]Image, error)
}

var (
	// ErrSpec: the Spec is not one, or not one that this Resizer can make.
	ErrSpec = errors.New("no such shape")
	// ErrUnsupported: the first bytes are of no kind that may be decoded.
	ErrUnsupported = errors.New("unsupported kind of image")
	// ErrTooLarge: bytes, pixels, a side or the number of frames is over the Limits.
	ErrTooLarge = errors.New("image over the limits")
	// ErrCorrupt: the image is broken or cut short, or no process survived decoding it.
	ErrCorrupt = errors.New("broken image")
	// ErrBusy: no slot and no room in the queue. Nothing was begun.
	ErrBusy = errors.New("resizer busy")
	// ErrTimeout: the work took longer than its deadline and was stopped.
	ErrTimeout = errors.New("resize took too long")
	// ErrFailed: the resizer itself failed (it could not be started, or its answer
	// made no sense); it says nothing about the image.
	ErrFailed = errors.New("resizer failed")
)

// Missing is the error of a Spec that is right and whose format the libraries of this Resizer
// cannot write. It wraps ErrSpec, and What may be shown to a client.
type Missing struct {
	What string // "the format jxl"
}

func (m *Missing) Error() string { return "not available yet: " + m.What }

// Unwrap returns ErrSpec.
func (m *Missing) Unwrap() error { return ErrSpec }
