package vips

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
	for _, format := range []struct {
		format resize.Format
		typ    bimg.ImageType
	}{
		{resize.JPEG, bimg.JPEG}, {resize.PNG, bimg.PNG}, {resize.WebP, bimg.WEBP}, {resize.AVIF, bimg.AVIF},
	} {
		if bimg.VipsIsTypeSupportedSave(format.typ) {
			c.Saves = append(c.Saves, format.format.String())
		}
	}
	return c
}
