package vips

// #cgo pkg-config: libjpeg libwebp lcms2
// #cgo CFLAGS: -O3
// #cgo LDFLAGS: -lm
// #include <stdlib.h>
// #include "direct.h"
// #include "vips.h"
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// errNotDirect means that the direct path does not support this kind of JPEG.
var errNotDirect = errors.New("JPEG not supported by the direct path")

// A directDecoder is one decoding pass over an original, which must be pinned until close.
type directDecoder struct{ d *C.struct_tier_direct }

// openDirect reads the header. If early is not 0, the original is still arriving, and early is the cgo.Handle of its
// *resize.Arriving. The decoder must be closed even after an error.
func openDirect(original []byte, early cgo.Handle) (directDecoder, error) {
	var d directDecoder
	fault := C.tier_direct_open(
		unsafe.Pointer(&original[0]), C.size_t(len(original)), C.uintptr_t(early), &d.d,
	)
	return d, directError(fault, "read the header")
}

func (d directDecoder) close() { C.tier_direct_close(d.d) }

// directError converts an error code of direct.h.
func directError(fault C.int, doing string) error {
	switch fault {
	case 0:
		return nil
	case C.TIER_DIRECT_BROKEN:
		return fmt.Errorf("%w: decode %s", resize.ErrCorrupt, resize.KindJPEG)
	case C.TIER_DIRECT_OTHER:
		return errNotDirect
	}
	return fmt.Errorf("%w: %s", resize.ErrFailed, doing)
}

// size returns the stored width and height.
func (d directDecoder) size() size {
	var width, height, planes C.int
	C.tier_direct_size(d.d, &width, &height, &planes)
	return size{int(width), int(height)}
}

func (d directDecoder) grey() bool {
	var width, height, planes C.int
	C.tier_direct_size(d.d, &width, &height, &planes)
	return planes == 1
}

// transform returns the transform to sRGB, or to Display P3 if wide is true. It is nil if none is
// needed because the image is greyscale or the transform would only change rounding. Greyscale
// with a profile is left to libvips. Call it before decode.
func (d directDecoder) transform(known transforms, wide bool) (C.cmsHTRANSFORM, error) {
	const rounding = 1 // of 255
	var data unsafe.Pointer
	var n C.size_t
	if fault := C.tier_direct_profile(d.d, &data, &n); fault != 0 {
		return nil, directError(fault, "read the profile")
	}
	if d.grey() {
		if n > 0 {
			return nil, errNotDirect
		}
		return nil, nil
	}
	transform := known.transformFor(unsafe.Slice((*byte)(data), int(n)), false, wide)
	if transform == nil || C.tier_transform_moves(transform) <= rounding {
		return nil, nil
	}
	return transform, nil
}

// want adds the view of l. Views are numbered from 0.
func (d directDecoder) want(l *rendering) error {
	p := l.plan
	return directError(C.tier_direct_want(d.d, C.struct_tier_want{
		shrink: C.int(l.shrink),
		width:  C.int(p.scaled.width), height: C.int(p.scaled.height),
		left: C.int(
			p.crop.left,
		), top: C.int(p.crop.top), kept_width: C.int(p.crop.width), kept_height: C.int(p.crop.height),
	}), "plan a view")
}

// decode decodes the whole original and scales all views. shrink is used only if there are none.
func (d directDecoder) decode(shrink int) error {
	return directError(C.tier_direct_decode(d.d, C.int(shrink)), "decode")
}

// finish turns a view and, unless transform is nil, converts its colours.
func (d directDecoder) finish(view int, t turn, transform C.cmsHTRANSFORM) error {
	return directError(
		C.tier_direct_finish(d.d, C.int(view), C.int(t.degrees), cBool(t.mirror), transform),
		"finish the picture",
	)
}

// encode encodes the view of l as s.
func (d directDecoder) encode(view int, l *rendering, s resize.Spec, quick bool) (resize.Image, error) {
	var buf *C.uchar
	var n C.size_t
	var fault C.int
	seen := l.plan.turn.of(l.plan.crop.size())
	switch s.Format {
	case resize.JPEG:
		if s.Shape == resize.ShapeMezzanine {
			fault = C.tier_direct_mezzanine(d.d, C.int(view), C.int(s.EncodeQuality()), &buf, &n)
			break
		}
		fault = C.tier_direct_jpeg(d.d, C.int(view), C.int(s.EncodeQuality()), &buf, &n)
	case resize.WebP:
		quality, effort := webpSettings(s, seen, quick)
		fault = C.tier_direct_webp(d.d, C.int(view), quality, effort, &buf, &n)
	default:
		return resize.Image{}, fmt.Errorf("%w: no encoder for %s", resize.ErrSpec, s.Format)
	}
	defer C.free(unsafe.Pointer(buf))
	if fault != 0 {
		return resize.Image{}, directError(fault, "encode "+s.Format.String())
	}
	return resize.Image{
		Body:   C.GoBytes(unsafe.Pointer(buf), C.int(n)),
		Format: s.Format,
		Width:  seen.width,
		Height: seen.height,
	}, nil
}

// clearErrors empties libvips' error buffer.
func clearErrors() { C.vips_error_clear() }
