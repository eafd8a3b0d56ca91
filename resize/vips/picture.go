package vips

// #cgo pkg-config: vips
// #include "vips.h"
import "C"

import (
	"errors"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// errVips: libvips refused. Its own words are in its error buffer until the job ends.
var errVips = errors.New("libvips refused")

// A picture is a libvips image: lazy, or held in memory. It belongs to a bench.
type picture struct{ image *C.VipsImage }

func (p picture) size() size     { return size{int(p.image.Xsize), int(p.image.Ysize)} }
func (p picture) hasAlpha() bool { return C.vips_image_hasalpha(p.image) != 0 }

// rgb reports whether p is red, green and blue, with alpha or without.
func (p picture) rgb() bool {
	bands := p.image.Bands
	if p.hasAlpha() {
		bands--
	}
	space := C.vips_image_guess_interpretation(p.image)
	return bands == 3 && (space == C.VIPS_INTERPRETATION_sRGB || space == C.VIPS_INTERPRETATION_RGB16)
}

// bytes returns what p takes when it is held in memory.
func (p picture) bytes() int64 { return int64(C.tier_bytes(p.image)) }

// profile returns a copy of the embedded ICC profile, nil if there is none.
func (p picture) profile() []byte {
	var data unsafe.Pointer
	var n C.size_t
	if C.tier_profile(p.image, &data, &n) != 0 {
		return nil
	}
	return C.GoBytes(data, C.int(n))
}

// A bench holds the pictures of one job, so that all of them can go when it ends.
type bench struct{ images []*C.VipsImage }

// clear gives all pictures back. None of them may be used any more.
func (b *bench) clear() {
	for i := len(b.images) - 1; i >= 0; i-- { // each before what it was made from
		C.g_object_unref(C.gpointer(b.images[i]))
	}
	b.images = nil
}

// step takes one step of vips.h, which leaves its picture in out.
func (b *bench) step(take func(out **C.VipsImage) C.int) (picture, error) {
	var out *C.VipsImage
	if take(&out) != 0 {
		return picture{}, errVips
	}
	b.images = append(b.images, out)
	return picture{out}, nil
}

// load opens the first frame. libvips keeps the address of original and reads there as
// pixels are asked for: the caller pins it until the bench is clear.
func (b *bench) load(kind resize.Kind, original []byte, shrink int) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_load(loaders[kind], unsafe.Pointer(&original[0]), C.size_t(len(original)), C.int(shrink), out)
	})
}

var loaders = map[resize.Kind]C.enum_tier_kind{
	resize.KindJPEG: C.TIER_JPEG,
	resize.KindPNG:  C.TIER_PNG,
	resize.KindWebP: C.TIER_WEBP,
	resize.KindGIF:  C.TIER_GIF,
	resize.KindAVIF: C.TIER_HEIF,
	resize.KindHEIC: C.TIER_HEIF,
	resize.KindTIFF: C.TIER_TIFF,
	resize.KindJXL:  C.TIER_JXL,
}

// address is where b lies, which has at least one byte and is pinned.
func address(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

// memory computes p.
func (b *bench) memory(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_memory(p.image, out) })
}

// drain decodes what nobody has asked for yet of a picture from load, so that damage is
// found wherever it is.
func (b *bench) drain(p picture) error {
	if C.tier_drain(p.image) != 0 {
		return errVips
	}
	return nil
}

func (b *bench) scale(p picture, to size) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_scale(p.image, C.int(to.width), C.int(to.height), out)
	})
}

func (b *bench) crop(p picture, r rect) (picture, error) {
	if r == p.size().whole() {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_crop(p.image, C.int(r.left), C.int(r.top), C.int(r.width), C.int(r.height), out)
	})
}

// border returns what is inside of a border of one colour: the whole picture if it has
// none, or is one. corner and p are the same picture, loaded twice.
func (b *bench) border(corner, p picture) (rect, error) {
	var left, top, width, height C.int
	if C.tier_border(corner.image, p.image, &left, &top, &width, &height) != 0 {
		return rect{}, errVips
	}
	if width == 0 || height == 0 {
		return p.size().whole(), nil
	}
	return rect{int(left), int(top), int(width), int(height)}, nil
}

// eight brings sixteen bits a sample down to eight.
func (b *bench) eight(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_eight(p.image, out) })
}

// srgb converts to eight bits of sRGB, or of grey, from the profile if managed is true.
func (b *bench) srgb(p picture, managed bool) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_srgb(p.image, truth(managed), out) })
}

// wide converts to eight bits of Display P3 from the profile of p, which is not RGB.
func (b *bench) wide(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_wide(p.image, out) })
}

func (b *bench) turn(p picture, t turn) (picture, error) {
	if t == (turn{}) {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_turn(p.image, C.int(t.degrees), truth(t.mirror), out)
	})
}

func (b *bench) attention(p picture, to size) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_attention(p.image, C.int(to.width), C.int(to.height), out)
	})
}

// origin returns where p, which was cropped in the step that made it, begins in the
// picture that it was cropped from.
func (p picture) origin() (left, top int) { return -int(p.image.Xoffset), -int(p.image.Yoffset) }

// flatten lays p on a background, where it has alpha.
func (b *bench) flatten(p picture, on resize.Color) (picture, error) {
	if !p.hasAlpha() {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_flatten(p.image, paint(on), out) })
}

// pad puts p, which has no alpha, in the middle of a canvas.
func (b *bench) pad(p picture, canvas size, on resize.Color) (picture, error) {
	left, top := (canvas.width-p.size().width)/2, (canvas.height-p.size().height)/2
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_pad(p.image, C.int(left), C.int(top), C.int(canvas.width), C.int(canvas.height), paint(on), out)
	})
}

func (b *bench) gray(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_gray(p.image, out) })
}

func (b *bench) blur(p picture, sigma uint8) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_blur(p.image, C.double(sigma), out) })
}

func (b *bench) sharpen(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_sharpen(p.image, out) })
}

// bare returns p without metadata.
func (b *bench) bare(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_bare(p.image, out) })
}

func truth(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func paint(c resize.Color) C.struct_tier_color {
	red, green, blue := c.RGB()
	return C.struct_tier_color{C.double(red), C.double(green), C.double(blue)}
}
