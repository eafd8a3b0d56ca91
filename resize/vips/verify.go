package vips

// #include "vips.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// Some encoders report success for a file without a picture: libheif 1.15 does when x265 refuses
// the size. So every encoded image is read back before it is returned.

// An encoding is what an encoded image must be.
type encoding struct {
	format      resize.Format
	size        size
	frames      int  // at most: encoders join equal frames
	transparent bool // at least one pixel is fully transparent
}

// verify returns an error that wraps ErrFailed unless file is a complete image as want says. AVIF,
// HEIC and JPEG XL, whose encoders can fail without an error, are decoded too; for the others the
// header and the structure are read.
func (want encoding) verify(file []byte) error {
	h, err := resize.ReadHeader(file)
	if err == nil {
		err = resize.CheckComplete(file, h)
	}
	if err != nil {
		return fmt.Errorf("%w: read back %s: %v", resize.ErrFailed, want.format, err) // not ErrCorrupt
	}
	width, height := h.Upright()
	switch {
	case h.Kind != want.format.Kind():
		return fmt.Errorf("%w: read back %s: it is %s", resize.ErrFailed, want.format, h.Kind)
	case size{width, height} != want.size:
		return fmt.Errorf("%w: read back %s: it is %dx%d pixels, want %dx%d",
			resize.ErrFailed, want.format, width, height, want.size.width, want.size.height)
	case h.Frames > want.frames:
		return fmt.Errorf("%w: read back %s: it has %d frames, want %d",
			resize.ErrFailed, want.format, h.Frames, want.frames)
	case want.transparent && !h.Alpha:
		return fmt.Errorf("%w: read back %s: its alpha is missing", resize.ErrFailed, want.format)
	}
	switch want.format {
	case resize.AVIF, resize.HEIC, resize.JXL:
		return want.decode(file, h)
	}
	return nil
}

// decode decodes all of file.
func (want encoding) decode(file []byte, h resize.Header) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	var b arena
	defer b.clear()
	readable := readableOf(file, h)
	readable.pin(&pin)
	p, err := b.load(readable, 1)
	stored := want.size
	if h.CodedWidth > 0 { // Repair has removed the crop
		stored = size{h.CodedWidth, h.CodedHeight}
	}
	if err == nil && p.size() != stored {
		err = errVips
	}
	if err == nil {
		err = b.drain(p)
	}
	if err != nil {
		return fmt.Errorf("%w: read back %s: it does not decode", resize.ErrFailed, want.format)
	}
	return nil
}

// transparent reports whether p, which is in memory, has a fully transparent pixel.
func (p picture) transparent() bool {
	if !p.hasAlpha() {
		return false
	}
	s, bands := p.size(), int(p.image.Bands)
	data := C.vips_image_get_data(p.image)
	if data == nil || p.image.BandFmt != C.VIPS_FORMAT_UCHAR {
		return false
	}
	pixels := unsafe.Slice((*byte)(data), s.width*s.height*bands)
	for i := bands - 1; i < len(pixels); i += bands {
		if pixels[i] == 0 {
			return true
		}
	}
	return false
}
