package resize

import (
	"fmt"
	"strings"
)

// SpellingError is returned for a shape or format whose meaning is clear but whose spelling is
// not the canonical one. Its text names the canonical spelling. It wraps ErrSpec.
type SpellingError struct {
	Shape, Format string // as given
	Canonical     Spec   // the option that was meant
	Reason        string // why the spelling is not canonical
}

// Error names the canonical spelling of the shape, of the format, or of both.
func (e *SpellingError) Error() string {
	shape, format := e.Canonical.String(), e.Canonical.Format.String()
	switch {
	case format == e.Format:
		return fmt.Sprintf("shape %s is spelled %q: %s", quote(e.Shape), shape, e.Reason)
	case shape == e.Shape:
		return fmt.Sprintf("format %s is spelled %q", quote(e.Format), format)
	}
	return fmt.Sprintf("shape and format %s are spelled %q: %s",
		quote(e.Shape+"."+e.Format), e.Canonical.Name(), e.Reason)
}

// Unwrap returns ErrSpec.
func (e *SpellingError) Unwrap() error { return ErrSpec }

// ParseSpec parses a Spec from the shape and the format of a URL. It accepts exactly what
// Spec.String and Format.String return for legal Specs: ("640x640-cover-q70", "webp"),
// ("orig", ""), ("info", "json").
//
// Every error wraps ErrSpec and may be shown to the client. Where the meaning is clear and
// only the spelling is wrong (order, a default written out, leading zeros, upper case, an
// option without effect) it is a *SpellingError.
func ParseSpec(shape, format string) (Spec, error) {
	// Parse leniently, write canonically and compare, so that there is only one grammar.
	s, problem, err := parseLenient(shape, format)
	if err != nil {
		return Spec{}, err
	}
	if err := s.checkFields(); err != nil {
		return Spec{}, err
	}
	s, reason := s.normalize()
	var buf [maxShape]byte
	if string(s.AppendShape(buf[:0])) == shape && s.Format.String() == format {
		return s, nil
	}
	if problem == "" {
		problem = reason
	}
	return Spec{}, &SpellingError{Shape: shape, Format: format, Canonical: s, Reason: problem}
}

// ParseSpecName parses what [Spec.Name] returns: shape and format separated by a dot, such as
// "880x.webp", "orig" or "info.json". The errors are those of ParseSpec.
func ParseSpecName(name string) (Spec, error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return ParseSpec(name, "")
	}
	return ParseSpec(name[:dot], name[dot+1:])
}

// group identifies options that exclude each other, in canonical order.
type group uint

const (
	groupSize group = iota
	groupFit
	groupGravity
	groupUp
	groupCrop
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

const orderRule = "the order is size, fit, gravity, up, crop, trim, rot, flip or flop, gray, blur, sharp, bg, wm, still, credit, p3, q"

// Rules that error texts quote.
const (
	sizeRule  = "a size is 640x480, 640x or x480, each side 1-8192 pixels"
	focusRule = "a focal point is at and two percentages from left and top, such as at30x70"
	cropRule  = "a crop is crop and left, top, width and height in thousandths of the original's sides, " +
		"such as crop100x50x800x900; left + width and top + height are at most 1000"
	rotateRule  = "a rotation is rot90, rot180 or rot270"
	blurRule    = "a blur is blur and its sigma, 1-100"
	qualityRule = "a quality is q and a number, 1-100"
)

// parseLenient parses options in any order. Repeated options must not contradict each other.
// problem is the first part of the spelling that it noticed is not canonical.
func parseLenient(shape, format string) (s Spec, problem string, err error) {
	if s.Format, err = parseFormatLenient(format); err != nil {
		return Spec{}, "", err
	}
	switch shape {
	case "orig":
		if s.Format != NoFormat {
			return Spec{}, "", fmt.Errorf("%w: orig has no format, got %s", ErrSpec, quote(format))
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
		return Spec{}, "", fmt.Errorf("%w: %s has no format (jpg png webp avif gif heic jxl auto)",
			ErrSpec, quote(shape))
	}
	var (
		seen uint
		last group
		note = func(p string) {
			if problem == "" {
				problem = p
			}
		}
	)
	for rest, more := shape, true; more; {
		var option string
		option, rest, more = strings.Cut(rest, "-")
		if option == "" {
			note("there is an empty option")
			continue
		}
		before := s
		g, p, err := parseOption(&s, option)
		if err != nil {
			return Spec{}, "", err
		}
		if seen&(1<<g) != 0 {
			if s != before {
				return Spec{}, "", fmt.Errorf("%w: %s contradicts an earlier option", ErrSpec, quote(option))
			}
			note(option + " appears twice")
		}
		if g < last {
			note(orderRule)
		}
		if p != "" {
			note(p)
		}
		seen |= 1 << g
		last = g
	}
	if seen&(1<<groupSize) == 0 {
		return Spec{}, "", fmt.Errorf("%w: %s has no size, such as 640x480, 640x or x480", ErrSpec, quote(shape))
	}
	return s, problem, nil
}

// parseFormatLenient is ParseFormat, but also accepts upper case, jpeg and heif.
func parseFormatLenient(format string) (Format, error) {
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

// parseOption parses one option into s and returns its group. problem says what is not
// canonical about its spelling, except what Spec.normalize finds.
func parseOption(s *Spec, option string) (g group, problem string, err error) {
	switch option {
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
		return s.setGravity(GravitySmart)
	case "face":
		return s.setGravity(GravityFace)
	case "top":
		return s.setGravity(GravityTop)
	case "bottom":
		return s.setGravity(GravityBottom)
	case "left":
		return s.setGravity(GravityLeft)
	case "right":
		return s.setGravity(GravityRight)
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
	return parseValueOption(s, option)
}

func (s *Spec) setGravity(to Gravity) (group, string, error) {
	s.Gravity, s.FocusX, s.FocusY = to, 0, 0
	return groupGravity, "", nil
}

// parseValueOption parses an option that contains a value.
func parseValueOption(s *Spec, option string) (g group, problem string, err error) {
	if c := option[0]; ('0' <= c && c <= '9' || c == 'x') && strings.IndexByte(option, 'X') < 0 {
		problem, err = parseSize(s, option)
		return groupSize, problem, err
	}
	if digits, ok := strings.CutPrefix(option, "q"); ok && startsWithDigit(digits) {
		n, problem, err := parseNumber(option, digits, 100, qualityRule)
		if n == 0 && err == nil {
			err = fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), qualityRule)
		}
		s.Quality = n
		return groupQuality, problem, err
	}
	if digits, ok := strings.CutPrefix(option, "blur"); ok && startsWithDigit(digits) {
		n, problem, err := parseNumber(option, digits, 100, blurRule)
		s.Blur = uint8(n)
		if n == 0 {
			problem = option + " is the default and is left out"
		}
		return groupBlur, problem, err
	}
	if digits, ok := strings.CutPrefix(option, "crop"); ok && startsWithDigit(digits) {
		problem, err := parseCrop(s, option, digits)
		return groupCrop, problem, err
	}
	if digits, ok := strings.CutPrefix(option, "rot"); ok && startsWithDigit(digits) {
		n, problem, err := parseNumber(option, digits, 270, rotateRule)
		s.Rotate = n
		if n == 0 {
			problem = option + " is the default and is left out"
		}
		return groupRotate, problem, err
	}
	if point, ok := strings.CutPrefix(option, "at"); ok && startsWithDigit(point) {
		problem, err := parseFocus(s, option, point)
		return groupGravity, problem, err
	}
	if name, ok := strings.CutPrefix(option, "wm."); ok && validWatermarkName(name) {
		s.Watermark = name
		return groupWatermark, "", nil
	}
	if hex, ok := strings.CutPrefix(option, "bg"); ok {
		problem, ok := parseColor(s, hex)
		if ok {
			return groupBackground, problem, nil
		}
	}
	return parseNonCanonical(s, option)
}

// parseNonCanonical parses spellings that are never canonical: upper case and written-out
// defaults. For anything else it returns an error that guesses what the option was meant to be.
func parseNonCanonical(s *Spec, option string) (g group, problem string, err error) {
	if lower := lowerASCII(option); lower != option {
		g, _, err := parseOption(s, lower)
		return g, "options are lower case", err
	}
	switch option {
	case "inside":
		s.Fit = FitInside
		return groupFit, "inside is the default and is left out", nil
	case "centre", "center":
		s.Gravity, s.FocusX, s.FocusY = GravityCentre, 0, 0
		return groupGravity, option + " is the default and is left out", nil
	}
	for _, known := range [...]struct{ prefix, rule string }{
		{"wm", "a watermark is wm. and a name, 1-16 of a-z0-9"},
		{"bg", "a background is bg and six hex digits, such as bg1a2b3c"},
		{"blur", blurRule},
		{"crop", cropRule},
		{"rot", rotateRule},
		{"at", focusRule},
		{"q", qualityRule},
	} {
		if strings.HasPrefix(option, known.prefix) {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), known.rule)
		}
	}
	return 0, "", fmt.Errorf("%w: there is no option %s", ErrSpec, quote(option))
}

// parseSize parses 640x480, 640x and x480. It accepts a side of 0 as a missing one.
func parseSize(s *Spec, option string) (problem string, err error) {
	w, h, ok := strings.Cut(option, "x")
	if !ok {
		return "", fmt.Errorf("%w: size %s has no x: %s", ErrSpec, quote(option), sizeRule)
	}
	s.Width, s.Height = 0, 0
	var problemW, problemH string
	if w != "" {
		if s.Width, problemW, err = parseNumber(option, w, MaxBox, sizeRule); err != nil {
			return "", err
		}
	}
	if h != "" {
		if s.Height, problemH, err = parseNumber(option, h, MaxBox, sizeRule); err != nil {
			return "", err
		}
	}
	if s.Width == 0 && s.Height == 0 {
		return "", fmt.Errorf("%w: size %s: %s", ErrSpec, quote(option), sizeRule)
	}
	if w != "" && s.Width == 0 || h != "" && s.Height == 0 {
		return "a side that follows the aspect ratio is left out", nil
	}
	return problemW + problemH, nil
}

func parseFocus(s *Spec, option, point string) (problem string, err error) {
	left, top, ok := strings.Cut(point, "x")
	if !ok || left == "" || top == "" {
		return "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), focusRule)
	}
	x, problemX, err := parseNumber(option, left, 100, focusRule)
	if err != nil {
		return "", err
	}
	y, problemY, err := parseNumber(option, top, 100, focusRule)
	if err != nil {
		return "", err
	}
	s.Gravity, s.FocusX, s.FocusY = GravityAt, uint8(x), uint8(y)
	return problemX + problemY, nil
}

// parseColor parses six hex digits, or three that are each doubled.
func parseColor(s *Spec, hex string) (problem string, ok bool) {
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
		problem = "a background has six hex digits"
	}
	s.Background = RGB(n[0]<<4|n[1], n[2]<<4|n[3], n[4]<<4|n[5])
	if s.Background == (Color{}) {
		problem = "bgffffff is the default and is left out"
	}
	return problem, true
}

// parseNumber parses the decimal digits of an option, 0 to high. Errors quote rule.
func parseNumber(option, digits string, high int, rule string) (n int, problem string, err error) {
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), rule)
		}
		if n = n*10 + int(c-'0'); n > high {
			return 0, "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), rule)
		}
	}
	if len(digits) > 1 && digits[0] == '0' {
		problem = "numbers have no leading zeros"
	}
	return n, problem, nil
}

// lowerASCII is strings.ToLower for ASCII only: no letter outside ASCII becomes an ASCII one.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func startsWithDigit(s string) bool { return s != "" && '0' <= s[0] && s[0] <= '9' }
