package resize

import (
	"fmt"
	"strconv"
)

// Shape tells what is made apart: the three things that a URL can ask for, and the one
// that only the tier itself asks for.
type Shape uint8

const (
	ShapeVariant   Shape = iota // made from the original
	ShapeOriginal               // the original, byte for byte
	ShapeInfo                   // facts about the original, as JSON (Info)
	ShapeMezzanine              // what a large original is kept as (Mezzanine); never in a URL
)

// Fit says how a picture comes into its box.
type Fit uint8

const (
	FitInside Fit = iota // the largest that fits in the box (default)
	FitCover             // fills the box, crops what is over
	FitPad               // fits in the box, pads what is left
	FitExact             // fills the box, distorts
)

// Gravity says what FitCover keeps.
type Gravity uint8

const (
	GravityCentre Gravity = iota // default
	GravitySmart                 // libvips' attention
	GravityFace
	GravityTop
	GravityBottom
	GravityLeft
	GravityRight
	GravityAt // FocusX, FocusY
)

// Mirror follows the turn.
type Mirror uint8

const (
	MirrorNone Mirror = iota
	MirrorFlip        // top and bottom change places
	MirrorFlop        // left and right change places
)

// Color is a background. Its zero value is the default, white.
type Color struct{ r, g, b uint8 } // each stored inverted, so that zero is white

// RGB makes a Color of red, green and blue, 0-255 each.
func RGB(r, g, b uint8) Color { return Color{255 - r, 255 - g, 255 - b} }

// RGB returns red, green and blue, 0-255 each.
func (c Color) RGB() (r, g, b uint8) { return 255 - c.r, 255 - c.g, 255 - c.b }

// MaxBox is the largest side of a box, in pixels (CONTRACT 1).
const MaxBox = 8192

// Spec is shape and format of a variant: everything that decides its bytes but the
// original. It is comparable, its zero values are the defaults of the grammar
// (CONTRACT 1), and two Specs are equal exactly when their String and Format are.
type Spec struct {
	Shape          Shape
	Width, Height  int // box in pixels, 1-8192; one of them may be 0 and follows the aspect ratio
	Fit            Fit
	Gravity        Gravity
	FocusX, FocusY uint8 // percent, 0-100, with GravityAt only
	Up             bool  // enlarge
	Trim           bool  // cut away a uniform border
	Rotate         int   // clockwise degrees after EXIF orientation: 0, 90, 180, 270
	Mirror         Mirror
	Gray           bool
	Blur           uint8 // sigma, 1-100; 0 is none
	Sharp          bool
	Background     Color
	Watermark      string
	Still          bool // first frame only
	Credit         bool // keep copyright and author
	P3             bool // Display P3 with a compact profile
	Quality        int  // 1-100; 0 is the default of the format
	Format         Format
}

// String returns the canonical spelling of the shape, without the format: "640x640-cover-q70",
// "orig", "info". It is meaningful for legal Specs only (Check).
func (s Spec) String() string {
	var buf [maxShape]byte
	return string(s.AppendShape(buf[:0]))
}

// Name returns shape and format as ParseSpecName reads them: "880x.webp", "orig", "info.json".
func (s Spec) Name() string {
	if s.Shape == ShapeOriginal {
		return s.String()
	}
	return s.String() + "." + s.Format.String()
}

// EncodeQuality returns the quality to encode with, 1-100: the one that is set, or the
// default of the format; 0 where the format has none.
func (s Spec) EncodeQuality() int {
	if s.Shape == ShapeMezzanine {
		return mezzanineQuality
	}
	if s.Quality != 0 {
		return s.Quality
	}
	return s.Format.DefaultQuality()
}

// KeepsAnimation reports whether the variant of an animation is one.
func (s Spec) KeepsAnimation() bool {
	return s.Shape == ShapeVariant && s.Format.Animates() && !s.Still
}

// Resolve turns the format Auto into f, the concrete format of a class of clients (AVIF,
// WebP, or JPEG for all others), and returns the Spec of the URL that asks for f outright:
// a quality equal to f's default becomes 0, and what f cannot carry is dropped (a background
// outside of JPEG and FitPad, Still outside of GIF and WebP). So both URLs share a variant.
// A Spec of any other format is returned as it is, and so is s if f is not Concrete.
func (s Spec) Resolve(f Format) Spec {
	if s.Format != Auto || s.Shape != ShapeVariant || !f.Concrete() {
		return s
	}
	s.Format = f
	s, _ = s.normal()
	return s
}

// Check returns nil exactly if s is legal: ParseSpec(s.String(), s.Format.String()) is s.
// Otherwise it returns an error that wraps ErrSpec and says what is wrong.
func (s Spec) Check() error {
	if err := s.valid(); err != nil {
		return err
	}
	if n, why := s.normal(); n != s {
		return fmt.Errorf("%w: %s", ErrSpec, why)
	}
	return nil
}

// valid reports what makes s no Spec at all.
func (s Spec) valid() error {
	switch s.Shape {
	case ShapeVariant:
	case ShapeOriginal, ShapeInfo:
		if n, why := s.normal(); n != s {
			return fmt.Errorf("%w: %s", ErrSpec, why)
		}
		return nil
	case ShapeMezzanine:
		return fmt.Errorf("%w: no URL names a mezzanine", ErrSpec)
	default:
		return fmt.Errorf("%w: shape %d", ErrSpec, s.Shape)
	}
	if s.Format == JSON {
		return fmt.Errorf("%w: the format json is of info only", ErrSpec)
	}
	if !s.Format.Concrete() && s.Format != Auto {
		return fmt.Errorf("%w: it has no format (jpg png webp avif gif heic jxl auto)", ErrSpec)
	}
	if s.Width < 0 || s.Width > MaxBox || s.Height < 0 || s.Height > MaxBox {
		return fmt.Errorf("%w: size %dx%d: a side is 1-%d pixels", ErrSpec, s.Width, s.Height, MaxBox)
	}
	if s.Width == 0 && s.Height == 0 {
		return fmt.Errorf("%w: a size has at least one side", ErrSpec)
	}
	if s.Fit > FitExact || s.Gravity > GravityAt || s.Mirror > MirrorFlop {
		return fmt.Errorf("%w: fit %d, gravity %d, mirror %d", ErrSpec, s.Fit, s.Gravity, s.Mirror)
	}
	if s.Fit != FitInside && (s.Width == 0 || s.Height == 0) {
		return fmt.Errorf("%w: %s needs both sides of the box", ErrSpec, fitNames[s.Fit])
	}
	if s.FocusX > 100 || s.FocusY > 100 {
		return fmt.Errorf("%w: focal point at%dx%d: each is 0-100 percent", ErrSpec, s.FocusX, s.FocusY)
	}
	if s.Rotate != 0 && s.Rotate != 90 && s.Rotate != 180 && s.Rotate != 270 {
		return fmt.Errorf("%w: a turn is rot90, rot180 or rot270, not rot%d", ErrSpec, s.Rotate)
	}
	if s.Blur > 100 {
		return fmt.Errorf("%w: blur%d: the sigma is 1-100", ErrSpec, s.Blur)
	}
	if s.Quality < 0 || s.Quality > 100 {
		return fmt.Errorf("%w: q%d: a quality is 1-100", ErrSpec, s.Quality)
	}
	if s.Watermark != "" && !watermarkName(s.Watermark) {
		return fmt.Errorf("%w: watermark %s: a name is 1-16 of a-z0-9", ErrSpec, quote(s.Watermark))
	}
	return nil
}

// normal returns s without what has no effect, and the first reason why that is not s.
// It is the one place that knows which option needs which other.
func (s Spec) normal() (Spec, string) {
	switch s.Shape {
	case ShapeOriginal:
		return Spec{Shape: ShapeOriginal}, "orig takes no options and has no format"
	case ShapeInfo:
		return Spec{Shape: ShapeInfo, Format: JSON}, "info takes no options and its format is json"
	}
	why := ""
	drop := func(reason string) {
		if why == "" {
			why = reason
		}
	}
	if s.Gravity != GravityCentre && s.Fit != FitCover {
		s.Gravity, s.FocusX, s.FocusY = GravityCentre, 0, 0
		drop("a gravity goes with cover only")
	}
	if s.Gravity == GravityAt && s.FocusX == 50 && s.FocusY == 50 {
		s.Gravity = GravityCentre
		s.FocusX, s.FocusY = 0, 0
		drop("at50x50 is the default and never written")
	}
	if s.Gravity != GravityAt && (s.FocusX != 0 || s.FocusY != 0) {
		s.FocusX, s.FocusY = 0, 0
		drop("a focal point goes with the gravity at only")
	}
	if s.Background != (Color{}) && s.Fit != FitPad && s.Format != JPEG && s.Format != Auto {
		s.Background = Color{}
		drop("a background goes with pad, jpg or auto only")
	}
	if s.Still && !s.Format.Animates() {
		s.Still = false
		drop("still goes with gif, webp or auto only")
	}
	if s.Quality != 0 && (s.Format == PNG || s.Format == GIF) {
		s.Quality = 0
		drop("png and gif have no quality")
	}
	if s.Quality != 0 && s.Quality == s.Format.DefaultQuality() {
		drop("q" + strconv.Itoa(s.Quality) + " is the default of " + s.Format.String() + " and never written")
		s.Quality = 0
	}
	return s, why
}

// MaxWatermarks bounds how many a Resizer knows: each is an open file of each of its processes.
const MaxWatermarks = 32

// watermarkName reports whether a configuration can hold a watermark of that name.
func watermarkName(name string) bool {
	if len(name) < 1 || len(name) > 16 {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return true
}
