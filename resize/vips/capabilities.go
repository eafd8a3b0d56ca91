package vips

// #include "vips.h"
import "C"

import (
	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// Capabilities are what the libvips of this process can do of what a Resizer may ask it.
type Capabilities struct {
	Version string   // of libvips
	Loads   []string // kinds, as resize.Kind spells them
	Saves   []string // formats, as resize.Format spells them
}

// Capabilities asks libvips, which is built with some codecs and without others.
func (r *Resizer) Capabilities() Capabilities {
	libvips.Lock()
	defer libvips.Unlock()
	c := Capabilities{Version: bimg.VipsVersion}
	for _, kind := range []struct {
		kind resize.Kind
		typ  bimg.ImageType
	}{
		{resize.KindJPEG, bimg.JPEG}, {resize.KindPNG, bimg.PNG}, {resize.KindWebP, bimg.WEBP},
		{resize.KindGIF, bimg.GIF}, {resize.KindAVIF, bimg.AVIF}, {resize.KindHEIC, bimg.HEIF}, {resize.KindTIFF, bimg.TIFF},
	} {
		if bimg.VipsIsTypeSupported(kind.typ) {
			c.Loads = append(c.Loads, kind.kind.String())
		}
	}
	if C.tier_loads_jxl() != 0 {
		c.Loads = append(c.Loads, resize.KindJXL.String())
	}
	for _, format := range formats {
		if r.saves[format] {
			c.Saves = append(c.Saves, format.String())
		}
	}
	return c
}

// formats are all that a Spec can ask for, in the order of the grammar.
var formats = []resize.Format{resize.JPEG, resize.PNG, resize.WebP, resize.AVIF, resize.GIF, resize.HEIC, resize.JXL}

// savable tries every format on a tiny picture: that libvips has a saver does not say that
// the library behind it has an encoder (HEIC without x265). The lock is held.
func savable() map[resize.Format]bool {
	can := map[resize.Format]bool{}
	var b bench
	defer b.clear()
	defer C.vips_error_clear()
	p, err := b.step(func(out **C.VipsImage) C.int { return C.tier_blank(64, 64, out) })
	if err != nil {
		return can
	}
	for _, format := range formats {
		_, err := encode(&b, p, resize.Spec{Format: format}, carried{})
		can[format] = err == nil
	}
	return can
}
