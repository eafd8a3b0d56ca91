// Package vips makes variants with libvips. It is the only package with C in it, and is
// meant for a child process that decodes one image at a time and may be killed
// (cmd/imagetier-resize, started by resize/workers): a decoder cannot be cancelled, and
// some inputs end the process that decodes them.
//
// bimg starts and stops libvips, sets its caches, counts its memory and knows what it
// loads. The pixels go another way, through a few calls of our own (vips.h): bimg 1.1.9
// cannot refuse a truncated file, turns photos by re-encoding them from memory that was
// freed already, keeps GPS positions in WebP, does not premultiply alpha, and decodes all
// pixels of a picture into memory where a few rows are enough.
//
// # Environment
//
// These are read when the process starts, before any Go code of ours runs, so whoever
// starts it sets them: VIPS_BLOCK_UNTRUSTED=1 (New blocks the same loaders and more),
// VIPS_CONCURRENCY=1 (New does it too) and MALLOC_ARENA_MAX=2 (less memory, faster).
package vips

// #include "vips.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// Config says what a Resizer may do. Its zero value is ready to use.
type Config struct {
	// Limits are held against the header of every original once more, although whoever
	// sends it here has done so. A field that is 0 means its default.
	Limits resize.Limits
	// Watermarks are files by the name that Specs know them by (wm.NAME), images of any of
	// the Kinds. New reads them. None by default; any other name is ErrSpec.
	Watermarks map[string]string
	// Explain, unless nil, is told what libvips said about a job that failed. The text
	// may quote the image and belongs into a log, never into an answer.
	Explain func(text string)
}

// Resizer is a resize.Resizer that runs libvips in this process. It is safe for
// concurrent use and does one call at a time.
//
// Of the grammar it makes all but the formats that the libvips of this process cannot
// encode (Capabilities), for which it returns a *resize.UnavailableError. Animations are kept of GIF
// and WebP; of others the first frame is made. What p3 and credit put into a file is told in
// carry.go: a GIF is sRGB with p3 too, and no file of grey has a profile.
type Resizer struct {
	cfg        Config
	saves      map[resize.Format]bool // what the libvips of this process can encode
	transforms transforms             // guarded by libvips
	watermarks map[string]watermark   // by name
}

// libvips is held while a job runs. Error buffer, caches and settings of libvips are
// those of the process, so two Resizers in one process take turns as well.
var libvips sync.Mutex

// New returns a Resizer. It makes the settings of libvips for the whole process: no
// operation cache, one thread per picture, no loaders but those of the Kinds of resize.
func New(cfg Config) (*Resizer, error) {
	libvips.Lock()
	defer libvips.Unlock()
	if bimg.VipsMajorVersion != 8 || bimg.VipsMinorVersion < 13 {
		return nil, fmt.Errorf("%w: libvips is %s, needed is 8.13 or a later 8", resize.ErrFailed, bimg.VipsVersion)
	}
	bimg.Initialize() // nothing, unless Shutdown was called before
	bimg.VipsCacheSetMax(0)
	bimg.VipsCacheSetMaxMem(0)
	C.vips_concurrency_set(1)
	C.tier_start()
	r := &Resizer{cfg: cfg, saves: savable(), transforms: transforms{}, watermarks: map[string]watermark{}}
	return r, r.readWatermarks()
}

// Close ends libvips in this process, after the job that runs. No Resizer of this process
// may be used after it.
func (r *Resizer) Close() {
	libvips.Lock()
	defer libvips.Unlock()
	r.transforms.clear()
	bimg.Shutdown()
}

// Resize makes one Image per Spec. Specs that differ only in what the encoder is told share
// everything else, and those whose decoder makes the picture smaller by the same factor
// (440 and 640 pixels of a phone photo) share one decode, unless its pixels are too many to
// be held. The bytes of an Image depend on original and Spec alone.
//
// ctx is looked at between the steps: a decode that has begun goes on to its end.
func (r *Resizer) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	libvips.Lock()
	defer libvips.Unlock()
	// libvips keeps buffers and profiling data for each thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer C.vips_thread_shutdown()

	var pin runtime.Pinner
	defer pin.Unpin()
	if len(original) > 0 {
		pin.Pin(&original[0]) // libvips reads it later than in the call that it is handed to
	}
	for _, w := range r.watermarks {
		pin.Pin(&w.file[0])
	}
	readable := withoutTexts(original)
	if len(readable) > 0 {
		pin.Pin(&readable[0])
	}
	C.vips_error_clear()
	images, err := r.resize(ctx, original, readable, specs)
	if err != nil {
		err = fmt.Errorf("resize: %w", err)
		if text := C.GoString(C.vips_error_buffer()); r.cfg.Explain != nil && text != "" {
			r.cfg.Explain(text)
		}
	}
	C.vips_error_clear()
	return images, err
}

// resize is Resize of an original whose decoder is handed readable instead.
func (r *Resizer) resize(ctx context.Context, original, readable []byte, specs []resize.Spec) ([]resize.Image, error) {
	header, err := resize.ReadHeader(original)
	if err != nil {
		return nil, err
	}
	if err := r.cfg.Limits.Check(header, len(original)); err != nil {
		return nil, err
	}
	for _, s := range specs {
		if err := r.check(header, s); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name(), err)
		}
	}
	if err := resize.CheckComplete(original, header); err != nil {
		return nil, err
	}
	j := r.newJob(original, header)
	j.readable = readable
	return j.make(ctx, specs)
}

// check returns nil if s can be made of an original with that header.
func (r *Resizer) check(header resize.Header, s resize.Spec) error {
	if err := s.CheckJob(); err != nil {
		return err
	}
	if s.Shape != resize.ShapeVariant {
		return nil // no larger than the original, and no format that could be missing
	}
	if _, ok := r.watermarks[s.Watermark]; !ok && s.Watermark != "" {
		return fmt.Errorf("%w: there is no watermark %s", resize.ErrSpec, s.Watermark)
	}
	if longestSide[s.Format] == 0 || !r.saves[s.Format] {
		return &resize.UnavailableError{What: "the format " + s.Format.String()}
	}
	if err := r.cfg.Limits.CheckVariant(header, s); err != nil {
		return err
	}
	if width, height := s.OutputSize(header.Upright()); max(width, height) > longestSide[s.Format] {
		return fmt.Errorf("%w: it would be %dx%d pixels, %s holds %d a side", resize.ErrTooLarge, width, height, s.Format, longestSide[s.Format])
	}
	return nil
}

// broken says that the decoder refused original, without the decoder's words.
func broken(err error, kind resize.Kind) error {
	if errors.Is(err, errVips) {
		return fmt.Errorf("%w: decode %s", resize.ErrCorrupt, kind)
	}
	return err
}

// failed says that something went wrong that is no fault of the original.
func failed(err error, doing string) error {
	if errors.Is(err, errVips) || errors.Is(err, errLayout) {
		return fmt.Errorf("%w: %s", resize.ErrFailed, doing)
	}
	return err
}
