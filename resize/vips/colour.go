package vips

// #cgo pkg-config: lcms2
// #include "colour.h"
// #include "vips.h"
import "C"

import (
	"crypto/sha256"
	"unsafe"
)

// transforms are those to sRGB from the profiles seen before. There are few: phones of
// one make all write the same.
type transforms map[transformKey]C.cmsHTRANSFORM // nil for a profile that is of no use

type transformKey struct {
	profile [sha256.Size]byte
	alpha   bool
}

// mostTransforms is how many are kept: some ten kilobytes each.
const mostTransforms = 32

// from returns the transform from that profile, nil if there is none.
func (t transforms) from(profile []byte, alpha bool) C.cmsHTRANSFORM {
	key := transformKey{sha256.Sum256(profile), alpha}
	transform, known := t[key]
	if !known {
		if len(t) >= mostTransforms {
			t.clear()
		}
		transform = C.tier_transform_new(unsafe.Pointer(&profile[0]), C.size_t(len(profile)), truth(alpha))
		t[key] = transform
	}
	return transform
}

func (t transforms) clear() {
	for _, transform := range t {
		if transform != nil {
			C.cmsDeleteTransform(transform)
		}
	}
	clear(t)
}

// srgb brings p, which is in memory, to eight bits of sRGB, or of grey where it is grey
// without a profile. A profile that is broken, or of another kind of image, is ignored,
// as browsers do.
func (t transforms) srgb(b *bench, p picture) (picture, error) {
	profile := p.profile()
	if len(profile) == 0 || !p.rgb() {
		return b.srgb(p, true)
	}
	p, err := b.eight(p)
	if err != nil {
		return picture{}, err
	}
	transform := t.from(profile, p.hasAlpha())
	if transform == nil {
		return b.srgb(p, false)
	}
	if p, err = b.memory(p); err != nil {
		return picture{}, err
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_transform(transform, p.image, out) })
}
