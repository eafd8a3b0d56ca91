package vips

// #cgo pkg-config: vips libjxl
// #include "vips.h"
import "C"

import (
	"errors"
	"runtime"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// errVips means that libvips failed. Its error buffer has the text until the job ends.
var errVips = errors.New("libvips failed")

// A picture is a libvips image, lazy or in memory. It belongs to an arena.
type picture struct{ image *C.VipsImage }

func (p picture) size() size     { return size{int(p.image.Xsize), int(p.image.Ysize)} }
func (p picture) hasAlpha() bool { return C.vips_image_hasalpha(p.image) != 0 }

// rgb reports whether p is RGB, with or without alpha.
func (p picture) rgb() bool {
	bands := p.image.Bands
	if p.hasAlpha() {
		bands--
	}
	space := C.vips_image_guess_interpretation(p.image)
	return bands == 3 && (space == C.VIPS_INTERPRETATION_sRGB || space == C.VIPS_INTERPRETATION_RGB16)
}

// grey reports whether p is greyscale, with or without alpha.
func (p picture) grey() bool {
	space := C.vips_image_guess_interpretation(p.image)
	return space == C.VIPS_INTERPRETATION_B_W || space == C.VIPS_INTERPRETATION_GREY16
}

// bytes returns the memory that the pixels of p take.
func (p picture) bytes() int64 { return int64(C.tier_bytes(p.image)) }

// profile returns a copy of the embedded ICC profile, or nil.
func (p picture) profile() []byte {
	var data unsafe.Pointer
	var n C.size_t
	if C.tier_profile(p.image, &data, &n) != 0 {
		return nil
	}
	return C.GoBytes(data, C.int(n))
}

// An arena holds the pictures of one job, to free them together.
type arena struct{ images []*C.VipsImage }

// clear frees all pictures.
func (b *arena) clear() {
	for i := len(b.images) - 1; i >= 0; i-- { // in reverse order of creation
		C.g_object_unref(C.gpointer(b.images[i]))
	}
	b.images = nil
}

// step calls one function of vips.h, which stores its result in out.
func (b *arena) step(take func(out **C.VipsImage) C.int) (picture, error) {
	var out *C.VipsImage
	if take(&out) != 0 {
		return picture{}, errVips
	}
	b.images = append(b.images, out)
	return picture{out}, nil
}

// A readable is an original as libvips decodes it, after [resize.Repair].
type readable struct {
	kind  resize.Kind
	file  []byte // pinned, as first
	first []byte // file, or its first frame alone
	skip  int    // frames at the beginning that are not part of the picture
	moves bool   // an animation
}

// readableOf repairs a complete original with header h.
func readableOf(original []byte, h resize.Header) readable {
	repaired := resize.Repair(original, h)
	return readable{h.Kind, repaired.Bytes, repaired.First, repaired.Skip, h.Animated}
}

// pin pins the files, which libvips reads after the call that receives them.
func (o readable) pin(p *runtime.Pinner) {
	p.Pin(&o.file[0])
	p.Pin(&o.first[0])
}

// original passes one of the files to C.
func (o readable) original(file []byte) C.struct_tier_original {
	loader := loaders[o.kind]
	if o.moves && o.kind == resize.KindJXL {
		loader = C.TIER_JXL_ANIMATION
	}
	return C.struct_tier_original{
		kind: loader, buf: address(file), len: C.size_t(len(file)), skip: C.int(o.skip),
	}
}

// load opens the first frame. libvips keeps the address of the file and reads it when pixels are
// computed: it must stay pinned until the arena is cleared.
func (b *arena) load(o readable, shrink int) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_load(o.original(o.first), C.int(shrink), out) })
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

// address returns the address of b, which must not be empty and must be pinned.
func address(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }

// memory computes p.
func (b *arena) memory(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_memory(p.image, out) })
}

// drain decodes the rest of a picture returned by load, so that damage is always detected.
func (b *arena) drain(p picture) error {
	if C.tier_drain(p.image) != 0 {
		return errVips
	}
	return nil
}

func (b *arena) scale(p picture, to size) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_scale(p.image, C.int(to.width), C.int(to.height), out)
	})
}

func (b *arena) crop(p picture, r rect) (picture, error) {
	if r == p.size().whole() {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_crop(p.image, C.int(r.left), C.int(r.top), C.int(r.width), C.int(r.height), out)
	})
}

// extend repeats the last column and row of p up to a size.
func (b *arena) extend(p picture, to size) (picture, error) {
	if to == p.size() {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_extend(p.image, C.int(to.width), C.int(to.height), out)
	})
}

// border returns the part inside a border of one colour: the whole picture if it has none or is
// uniform.
func (b *arena) border(p picture) (rect, error) {
	var left, top, width, height C.int
	if C.tier_border(p.image, &left, &top, &width, &height) != 0 {
		return rect{}, errVips
	}
	if width == 0 || height == 0 {
		return p.size().whole(), nil
	}
	return rect{int(left), int(top), int(width), int(height)}, nil
}

// unsigned converts samples of a TIFF to 8 or 16 bits.
func (b *arena) unsigned(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_unsigned(p.image, out) })
}

// widenRange converts samples from 16-235 to 0-255, or the same range of 16 bits.
func (b *arena) widenRange(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_widen_range(p.image, out) })
}

// unpremultiply divides the colours by alpha.
func (b *arena) unpremultiply(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_unpremultiply(p.image, out) })
}

// toEightBits converts sixteen bits per sample to eight.
func (b *arena) toEightBits(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_eight(p.image, out) })
}

// srgb converts to 8-bit sRGB or greyscale, using the profile if managed is true.
func (b *arena) srgb(p picture, managed bool) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_srgb(p.image, cBool(managed), out) })
}

// wide converts a picture that is not RGB to 8-bit Display P3, using its profile.
func (b *arena) wide(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_wide(p.image, out) })
}

func (b *arena) turn(p picture, t turn) (picture, error) {
	if t == (turn{}) {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_turn(p.image, C.int(t.degrees), cBool(t.mirror), out)
	})
}

func (b *arena) attention(p picture, to size) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_attention(p.image, C.int(to.width), C.int(to.height), out)
	})
}

// origin returns the position of p, the result of a crop, in the picture it was cropped from.
func (p picture) origin() (left, top int) { return -int(p.image.Xoffset), -int(p.image.Yoffset) }

// flatten puts p on a background if it has alpha.
func (b *arena) flatten(p picture, on resize.Color) (picture, error) {
	if !p.hasAlpha() {
		return p, nil
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_flatten(p.image, cColor(on), out) })
}

// pad centres p, which has no alpha, on a canvas.
func (b *arena) pad(p picture, canvas size, on resize.Color) (picture, error) {
	left, top := (canvas.width-p.size().width)/2, (canvas.height-p.size().height)/2
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_pad(p.image, C.int(left), C.int(top), C.int(canvas.width), C.int(canvas.height), cColor(on), out)
	})
}

func (b *arena) gray(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_gray(p.image, out) })
}

func (b *arena) blur(p picture, sigma uint8) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_blur(p.image, C.double(sigma), out) })
}

func (b *arena) sharpen(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_sharpen(p.image, out) })
}

// strip returns p without metadata.
func (b *arena) strip(p picture) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_bare(p.image, out) })
}

func cBool(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func cColor(c resize.Color) C.struct_tier_color {
	red, green, blue := c.RGB()
	return C.struct_tier_color{C.double(red), C.double(green), C.double(blue)}
}
