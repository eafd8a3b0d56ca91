package vips

// #include "vips.h"
import "C"

import (
	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// Capabilities are the formats that the libvips of this process supports.
type Capabilities struct {
	Version string   // of libvips
	Loads   []string // kinds, as resize.Kind spells them
	Saves   []string // formats, as resize.Format spells them
}

// Capabilities returns the codecs with which this libvips was built.
func (r *Resizer) Capabilities() Capabilities {
	libvips.Lock()
	defer libvips.Unlock()
	c := Capabilities{Version: bimg.VipsVersion}
	for _, kind := range []struct {
		kind resize.Kind
		typ  bimg.ImageType
	}{
		{resize.KindJPEG, bimg.JPEG}, {resize.KindPNG, bimg.PNG}, {resize.KindWebP, bimg.WEBP},
		{resize.KindGIF, bimg.GIF}, {resize.KindAVIF, bimg.AVIF},
		{resize.KindHEIC, bimg.HEIF}, {resize.KindTIFF, bimg.TIFF},
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

// formats are all concrete formats, in the order of the URL grammar.
var formats = []resize.Format{resize.JPEG, resize.PNG, resize.WebP, resize.AVIF, resize.GIF, resize.HEIC, resize.JXL}

// savable tries every format on a tiny image: libvips may have a saver whose library has no encoder
// (HEIC without x265). The caller holds libvips.
func savable() map[resize.Format]bool {
	can := map[resize.Format]bool{}
	var b arena
	defer b.clear()
	defer C.vips_error_clear()
	p, err := b.step(func(out **C.VipsImage) C.int { return C.tier_blank(64, 64, out) })
	if err != nil {
		return can
	}
	for _, format := range formats {
		_, err := encode(&b, p, resize.Spec{Format: format}, false, carried{})
		can[format] = err == nil
	}
	return can
}
