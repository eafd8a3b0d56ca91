// Package vips makes variants with libvips. It is the only package that uses C, and runs in a
// child process that decodes one image at a time and may be killed (cmd/imagetier-resize, started
// by resize/workers): a decode cannot be cancelled, and some inputs crash the decoder. Start
// reading at Resizer.Resize, then job.go.
//
// bimg starts and stops libvips, configures its caches and detects its loaders. Pixels are
// processed by a few functions of our own (vips.h), because bimg 1.1.9 cannot refuse a truncated
// file, rotates photos by re-encoding them from freed memory, keeps GPS positions in WebP, does
// not premultiply alpha, and decodes whole images into memory where a few rows are enough.
//
// # Environment
//
// libvips reads these variables when the process starts, before any Go code of ours runs, so the
// parent process must set them: VIPS_BLOCK_UNTRUSTED=1 (New blocks the same loaders and more),
// VIPS_CONCURRENCY=1 (New sets it too) and MALLOC_ARENA_MAX=2 (less memory, faster).
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

// Config configures a Resizer. Its zero value is ready to use.
type Config struct {
	// Limits are checked for every original, although the sender has checked them too. A field
	// that is 0 means its default.
	Limits resize.Limits
	// Watermarks are image files by the name that Specs use (wm.NAME), of any of the Kinds. New
	// reads them. Any other name in a Spec is ErrSpec.
	Watermarks map[string]string
	// Explain, if not nil, is called with libvips' error text of a failed job. The text may
	// quote the image: log it, but never send it to a client.
	Explain func(text string)
}

// Resizer is a resize.Resizer that runs libvips in this process. It is safe for concurrent use and
// runs one call at a time.
//
// It makes all variants except those in formats that this libvips cannot encode (Capabilities),
// for which it returns a *resize.UnavailableError. It keeps animations of GIF and WebP; of others
// it makes the first frame. For what p3 and credit add to a file see carry.go: a GIF is sRGB even
// with p3, and greyscale files have no profile.
type Resizer struct {
	cfg        Config
	saves      map[resize.Format]bool // formats that this libvips can encode
	transforms transforms             // guarded by libvips
	watermarks map[string]watermark   // by name
}

// libvips is held while a job runs. libvips' error buffer, caches and settings are global, so all
// Resizers in a process share it.
var libvips sync.Mutex

// New returns a Resizer. It configures libvips for the whole process: no operation cache, one
// thread per image, and only the loaders of resize's Kinds.
func New(cfg Config) (*Resizer, error) {
	libvips.Lock()
	defer libvips.Unlock()
	if bimg.VipsMajorVersion != 8 || bimg.VipsMinorVersion < 13 {
		return nil, fmt.Errorf("%w: libvips is %s, want 8.13 or a later 8.x", resize.ErrFailed, bimg.VipsVersion)
	}
	bimg.Initialize() // does nothing unless Shutdown was called
	bimg.VipsCacheSetMax(0)
	bimg.VipsCacheSetMaxMem(0)
	C.vips_concurrency_set(1)
	C.tier_start()
	r := &Resizer{cfg: cfg, saves: savable(), transforms: transforms{}, watermarks: map[string]watermark{}}
	return r, r.readWatermarks()
}

// Close shuts libvips down in this process, after the running job. No Resizer of this process may
// be used afterwards.
func (r *Resizer) Close() {
	libvips.Lock()
	defer libvips.Unlock()
	r.transforms.clear()
	bimg.Shutdown()
}

// Resize implements resize.Resizer. Specs that differ only in encoder settings share everything else, and
// those for which the decoder scales by the same factor (440 and 640 pixels of a phone photo) share one
// decode, unless its pixels take too much memory; most JPEGs are decoded once for all.
//
// ctx is checked between steps: a decode that has started runs to its end.
func (r *Resizer) Resize(ctx context.Context, job resize.Job) error {
	return r.ResizeWhile(ctx, job, nil)
}

// ResizeWhile is Resize. If job has Optional Specs, goOn is called once all others are made, and the
// Optional ones are left out if it returns false.
func (r *Resizer) ResizeWhile(ctx context.Context, job resize.Job, goOn func() bool) error {
	libvips.Lock()
	defer libvips.Unlock()
	// libvips keeps buffers and profiling data per thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer C.vips_thread_shutdown()

	var pin runtime.Pinner // libvips reads files after the call that receives them
	defer pin.Unpin()
	for _, w := range r.watermarks {
		w.readable.pin(&pin)
	}
	C.vips_error_clear()
	err := r.resize(ctx, &pin, job, goOn)
	if err != nil {
		err = fmt.Errorf("resize: %w", err)
		if text := C.GoString(C.vips_error_buffer()); r.cfg.Explain != nil && text != "" {
			r.cfg.Explain(text)
		}
	}
	C.vips_error_clear()
	return err
}

// resize is ResizeWhile without locking. pin pins the bytes that the decoder reads.
func (r *Resizer) resize(
	ctx context.Context, pin *runtime.Pinner, request resize.Job, goOn func() bool,
) error {
	var begun *job
	if request.Early != nil {
		begun = r.begin(ctx, pin, request)
		defer begun.close()
		whole, usable := request.Early.Whole()
		if !usable {
			return resize.ErrNotEarly
		}
		request.Original = whole
	}
	header, err := resize.ReadHeader(request.Original)
	if err != nil {
		return err
	}
	if err := r.cfg.Limits.Check(header, len(request.Original)); err != nil {
		return err
	}
	for _, s := range request.All() {
		if err := r.check(header, s); err != nil {
			return fmt.Errorf("%s: %w", s.Name(), err)
		}
	}
	if err := resize.CheckComplete(request.Original, header); err != nil {
		return err
	}
	readable := readableOf(request.Original, header)
	if begun.decodes(readable, header) {
		return begun.make(ctx, goOn)
	}
	begun.close()
	clearErrors()
	j := r.newJob(request, header, readable)
	j.readable.pin(pin)
	return j.make(ctx, goOn)
}

// check returns nil if s can be made from an original with this header.
func (r *Resizer) check(header resize.Header, s resize.Spec) error {
	if err := s.CheckJob(); err != nil {
		return err
	}
	if s.Shape != resize.ShapeVariant {
		return nil // not larger than the original, and always encodable
	}
	if _, ok := r.watermarks[s.Watermark]; !ok && s.Watermark != "" {
		return fmt.Errorf("%w: there is no watermark %s", resize.ErrSpec, s.Watermark)
	}
	if !r.saves[s.Format] {
		return &resize.UnavailableError{What: "the format " + s.Format.String()}
	}
	return r.cfg.Limits.CheckVariant(header, s)
}

// broken converts an error of the decoder to ErrCorrupt, without libvips' text.
func broken(err error, kind resize.Kind) error {
	if errors.Is(err, errVips) {
		return fmt.Errorf("%w: decode %s", resize.ErrCorrupt, kind)
	}
	return err
}

// failed converts an error that is not caused by the original to ErrFailed.
func failed(err error, doing string) error {
	if errors.Is(err, errVips) || errors.Is(err, errLayout) {
		return fmt.Errorf("%w: %s", resize.ErrFailed, doing)
	}
	return err
}
