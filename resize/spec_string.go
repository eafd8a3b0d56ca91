package resize

import "strconv"

// The spelling of Specs: options joined by "-", in a fixed order, defaults left out.
// spec_string.go writes it and spec_parse.go parses it.

// maxShape exceeds the length in bytes of the longest canonical shape (135).
const maxShape = 160

var (
	fitNames     = [...]string{FitInside: "inside", FitCover: "cover", FitPad: "pad", FitExact: "exact"}
	gravityNames = [...]string{
		GravityCentre: "centre", GravitySmart: "smart", GravityFace: "face", GravityTop: "top",
		GravityBottom: "bottom", GravityLeft: "left", GravityRight: "right", GravityAt: "at",
	}
)

// AppendShape appends what String returns to b, without allocating.
func (s Spec) AppendShape(b []byte) []byte {
	switch s.Shape {
	case ShapeOriginal:
		return append(b, "orig"...)
	case ShapeInfo:
		return append(b, "info"...)
	case ShapeMezzanine:
		return appendSide(append(b, mezzaninePrefix...), s.Width)
	}
	b = appendSide(b, s.Width)
	b = append(b, 'x')
	b = appendSide(b, s.Height)
	if s.Fit != FitInside {
		b = append(b, '-')
		b = append(b, fitNames[s.Fit]...)
	}
	if s.Gravity != GravityCentre {
		b = append(b, '-')
		b = append(b, gravityNames[s.Gravity]...)
		if s.Gravity == GravityAt {
			b = strconv.AppendUint(b, uint64(s.FocusX), 10)
			b = append(b, 'x')
			b = strconv.AppendUint(b, uint64(s.FocusY), 10)
		}
	}
	if s.Up {
		b = append(b, "-up"...)
	}
	if s.Crop != (Crop{}) {
		b = s.Crop.append(append(b, '-'))
	}
	if s.Trim {
		b = append(b, "-trim"...)
	}
	if s.Rotate != 0 {
		b = strconv.AppendInt(append(b, "-rot"...), int64(s.Rotate), 10)
	}
	switch s.Mirror {
	case MirrorFlip:
		b = append(b, "-flip"...)
	case MirrorFlop:
		b = append(b, "-flop"...)
	}
	return s.appendAppearance(b)
}

// appendAppearance appends the options that do not change geometry, from gray to quality.
func (s Spec) appendAppearance(b []byte) []byte {
	if s.Gray {
		b = append(b, "-gray"...)
	}
	if s.Blur != 0 {
		b = strconv.AppendUint(append(b, "-blur"...), uint64(s.Blur), 10)
	}
	if s.Sharp {
		b = append(b, "-sharp"...)
	}
	if s.Background != (Color{}) {
		red, green, blue := s.Background.RGB()
		b = append(b, "-bg"...)
		for _, c := range [...]uint8{red, green, blue} {
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
	}
	if s.Watermark != "" {
		b = append(append(b, "-wm."...), s.Watermark...)
	}
	if s.Still {
		b = append(b, "-still"...)
	}
	if s.Credit {
		b = append(b, "-credit"...)
	}
	if s.P3 {
		b = append(b, "-p3"...)
	}
	if s.Quality != 0 {
		b = strconv.AppendInt(append(b, "-q"...), int64(s.Quality), 10)
	}
	return b
}

const hexDigits = "0123456789abcdef"

func appendSide(b []byte, side int) []byte {
	if side == 0 {
		return b
	}
	return strconv.AppendInt(b, int64(side), 10)
}
