package resize

import (
	"fmt"
	"strconv"
)

// Shape is the kind of thing to make: the three that a URL can name, and the mezzanine that
// only the tier itself uses.
type Shape uint8

const (
	ShapeVariant   Shape = iota // made from the original
	ShapeOriginal               // the original, byte for byte
	ShapeInfo                   // facts about the original, as JSON (Info)
	ShapeMezzanine              // the reduced copy kept of a large original (Mezzanine); never in a URL
)

// Fit says how an image is fitted into its box.
type Fit uint8

const (
	FitInside Fit = iota // the largest size that fits in the box (default)
	FitCover             // fills the box and crops the excess
	FitPad               // fits in the box and pads the rest
	FitExact             // fills the box and distorts
)

// Gravity says which part of the image FitCover keeps.
type Gravity uint8

const (
	GravityCentre Gravity = iota // default
	GravitySmart                 // libvips' attention strategy
	GravityFace
	GravityTop
	GravityBottom
	GravityLeft
	GravityRight
	GravityAt // FocusX, FocusY
)

// Mirror is applied after rotation.
type Mirror uint8

const (
	MirrorNone Mirror = iota
	MirrorFlip        // swaps top and bottom
	MirrorFlop        // swaps left and right
)

// Color is a background colour. Its zero value is the default, white.
type Color struct{ r, g, b uint8 } // each stored inverted, so that zero is white

// RGB returns the Color with the given red, green and blue, 0-255 each.
func RGB(r, g, b uint8) Color { return Color{255 - r, 255 - g, 255 - b} }

// RGB returns red, green and blue, 0-255 each.
func (c Color) RGB() (r, g, b uint8) { return 255 - c.r, 255 - c.g, 255 - c.b }

// MaxBox is the largest side of a box, in pixels.
const MaxBox = 8192

// Spec is the shape and format of a variant: everything that decides its bytes except the
// original. It is comparable, its zero values are the defaults of the URL grammar, and two
// Specs are equal exactly when their String and Format are.
type Spec struct {
	Shape          Shape
	Width, Height  int // box in pixels, 1-8192; one of them may be 0 and then follows the aspect ratio
	Fit            Fit
	Gravity        Gravity
	FocusX, FocusY uint8 // percent, 0-100, with GravityAt only
	Up             bool  // enlarge
	Crop           Crop  // part of the upright original; zero is all of it
	Trim           bool  // remove a uniform border
	Rotate         int   // clockwise degrees after EXIF orientation: 0, 90, 180, 270
	Mirror         Mirror
	Gray           bool
	Blur           uint8 // sigma in pixels, 1-100; 0 is off
	Sharp          bool
	Background     Color
	Watermark      string // configured name, or ""
	Still          bool   // first frame only
	Credit         bool   // keep copyright and author
	P3             bool   // Display P3 with a compact profile
	Quality        int    // 1-100; 0 is the format's default
	Format         Format
}

// String returns the canonical spelling of the shape without the format: "640x640-cover-q70",
// "orig", "info". It is meaningful only for Specs that pass Check.
func (s Spec) String() string {
	var buf [maxShape]byte
	return string(s.AppendShape(buf[:0]))
}

// Name returns shape and format as ParseSpecName parses them: "880x.webp", "orig", "info.json".
func (s Spec) Name() string {
	if s.Shape == ShapeOriginal {
		return s.String()
	}
	return s.String() + "." + s.Format.String()
}

// EncodeQuality returns the quality to encode with, 1-100: Quality, or the default of the
// format. It is 0 if the format has no quality.
func (s Spec) EncodeQuality() int {
	if s.Shape == ShapeMezzanine {
		return mezzanineQuality
	}
	if s.Quality != 0 {
		return s.Quality
	}
	return s.Format.DefaultQuality()
}

// KeepsAnimation reports whether the variant of an animation is animated.
func (s Spec) KeepsAnimation() bool {
	return s.Shape == ShapeVariant && s.Format.Animates() && !s.Still
}

// Resolve replaces the format Auto by f, the concrete format that the client accepts (AVIF,
// WebP or JPEG), and returns the Spec of the URL that names f directly: a quality equal to
// f's default becomes 0, and options that f cannot carry are dropped (a background outside
// of JPEG and FitPad, Still outside of GIF and WebP). So both URLs share one variant.
// Resolve returns s unchanged if its format is not Auto or if f is not Concrete.
func (s Spec) Resolve(f Format) Spec {
	if s.Format != Auto || s.Shape != ShapeVariant || !f.Concrete() {
		return s
	}
	s.Format = f
	s, _ = s.normalize()
	return s
}

// Check returns nil exactly if s is legal: ParseSpec(s.String(), s.Format.String()) is s.
// Otherwise it returns an error that wraps ErrSpec and says what is wrong.
func (s Spec) Check() error {
	if err := s.checkFields(); err != nil {
		return err
	}
	if n, reason := s.normalize(); n != s {
		return fmt.Errorf("%w: %s", ErrSpec, reason)
	}
	return nil
}

// checkFields returns an error if a field of s has a value that no Spec can have.
func (s Spec) checkFields() error {
	switch s.Shape {
	case ShapeVariant:
	case ShapeOriginal, ShapeInfo:
		if n, reason := s.normalize(); n != s {
			return fmt.Errorf("%w: %s", ErrSpec, reason)
		}
		return nil
	case ShapeMezzanine:
		return fmt.Errorf("%w: a mezzanine has no URL", ErrSpec)
	default:
		return fmt.Errorf("%w: unknown shape %d", ErrSpec, s.Shape)
	}
	if s.Format == JSON {
		return fmt.Errorf("%w: only info has the format json", ErrSpec)
	}
	if !s.Format.Concrete() && s.Format != Auto {
		return fmt.Errorf("%w: a format is needed (jpg png webp avif gif heic jxl auto)", ErrSpec)
	}
	if s.Width < 0 || s.Width > MaxBox || s.Height < 0 || s.Height > MaxBox {
		return fmt.Errorf("%w: size %dx%d: a side is 1-%d pixels", ErrSpec, s.Width, s.Height, MaxBox)
	}
	if s.Width == 0 && s.Height == 0 {
		return fmt.Errorf("%w: a size needs at least one side", ErrSpec)
	}
	if s.Fit > FitExact || s.Gravity > GravityAt || s.Mirror > MirrorFlop {
		return fmt.Errorf("%w: unknown fit %d, gravity %d or mirror %d", ErrSpec, s.Fit, s.Gravity, s.Mirror)
	}
	if s.Fit != FitInside && (s.Width == 0 || s.Height == 0) {
		return fmt.Errorf("%w: %s needs both sides of the box", ErrSpec, fitNames[s.Fit])
	}
	if s.FocusX > 100 || s.FocusY > 100 {
		return fmt.Errorf("%w: focal point at%dx%d: each is 0-100 percent", ErrSpec, s.FocusX, s.FocusY)
	}
	if err := s.Crop.check(); err != nil {
		return err
	}
	if s.Rotate != 0 && s.Rotate != 90 && s.Rotate != 180 && s.Rotate != 270 {
		return fmt.Errorf("%w: rot%d: a rotation is rot90, rot180 or rot270", ErrSpec, s.Rotate)
	}
	if s.Blur > 100 {
		return fmt.Errorf("%w: blur%d: the sigma is 1-100", ErrSpec, s.Blur)
	}
	if s.Quality < 0 || s.Quality > 100 {
		return fmt.Errorf("%w: q%d: a quality is 1-100", ErrSpec, s.Quality)
	}
	if s.Watermark != "" && !validWatermarkName(s.Watermark) {
		return fmt.Errorf("%w: watermark %s: a name is 1-16 of a-z0-9", ErrSpec, quote(s.Watermark))
	}
	return nil
}

// normalize returns s without options that have no effect. If that differs from s, reason
// says why. All dependencies between options are here.
func (s Spec) normalize() (normal Spec, reason string) {
	switch s.Shape {
	case ShapeOriginal:
		return Spec{Shape: ShapeOriginal}, "orig takes no options and has no format"
	case ShapeInfo:
		return Spec{Shape: ShapeInfo, Format: JSON}, "info takes no options and its format is json"
	}
	drop := func(why string) {
		if reason == "" {
			reason = why
		}
	}
	if s.Gravity != GravityCentre && s.Fit != FitCover {
		s.Gravity, s.FocusX, s.FocusY = GravityCentre, 0, 0
		drop("a gravity goes with cover only")
	}
	if s.Gravity == GravityAt && s.FocusX == 50 && s.FocusY == 50 {
		s.Gravity = GravityCentre
		s.FocusX, s.FocusY = 0, 0
		drop("at50x50 is the default and is left out")
	}
	if s.Gravity != GravityAt && (s.FocusX != 0 || s.FocusY != 0) {
		s.FocusX, s.FocusY = 0, 0
		drop("a focal point goes with the gravity at only")
	}
	if s.Crop == wholeCrop {
		s.Crop = Crop{}
		drop("crop0x0x1000x1000 is the default and is left out")
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
		drop("q" + strconv.Itoa(s.Quality) + " is the default of " + s.Format.String() + " and is left out")
		s.Quality = 0
	}
	return s, reason
}

// MaxWatermarks is the most watermarks a Resizer may have: each is an open file in each child
// process.
const MaxWatermarks = 32

// validWatermarkName reports whether name is 1-16 of a-z0-9.
func validWatermarkName(name string) bool {
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
