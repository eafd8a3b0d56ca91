package resize

// Shape tells the three things a URL can ask for apart.
type Shape uint8

const (
	ShapeVariant  Shape = iota // made from the original
	ShapeOriginal              // the original, byte for byte
	ShapeInfo                  // facts about the original, as JSON
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
