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
	"fmt"
	"slices"
)

// Image is a finished variant: a complete encoded image, or an [Info] as JSON.
type Image struct {
	Body          []byte // encoded in Format; never modified after it is returned
	Format        Format
	Width, Height int // pixels, as encoded
}

// A Job asks a [Resizer] for Images of one original.
type Job struct {
	Original []byte // not modified, and not used after Resize has returned
	// Early, if not nil, is the original instead: it is still arriving. A Resizer may decode it meanwhile, but it
	// makes no Image before all of it is there and may be used. It may also return ErrNotEarly at any time, or any
	// other error: the job is then made again, so errors of this one mean nothing.
	Early *Arriving
	// Specs are made first, the cheapest first. Every Spec must be a variant of a concrete format
	// (ShapeVariant, never Auto), a [Mezzanine], or Spec{Shape: ShapeInfo, Format: JSON}, whose
	// Image is the JSON of an Info with the upright width and height of the original. Any other
	// is ErrSpec.
	Specs []Spec
	// Optional are made after all of Specs, from the same decode. They are for later requests, so
	// a Resizer leaves them out while another job waits for it.
	Optional []Spec
	// Quick is set if the time to the image matters more than its bytes: a large WebP looks the same, is made in
	// two thirds of the time, and is 8 % larger.
	Quick bool
	// Made is called with each Image as soon as it is encoded: i is its index in Specs or, for an
	// Optional Spec, len(Specs) plus its index in Optional. It is called once for each Image, by
	// one goroutine at a time, and not after Resize has returned. It must not block. Images that
	// it has received are valid whatever Resize returns.
	Made func(i int, img Image)
}

// All returns Specs and Optional: what Made's index refers to.
func (j Job) All() []Spec { return slices.Concat(j.Specs, j.Optional) }

// A Resizer makes variants. Every implementation passes the tests of resizetest.
type Resizer interface {
	// Resize makes the Images of a job, and decodes the original as few times as possible. The
	// bytes of an Image depend only on the original, its own Spec and Quick, not on the other Specs. It
	// returns nil once all of job.Specs are made, with or without the Optional ones.
	//
	// Errors wrap one of the sentinels below.
	Resize(ctx context.Context, job Job) error
}

// Make returns the Images of specs in their order, or an error and no Images.
func Make(ctx context.Context, r Resizer, original []byte, specs ...Spec) ([]Image, error) {
	images := make([]Image, len(specs))
	made := 0
	err := r.Resize(ctx, Job{Original: original, Specs: specs, Made: func(i int, img Image) {
		images[i] = img
		made++
	}})
	if err == nil && made != len(specs) {
		err = fmt.Errorf("%w: %d images for %d Specs", ErrFailed, made, len(specs))
	}
	if err != nil {
		return nil, err
	}
	return images, nil
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

// OriginalError is returned for an original that is damaged, or of a kind that is not decoded. It wraps Err, and What
// may be shown to a client.
type OriginalError struct {
	Err  error  // ErrCorrupt or ErrUnsupported
	What string // "tiff: 64 bits per sample"
}

func (e *OriginalError) Error() string { return e.Err.Error() + ": " + e.What }

// Unwrap returns Err.
func (e *OriginalError) Unwrap() error { return e.Err }

// UnavailableError is returned for a valid Spec whose format the installed libraries cannot
// write. It wraps ErrSpec, and What may be shown to a client.
type UnavailableError struct {
	What string // "the format jxl"
}

func (e *UnavailableError) Error() string { return "not available: " + e.What }

// Unwrap returns ErrSpec.
func (e *UnavailableError) Unwrap() error { return ErrSpec }
