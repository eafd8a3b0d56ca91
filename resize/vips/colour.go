package vips

// #cgo pkg-config: lcms2
// #include "colour.h"
// #include "vips.h"
import "C"

import (
	"crypto/sha256"
	"runtime"
	"unsafe"

	"github.com/novasocial/imagetier/resize"
)

// transforms caches colour transforms to sRGB and Display P3 by profile. There are few profiles:
// phones of one brand all write the same. A useless profile maps to nil.
type transforms map[transformKey]C.cmsHTRANSFORM

type transformKey struct {
	profile [sha256.Size]byte // zero: sRGB
	alpha   bool
	wide    bool // to Display P3
}

// maxTransforms is how many are kept between jobs, at about ten kilobytes each.
const maxTransforms = 32

// trim empties the cache if it is too large. No transform may be in use.
func (t transforms) trim() {
	if len(t) > maxTransforms {
		t.clear()
	}
}

// from returns the transform from a profile, where an empty one is sRGB, or nil if the profile is
// useless. It is valid until trim or clear.
func (t transforms) from(profile []byte, alpha, wide bool) C.cmsHTRANSFORM {
	key := transformKey{alpha: alpha, wide: wide}
	if len(profile) > 0 {
		key.profile = sha256.Sum256(profile)
	}
	transform, known := t[key]
	if !known {
		var pin runtime.Pinner
		defer pin.Unpin()
		to := []byte(nil)
		if wide {
			to = displayP3
		}
		transform = C.tier_transform_new(icc(&pin, profile), icc(&pin, to), cBool(alpha))
		t[key] = transform
	}
	return transform
}

// icc passes a profile to C, pinned by pin.
func icc(pin *runtime.Pinner, profile []byte) C.struct_tier_icc {
	if len(profile) == 0 {
		return C.struct_tier_icc{}
	}
	pin.Pin(&profile[0])
	return C.struct_tier_icc{data: address(profile), len: C.size_t(len(profile))}
}

// transformFor returns the transform that RGB pixels with that profile need, or nil if they need
// none. A profile that is broken or for another colour model counts as sRGB, as in browsers.
func (t transforms) transformFor(profile []byte, alpha, wide bool) C.cmsHTRANSFORM {
	if len(profile) > 0 {
		if transform := t.from(profile, alpha, wide); transform != nil {
			return transform
		}
	}
	if wide {
		return t.from(nil, alpha, wide)
	}
	return nil
}

func (t transforms) clear() {
	for _, transform := range t {
		if transform != nil {
			C.cmsDeleteTransform(transform)
		}
	}
	clear(t)
}

// convert converts p, which is in memory, to 8-bit sRGB, or Display P3 if wide is true. Greyscale
// without a profile stays greyscale, which is the same in both.
func (t transforms) convert(b *arena, p picture, wide bool) (picture, error) {
	var err error
	if !p.rgb() {
		if wide {
			if out, err := b.wide(p); err == nil {
				return out, nil
			}
		}
		if p, err = b.srgb(p, true); err != nil || !wide || !p.rgb() {
			return p, err
		}
		return t.apply(b, p, t.from(nil, p.hasAlpha(), wide))
	}
	transform := t.transformFor(p.profile(), p.hasAlpha(), wide)
	if transform == nil {
		return b.srgb(p, false)
	}
	if p, err = b.toEightBits(p); err != nil {
		return picture{}, err
	}
	return t.apply(b, p, transform)
}

// apply converts p, which is 8-bit RGB.
func (t transforms) apply(b *arena, p picture, transform C.cmsHTRANSFORM) (picture, error) {
	p, err := b.memory(p)
	if err != nil {
		return picture{}, err
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_transform(transform, p.image, out) })
}

// background converts the sRGB colour of a Spec to the colour space of the output.
func (t transforms) background(c resize.Color, wide bool) resize.Color {
	transform := t.transformFor(nil, false, wide)
	if transform == nil {
		return c
	}
	red, green, blue := c.RGB()
	in, out := [3]C.uchar{C.uchar(red), C.uchar(green), C.uchar(blue)}, [3]C.uchar{}
	C.cmsDoTransform(transform, unsafe.Pointer(&in), unsafe.Pointer(&out), 1)
	return resize.RGB(uint8(out[0]), uint8(out[1]), uint8(out[2]))
}

// wide reports whether s is made in Display P3. A GIF cannot store a profile and is always sRGB.
func wide(s resize.Spec) bool { return s.P3 && s.Format != resize.GIF }
