package vips

// #include "vips.h"
import "C"

import (
	"fmt"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Decoding with libvips. The direct path has its own decoder: direct_decoder.go.

// sharedDecode is the most memory, in bytes, for decoded pixels that several renderings share. A
// larger image is decoded once for each of them.
const sharedDecode = 64 << 20

// open loads the image, scaled down by the decoder.
func (j *job) open(b *arena, shrink int) (picture, error) {
	p, err := b.load(j.readable, shrink)
	if err != nil {
		return picture{}, err
	}
	coded := j.stored
	if j.header.CodedWidth > 0 {
		coded = size{j.header.CodedWidth, j.header.CodedHeight}
	}
	if off(p.size().width*shrink, coded.width) >= shrink || off(p.size().height*shrink, coded.height) >= shrink {
		return picture{}, fmt.Errorf("%w: %s: its header and its pixels differ in size", resize.ErrCorrupt, j.kind)
	}
	if j.header.Alpha && !p.hasAlpha() && j.kind != resize.KindGIF { // its first frame may have none
		return picture{}, fmt.Errorf("%w: %s: its alpha was not decoded", resize.ErrCorrupt, j.kind)
	}
	if coded != j.stored {
		p, err = b.crop(p, rect{j.header.Left, j.header.Top, j.stored.width, j.stored.height})
	}
	for range j.narrowed() {
		if err == nil {
			p, err = b.widenRange(p)
		}
	}
	if err == nil && j.kind == resize.KindTIFF {
		p, err = b.unsigned(p)
	}
	if err == nil && j.header.Premultiplied {
		p, err = b.unpremultiply(p)
	}
	return p, err
}

// narrowed returns how often the range of decoded samples must be widened. libheif 1.15 converts the
// range together with the matrix, which greyscale and PNGs have not. Of colours without a matrix it
// narrows the range once more.
func (j *job) narrowed() int {
	colour := j.header.Colour
	switch {
	case !colour.Narrow, j.header.Channels >= 3 && !colour.Identity:
		return 0
	case j.header.Channels < 3, j.kind == resize.KindPNG:
		return 1
	}
	return 2
}

func off(a, b int) int { return max(a-b, b-a) }

// share decodes once for several renderings. It returns the zero picture if it would be too large.
func (j *job) share(b *arena, shrink int) (picture, error) {
	lazy, err := j.open(b, shrink)
	if err != nil || lazy.bytes() > sharedDecode {
		return picture{}, err
	}
	return j.compute(b, lazy, lazy)
}

// compute computes p, which derives from the loaded picture lazy, and decodes the rest of lazy
// too, so that damage is always detected.
func (j *job) compute(b *arena, lazy, p picture) (picture, error) {
	p, err := b.memory(p)
	if err == nil {
		err = b.drain(lazy)
	}
	if err == nil && j.kind == resize.KindJPEG && damagedJPEG(C.GoString(C.vips_error_buffer())) {
		err = errVips
	}
	return p, err
}

// damagedJPEG distinguishes libjpeg warnings that mean grey or garbled areas from harmless ones
// (bytes between segments, unusual parameters). libvips can stop at all warnings or at none, and
// keeps the first one of each file in its error buffer.
func damagedJPEG(warnings string) bool {
	return strings.Contains(warnings, "premature end of data segment") ||
		strings.Contains(warnings, "bad Huffman code") ||
		strings.Contains(warnings, "bad arithmetic code") ||
		strings.Contains(warnings, "instead of RST")
}

// border returns the part of region, a part of the original, inside its border. It is detected at
// full size: a thin line would vanish in a shrunk image.
func (j *job) border(region rect) (rect, error) {
	var b arena
	defer b.clear()
	lazy, err := j.open(&b, 1)
	if err != nil {
		return rect{}, err
	}
	if lazy, err = b.crop(lazy, region); err != nil {
		return rect{}, err
	}
	r, err := b.border(lazy)
	r.left, r.top = r.left+region.left, r.top+region.top
	return r, err
}

// convert converts p to 8-bit sRGB, or Display P3 if wide is true.
func (j *job) convert(b *arena, p picture, wide bool) (picture, error) {
	if d := describe(j.header, wide); d != nil && (p.rgb() || p.grey()) {
		return d.convert(b, p)
	}
	return j.transforms.convert(b, p, wide)
}

// within converts r, a part of the original, to pixels of a decoded picture, leaving out pixels
// that are only partly in r.
func (j *job) within(r rect, decoded size) rect {
	left, right := ceil(r.left*decoded.width, j.stored.width), (r.left+r.width)*decoded.width/j.stored.width
	top, bottom := ceil(r.top*decoded.height, j.stored.height), (r.top+r.height)*decoded.height/j.stored.height
	left, top = min(left, decoded.width-1), min(top, decoded.height-1)
	return rect{left, top, max(1, right-left), max(1, bottom-top)}
}

func ceil(a, b int) int { return (a + b - 1) / b }
