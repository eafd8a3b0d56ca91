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

// transforms are those to sRGB and to Display P3 from the profiles seen before. There are
// few: phones of one make all write the same.
type transforms map[transformKey]C.cmsHTRANSFORM // nil for a profile that is of no use

type transformKey struct {
	profile [sha256.Size]byte // zero: sRGB
	alpha   bool
	wide    bool // to Display P3
}

// mostTransforms is how many are kept from one job for the next: some ten kilobytes each.
const mostTransforms = 32

// trim forgets all if they are too many. No transform may be in use.
func (t transforms) trim() {
	if len(t) > mostTransforms {
		t.clear()
	}
}

// from returns the transform from that profile, an empty one being sRGB; nil if it is of no
// use. It lives until trim or clear.
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
		transform = C.tier_transform_new(icc(&pin, profile), icc(&pin, to), truth(alpha))
		t[key] = transform
	}
	return transform
}

// icc lends a profile to C until pin is unpinned.
func icc(pin *runtime.Pinner, profile []byte) C.struct_tier_icc {
	if len(profile) == 0 {
		return C.struct_tier_icc{}
	}
	pin.Pin(&profile[0])
	return C.struct_tier_icc{data: address(profile), len: C.size_t(len(profile))}
}

// towards returns the transform that RGB with that profile needs, nil if it is as it should
// be. A profile that is broken, or of another kind of image, is taken for sRGB, as browsers
// do.
func (t transforms) towards(profile []byte, alpha, wide bool) C.cmsHTRANSFORM {
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

// convert brings p, which is in memory, to eight bits of sRGB, or of Display P3 if wide is
// true; or of grey where it is grey without a profile, which is the same in both.
func (t transforms) convert(b *bench, p picture, wide bool) (picture, error) {
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
	transform := t.towards(p.profile(), p.hasAlpha(), wide)
	if transform == nil {
		return b.srgb(p, false)
	}
	if p, err = b.eight(p); err != nil {
		return picture{}, err
	}
	return t.apply(b, p, transform)
}

// apply converts p, eight bits of RGB.
func (t transforms) apply(b *bench, p picture, transform C.cmsHTRANSFORM) (picture, error) {
	p, err := b.memory(p)
	if err != nil {
		return picture{}, err
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_transform(transform, p.image, out) })
}

// ground returns a colour of a Spec, which is sRGB, as it is written into a picture.
func (t transforms) ground(c resize.Color, wide bool) resize.Color {
	transform := t.towards(nil, false, wide)
	if transform == nil {
		return c
	}
	red, green, blue := c.RGB()
	in, out := [3]C.uchar{C.uchar(red), C.uchar(green), C.uchar(blue)}, [3]C.uchar{}
	C.cmsDoTransform(transform, unsafe.Pointer(&in), unsafe.Pointer(&out), 1)
	return resize.RGB(uint8(out[0]), uint8(out[1]), uint8(out[2]))
}

// wide reports whether s is made in Display P3: as it asks, unless nothing of that can be
// said or seen. A GIF has no place for a profile, and is sRGB as without p3.
func wide(s resize.Spec) bool { return s.P3 && s.Format != resize.GIF }
