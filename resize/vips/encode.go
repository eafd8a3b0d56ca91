package vips

// #include "vips.h"
import "C"

import (
	"fmt"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

const (
	// webpEffort is cwebp's -m.
	webpEffort = 4
	// quickWebPEffort takes half of the time of webpEffort. With a quality that is one higher the image looks the
	// same and is 8 % larger (docs/benchmarks/resizing.md); at the highest qualities it would be up to 28 % larger.
	quickWebPEffort = 2
	// Quick changes a WebP of at least quickFrom pixels, since smaller ones are made soon enough, and of at most
	// quickQuality.
	quickFrom    = 400_000
	quickQuality = 90
	// avifEffort is libvips' effort: 9 minus the speed of the AV1 encoder. Speed 8 takes
	// 0.2 s for 640 pixels where bimg's default, speed 0, takes 6.6 s.
	avifEffort = 1
	// heicEffort, 0-9, is libvips' effort. libheif 1.15 does not pass it on to x265, which takes its preset "slow".
	heicEffort = 4
	// gifEffort, 1-10, is the effort to find a palette; 7 is libvips' default.
	gifEffort = 7
	// jxlEffort, 1-9, is cjxl's -e. Its default, 7, takes several times as long.
	jxlEffort = 4
)

// webpSettings returns the quality and the effort of a WebP of a size.
func webpSettings(s resize.Spec, made size, quick bool) (quality, effort C.int) {
	q := s.EncodeQuality()
	if !quick || made.width*made.height < quickFrom || q > quickQuality {
		return C.int(q), webpEffort
	}
	return C.int(q + 1), quickWebPEffort
}

// encode saves p, which has no metadata, as s, in a file with only the given metadata.
func encode(b *arena, p picture, s resize.Spec, quick bool, with carried) ([]byte, error) {
	made := p.size()
	coded := made
	if s.Format == resize.HEIC {
		coded = heicSize(made)
	}
	p, err := b.extend(p, coded)
	if err != nil {
		return nil, err
	}
	switch s.Format {
	case resize.AVIF, resize.HEIC:
		p, err = b.carry(p, carried{credit: with.credit})
	case resize.JXL:
		p, err = b.carry(p, carried{profile: with.profile})
	}
	if err != nil {
		return nil, err
	}
	body, err := encodePicture(p, s, quick)
	if err != nil {
		return nil, err
	}
	if body, err = with.into(body, s.Format); err != nil || coded == made {
		return body, err
	}
	return cropHEIF(body, coded, made)
}

// heicSize returns the size in which a picture is encoded as HEIC. From 4,217 pixels a side, which is
// 4,224 in whole coding units, level 5 of H.265 is needed (A.4.1: a side is at most the square root of
// 8 × 2,228,224 below), for which x265 wants units of 32 pixels. libheif sets 16 where the other side is
// shorter than 32, and x265 refuses.
func heicSize(s size) size {
	const long, short = 4216, 32
	if max(s.width, s.height) > long {
		s.width, s.height = max(s.width, short), max(s.height, short)
	}
	return s
}

// encodePicture saves p without metadata; AVIF, HEIC and JPEG XL include what carry attached.
func encodePicture(p picture, s resize.Spec, quick bool) ([]byte, error) {
	f, quality := s.Format, s.EncodeQuality()
	var buf unsafe.Pointer
	var n C.size_t
	var result C.int
	switch f {
	case resize.JPEG:
		if s.Shape == resize.ShapeMezzanine {
			result = C.tier_save_mezzanine(p.image, C.int(quality), &buf, &n)
			break
		}
		result = C.tier_save_jpeg(p.image, C.int(quality), &buf, &n)
	case resize.PNG:
		result = C.tier_save_png(p.image, &buf, &n)
	case resize.WebP:
		quality, effort := webpSettings(s, p.size(), quick)
		result = C.tier_save_webp(p.image, quality, effort, &buf, &n)
	case resize.AVIF:
		result = C.tier_save_avif(p.image, C.int(quality), avifEffort, &buf, &n)
	case resize.HEIC:
		result = C.tier_save_heic(p.image, C.int(quality), heicEffort, &buf, &n)
	case resize.GIF:
		result = C.tier_save_gif(p.image, gifEffort, &buf, &n)
	case resize.JXL:
		result = C.tier_save_jxl(p.image, C.int(quality), jxlEffort, &buf, &n)
	default:
		return nil, fmt.Errorf("%w: no encoder for %s", resize.ErrSpec, f)
	}
	defer C.g_free(C.gpointer(buf))
	if result != 0 {
		return nil, errVips
	}
	body := C.GoBytes(buf, C.int(n))
	switch f {
	case resize.PNG:
		return stripPNG(body)
	case resize.WebP:
		return stripWebP(body)
	}
	return body, nil
}
