package resize

import (
	"fmt"
	"strings"
)

// SpellingError is the error of a shape or format that can be understood but is not spelled
// in the one way that is accepted. Its text names that way. It wraps ErrSpec.
type SpellingError struct {
	Shape, Format string // as given
	Canonical     Spec   // what was meant
	Reason        string // what is wrong with the spelling
}

// Error names the canonical spelling, of shape or format or of both where both are wrong.
func (e *SpellingError) Error() string {
	shape, format := e.Canonical.String(), e.Canonical.Format.String()
	switch {
	case format == e.Format:
		return fmt.Sprintf("shape %s is spelled %q: %s", quote(e.Shape), shape, e.Reason)
	case shape == e.Shape:
		return fmt.Sprintf("format %s is spelled %q", quote(e.Format), format)
	}
	return fmt.Sprintf("shape and format %s are spelled %q: %s", quote(e.Shape+"."+e.Format), e.Canonical.Name(), e.Reason)
}

// Unwrap returns ErrSpec.
func (e *SpellingError) Unwrap() error { return ErrSpec }

// ParseSpec reads a Spec from the shape and the format of a URL. It accepts exactly what
// Spec.String and Format.String write for legal Specs: ("640x640-cover-q70", "webp"),
// ("orig", ""), ("info", "json").
//
// Every error wraps ErrSpec and may be shown to the client. Where the meaning is clear and
// only the spelling is wrong (another order, a default written out, leading zeros, upper
// case, an option that has no effect) it is a *SpellingError.
func ParseSpec(shape, format string) (Spec, error) {
	// Read leniently, write canonically, compare: there is no second grammar to keep in step.
	s, quirk, err := readSpec(shape, format)
	if err != nil {
		return Spec{}, err
	}
	if err := s.valid(); err != nil {
		return Spec{}, err
	}
	s, why := s.normal()
	var buf [maxShape]byte
	if string(s.AppendShape(buf[:0])) == shape && s.Format.String() == format {
		return s, nil
	}
	if quirk == "" {
		quirk = why
	}
	return Spec{}, &SpellingError{Shape: shape, Format: format, Canonical: s, Reason: quirk}
}

// ParseSpecName reads the short form of a Spec, shape and format with a dot between, that
// Spec.Name writes: "880x.webp", "orig", "info.json". The errors are those of ParseSpec.
func ParseSpecName(name string) (Spec, error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ParseSpec(name, "")
	}
	return ParseSpec(name[:dot], name[dot+1:])
}

// group is one row of the table of options, in canonical order.
type group uint

const (
	groupSize group = iota
	groupFit
	groupGravity
	groupUp
	groupTrim
	groupRotate
	groupMirror
	groupGray
	groupBlur
	groupSharp
	groupBackground
	groupWatermark
	groupStill
	groupCredit
	groupP3
	groupQuality
)

const theOrder = "the order is size, fit, gravity, up, trim, rot, flip or flop, gray, blur, sharp, bg, wm, still, credit, p3, q"

// What errors about values remind of.
const (
	sizeRule    = "a size is 640x480, 640x or x480, each side 1-8192 pixels"
	focusRule   = "a focal point is at and two percentages from left and top, such as at30x70"
	turnRule    = "a turn is rot90, rot180 or rot270"
	blurRule    = "a blur is blur and its sigma, 1-100"
	qualityRule = "a quality is q and a number, 1-100"
)

// readSpec reads options in any order, each at most once unless it says the same again.
// quirk is the first thing about the spelling that is not canonical, as far as it noticed.
func readSpec(shape, format string) (s Spec, quirk string, err error) {
	if s.Format, err = readFormat(format); err != nil {
		return Spec{}, "", err
	}
	switch shape {
	case "orig":
		if s.Format != NoFormat {
			return Spec{}, "", fmt.Errorf("%w: orig has no format, here %s", ErrSpec, quote(format))
		}
		return Spec{Shape: ShapeOriginal}, "", nil
	case "info":
		if s.Format != JSON {
			return Spec{}, "", fmt.Errorf("%w: the format of info is json, not %s", ErrSpec, quote(format))
		}
		return Spec{Shape: ShapeInfo, Format: JSON}, "", nil
	}
	if len(shape) > 2*maxShape {
		return Spec{}, "", fmt.Errorf("%w: %s is longer than any shape", ErrSpec, quote(shape))
	}
	if s.Format == NoFormat {
		return Spec{}, "", fmt.Errorf("%w: %s has no format (jpg png webp avif gif heic jxl auto)", ErrSpec, quote(shape))
	}
	var (
		seen uint
		last group
		note = func(q string) {
			if quirk == "" {
				quirk = q
			}
		}
	)
	for rest, more := shape, true; more; {
		var word string
		word, rest, more = strings.Cut(rest, "-")
		if word == "" {
			note("there is an empty option")
			continue
		}
		before := s
		g, q, err := readOption(&s, word)
		if err != nil {
			return Spec{}, "", err
		}
		if seen&(1<<g) != 0 {
			if s != before {
				return Spec{}, "", fmt.Errorf("%w: %s contradicts an option before it", ErrSpec, quote(word))
			}
			note(word + " stands there twice")
		}
		if g < last {
			note(theOrder)
		}
		if q != "" {
			note(q)
		}
		seen |= 1 << g
		last = g
	}
	if seen&(1<<groupSize) == 0 {
		return Spec{}, "", fmt.Errorf("%w: %s has no size, such as 640x480, 640x or x480", ErrSpec, quote(shape))
	}
	return s, quirk, nil
}

// readFormat is ParseFormat, lenient: upper case, jpeg and heif are understood.
func readFormat(format string) (Format, error) {
	if format == "" {
		return NoFormat, nil
	}
	f, err := ParseFormat(format)
	if err == nil || len(format) > 8 {
		return f, err
	}
	lower := lowerASCII(format)
	switch lower {
	case "jpeg":
		return JPEG, nil
	case "heif":
		return HEIC, nil
	}
	if f, errLower := ParseFormat(lower); errLower == nil {
		return f, nil
	}
	return NoFormat, err
}

// readOption reads one option into s and says which group it is of. quirk says what is not
// canonical about its own spelling, if that is not for Spec.normal to say.
func readOption(s *Spec, word string) (g group, quirk string, err error) {
	switch word {
	case "cover":
		s.Fit = FitCover
		return groupFit, "", nil
	case "pad":
		s.Fit = FitPad
		return groupFit, "", nil
	case "exact":
		s.Fit = FitExact
		return groupFit, "", nil
	case "smart":
		return s.gravity(GravitySmart)
	case "face":
		return s.gravity(GravityFace)
	case "top":
		return s.gravity(GravityTop)
	case "bottom":
		return s.gravity(GravityBottom)
	case "left":
		return s.gravity(GravityLeft)
	case "right":
		return s.gravity(GravityRight)
	case "up":
		s.Up = true
		return groupUp, "", nil
	case "trim":
		s.Trim = true
		return groupTrim, "", nil
	case "flip":
		s.Mirror = MirrorFlip
		return groupMirror, "", nil
	case "flop":
		s.Mirror = MirrorFlop
		return groupMirror, "", nil
	case "gray":
		s.Gray = true
		return groupGray, "", nil
	case "sharp":
		s.Sharp = true
		return groupSharp, "", nil
	case "still":
		s.Still = true
		return groupStill, "", nil
	case "credit":
		s.Credit = true
		return groupCredit, "", nil
	case "p3":
		s.P3 = true
		return groupP3, "", nil
	}
	return readValue(s, word)
}

func (s *Spec) gravity(to Gravity) (group, string, error) {
	s.Gravity, s.FocusX, s.FocusY = to, 0, 0
	return groupGravity, "", nil
}

// readValue reads an option that has a value in it, or one that is no option.
func readValue(s *Spec, word string) (g group, quirk string, err error) {
	if c := word[0]; ('0' <= c && c <= '9' || c == 'x') && strings.IndexByte(word, 'X') < 0 {
		quirk, err = readSize(s, word)
		return groupSize, quirk, err
	}
	if digits, ok := strings.CutPrefix(word, "q"); ok && startsWithDigit(digits) {
		n, quirk, err := number(word, digits, 100, qualityRule)
		if n == 0 && err == nil {
			err = fmt.Errorf("%w: %s: %s", ErrSpec, quote(word), qualityRule)
		}
		s.Quality = n
		return groupQuality, quirk, err
	}
	if digits, ok := strings.CutPrefix(word, "blur"); ok && startsWithDigit(digits) {
		n, quirk, err := number(word, digits, 100, blurRule)
		s.Blur = uint8(n)
		if n == 0 {
			quirk = word + " is the default and never written"
		}
		return groupBlur, quirk, err
	}
	if digits, ok := strings.CutPrefix(word, "rot"); ok && startsWithDigit(digits) {
		n, quirk, err := number(word, digits, 270, turnRule)
		s.Rotate = n
		if n == 0 {
			quirk = word + " is the default and never written"
		}
		return groupRotate, quirk, err
	}
	if point, ok := strings.CutPrefix(word, "at"); ok && startsWithDigit(point) {
		quirk, err := readFocus(s, word, point)
		return groupGravity, quirk, err
	}
	if name, ok := strings.CutPrefix(word, "wm."); ok && watermarkName(name) {
		s.Watermark = name
		return groupWatermark, "", nil
	}
	if hex, ok := strings.CutPrefix(word, "bg"); ok {
		quirk, ok := readColor(s, hex)
		if ok {
			return groupBackground, quirk, nil
		}
	}
	return readOdd(s, word)
}

// readOdd understands what is never canonical: upper case and written defaults. What it
// does not understand either is an error that says what the word may have meant.
func readOdd(s *Spec, word string) (g group, quirk string, err error) {
	if lower := lowerASCII(word); lower != word {
		g, _, err := readOption(s, lower)
		return g, "options are lower case", err
	}
	switch word {
	case "inside":
		s.Fit = FitInside
		return groupFit, "inside is the default and never written", nil
	case "centre", "center":
		s.Gravity, s.FocusX, s.FocusY = GravityCentre, 0, 0
		return groupGravity, word + " is the default and never written", nil
	}
	for _, known := range [...]struct{ prefix, rule string }{
		{"wm", "a watermark is wm. and a name, 1-16 of a-z0-9"},
		{"bg", "a background is bg and six hex digits, such as bg1a2b3c"},
		{"blur", blurRule},
		{"rot", turnRule},
		{"at", focusRule},
		{"q", qualityRule},
	} {
		if strings.HasPrefix(word, known.prefix) {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(word), known.rule)
		}
	}
	return 0, "", fmt.Errorf("%w: there is no option %s", ErrSpec, quote(word))
}

// readSize reads 640x480, 640x, x480. A side of 0 is understood as a missing one.
func readSize(s *Spec, word string) (quirk string, err error) {
	w, h, ok := strings.Cut(word, "x")
	if !ok {
		return "", fmt.Errorf("%w: size %s has no x: %s", ErrSpec, quote(word), sizeRule)
	}
	s.Width, s.Height = 0, 0
	var quirkW, quirkH string
	if w != "" {
		if s.Width, quirkW, err = number(word, w, MaxBox, sizeRule); err != nil {
			return "", err
		}
	}
	if h != "" {
		if s.Height, quirkH, err = number(word, h, MaxBox, sizeRule); err != nil {
			return "", err
		}
	}
	if s.Width == 0 && s.Height == 0 {
		return "", fmt.Errorf("%w: size %s: %s", ErrSpec, quote(word), sizeRule)
	}
	if w != "" && s.Width == 0 || h != "" && s.Height == 0 {
		return "a side that follows the aspect ratio is left out", nil
	}
	return quirkW + quirkH, nil
}

func readFocus(s *Spec, word, point string) (quirk string, err error) {
	left, top, ok := strings.Cut(point, "x")
	if !ok || left == "" || top == "" {
		return "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(word), focusRule)
	}
	x, quirkX, err := number(word, left, 100, focusRule)
	if err != nil {
		return "", err
	}
	y, quirkY, err := number(word, top, 100, focusRule)
	if err != nil {
		return "", err
	}
	s.Gravity, s.FocusX, s.FocusY = GravityAt, uint8(x), uint8(y)
	return quirkX + quirkY, nil
}

// readColor reads six hex digits, or three that each mean two.
func readColor(s *Spec, hex string) (quirk string, ok bool) {
	if len(hex) != 6 && len(hex) != 3 {
		return "", false
	}
	var n [6]uint8
	for i := range len(hex) {
		switch c := hex[i]; {
		case '0' <= c && c <= '9':
			n[i] = c - '0'
		case 'a' <= c && c <= 'f':
			n[i] = c - 'a' + 10
		default:
			return "", false
		}
	}
	if len(hex) == 3 {
		n = [6]uint8{n[0], n[0], n[1], n[1], n[2], n[2]}
		quirk = "a background has six hex digits"
	}
	s.Background = RGB(n[0]<<4|n[1], n[2]<<4|n[3], n[4]<<4|n[5])
	if s.Background == (Color{}) {
		quirk = "bgffffff is the default and never written"
	}
	return quirk, true
}

// number reads decimal digits of word, 0 to high. rule is what an error reminds of.
func number(word, digits string, high int, rule string) (n int, quirk string, err error) {
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(word), rule)
		}
		if n = n*10 + int(c-'0'); n > high {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(word), rule)
		}
	}
	if len(digits) > 1 && digits[0] == '0' {
		quirk = "numbers have no leading zeros"
	}
	return n, quirk, nil
}

// lowerASCII is strings.ToLower without the letters beyond ASCII that become ASCII ones.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func startsWithDigit(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }
