package resize

import (
	"fmt"
	"strconv"
	"strings"
)

// A mezzanine is what a large original is kept as once it has been decoded: upright, sRGB,
// nearly lossless, at most so many pixels on its long side (--mezzanine), a tenth of a
// phone photo's bytes. Most variants can be made of it.
//
// Which ones depends on the Spec and on the original's own size and kind, never on what
// happens to be kept: a URL names the same bytes on every node, whatever it was asked
// before. A Spec that the rule lets through goes through the mezzanine's encoded bytes
// also where the original is at hand.

const (
	// mezzanineWorth is how much longer than its mezzanine an original has to be. Smaller
	// ones have not many more bytes than it would, and cost little to decode.
	mezzanineWorth = 1.5
	// mezzanineSpare is how many pixels of a mezzanine there have to be for one of the
	// variant, on each axis: most of what its encoder did is averaged away then. At 1.33
	// ten photos lost 0.17 to 0.34 dB, at 1.09 up to 1.11 (DESIGN.md).
	mezzanineSpare = 1.3
)

// mezzanineQuality is that of its JPEG, 1-100. At 92, with colours at half the
// width, variants of phone photos lost 0.30 dB and 0.0037 SSIM at most (200x200 WebP; 640
// pixels gained a little) against those made of the original (BenchmarkMezzanine).
const mezzanineQuality = 92

// mezzanineWord begins the name of its Spec: a shape that ParseSpec does not know.
const mezzanineWord = "mezzanine"

// Mezzanine returns the Spec by which a Resizer is asked for the mezzanine of side pixels,
// 1 to MaxBox, of an original: upright, sRGB, at most side pixels on its long side, never
// enlarged, a JPEG without metadata that is not progressive, because that is decoded
// faster. Its frames are the first one, and what is transparent lies on white.
//
// It has a Name, which ParseJobName reads, and which is none of a URL: Check refuses it,
// so no Ref can be made of it.
func Mezzanine(side int) Spec {
	return Spec{Shape: ShapeMezzanine, Width: side, Height: side, Format: JPEG}
}

// IsMezzanine reports whether s is what Mezzanine returns for a legal side.
func (s Spec) IsMezzanine() bool {
	return s == Mezzanine(s.Width) && 1 <= s.Width && s.Width <= MaxBox
}

// CheckJob returns nil exactly if a Resizer may be asked for s: a variant of a concrete
// format that Check finds legal, the info of an original, or a mezzanine. Any other is an
// error that wraps ErrSpec.
func (s Spec) CheckJob() error {
	if s.IsMezzanine() {
		return nil
	}
	if err := s.Check(); err != nil {
		return err
	}
	if s.Shape == ShapeInfo || s.Shape == ShapeVariant && s.Format.Concrete() {
		return nil
	}
	return fmt.Errorf("%w: a variant of a concrete format, info or a mezzanine is needed", ErrSpec)
}

// ParseJobName reads what Spec.Name writes of everything that a Resizer makes: what
// ParseSpecName reads, and mezzanines ("mezzanine1440.jpg"). It is for what the tier says to
// its own processes, never for what a client says. Every error wraps ErrSpec.
func ParseJobName(name string) (Spec, error) {
	rest, ok := strings.CutPrefix(name, mezzanineWord)
	if !ok {
		return ParseSpecName(name)
	}
	digits, ok := strings.CutSuffix(rest, ".jpg")
	side, err := strconv.Atoi(digits)
	if s := Mezzanine(side); ok && err == nil && s.IsMezzanine() && s.Name() == name {
		return s, nil
	}
	return Spec{}, fmt.Errorf("%w: %s: a mezzanine is mezzanine, a side of 1-%d pixels, and .jpg", ErrSpec, quote(name), MaxBox)
}

// HasMezzanine reports whether an original is kept as a mezzanine whose long side is side
// pixels: an opaque still that is a good deal larger than that. A side of 0 is no
// mezzanines.
func (h Header) HasMezzanine(side int) bool {
	return side > 0 && !h.Alpha && !h.Animated && h.Frames == 1 &&
		float64(max(h.Width, h.Height)) >= mezzanineWorth*float64(side)
}

// FromMezzanine reports whether s is made from the mezzanine of side pixels of an original
// that has one, and that is width by height pixels when upright (Header.Upright). It is
// not where the mezzanine has too few pixels for it, and where something is asked for that
// the mezzanine has lost: the wide gamut of p3, the texts of credit, the exact border of
// trim, the lossless pixels of png.
func (s Spec) FromMezzanine(width, height, side int) bool {
	if s.Shape != ShapeVariant || s.P3 || s.Credit || s.Trim || s.Format == PNG {
		return false
	}
	if s.Rotate == 90 || s.Rotate == 270 {
		width, height = height, width
	}
	kept := float64(side) / float64(max(width, height))
	return s.scale(width, height)*mezzanineSpare <= kept
}

// scale returns by how much a picture of width by height pixels is scaled, 1 is not at all;
// where the axes differ, the larger factor. The turn has been done.
func (s Spec) scale(width, height int) float64 {
	byWidth, byHeight := float64(s.Width)/float64(width), float64(s.Height)/float64(height)
	factor := max(byWidth, byHeight) // cover, exact, and a box with one side
	if s.Width != 0 && s.Height != 0 && (s.Fit == FitInside || s.Fit == FitPad) {
		factor = min(byWidth, byHeight)
	}
	if s.Up {
		return factor
	}
	return min(factor, 1)
}
