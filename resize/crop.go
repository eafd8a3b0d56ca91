package resize

import (
	"fmt"
	"strconv"
	"strings"
)

// cropUnit is the length of a side of the upright original in a Crop: thousandths.
const cropUnit = 1000

// Crop is the part of the upright original that a variant is made from, in thousandths of the
// original's sides: Left and Width of its width, Top and Height of its height. Left + Width and
// Top + Height are at most 1000. The zero Crop is the whole original.
type Crop struct{ Left, Top, Width, Height uint16 }

// wholeCrop is the spelled-out default.
var wholeCrop = Crop{Width: cropUnit, Height: cropUnit}

// ParseCrop parses a crop as it is spelled in a URL, with or without the leading crop:
// "100x50x800x900". "" is the whole original. The error wraps ErrSpec.
func ParseCrop(text string) (Crop, error) {
	if text == "" {
		return Crop{}, nil
	}
	var s Spec
	if _, err := parseCrop(&s, text, strings.TrimPrefix(text, "crop")); err != nil {
		return Crop{}, err
	}
	if s.Crop == wholeCrop {
		return Crop{}, nil
	}
	return s.Crop, s.Crop.check()
}

// MarshalText returns c as ParseCrop reads it: "" for the whole original.
func (c Crop) MarshalText() ([]byte, error) {
	if c == (Crop{}) {
		return nil, nil
	}
	return c.append(nil)[len("crop"):], nil
}

// UnmarshalText parses what ParseCrop does.
func (c *Crop) UnmarshalText(text []byte) (err error) {
	*c, err = ParseCrop(string(text))
	return err
}

// Pixels returns the part of an upright image of width by height pixels: its left, top, width
// and height, each edge rounded to the nearest pixel and each side at least 1.
func (c Crop) Pixels(width, height int) (left, top, w, h int) {
	if c == (Crop{}) {
		return 0, 0, width, height
	}
	left, w = cropSide(c.Left, c.Width, width)
	top, h = cropSide(c.Top, c.Height, height)
	return left, top, w, h
}

// cropSide returns where a part of a side of n pixels starts, and its length.
func cropSide(start, length uint16, n int) (from, size int) {
	nearest := func(edge int) int { return (edge*n + cropUnit/2) / cropUnit }
	from = min(nearest(int(start)), n-1)
	return from, max(1, nearest(int(start)+int(length))-from)
}

func (c Crop) check() error {
	if c == (Crop{}) {
		return nil
	}
	if c.Width == 0 || c.Height == 0 || c.Left+c.Width > cropUnit || c.Top+c.Height > cropUnit ||
		max(c.Left, c.Top, c.Width, c.Height) > cropUnit {
		return fmt.Errorf("%w: %s: %s", ErrSpec, c.append(nil), cropRule)
	}
	return nil
}

func (c Crop) append(b []byte) []byte {
	b = strconv.AppendUint(append(b, "crop"...), uint64(c.Left), 10)
	for _, n := range [...]uint16{c.Top, c.Width, c.Height} {
		b = strconv.AppendUint(append(b, 'x'), uint64(n), 10)
	}
	return b
}

// parseCrop parses the digits of an option such as crop100x50x800x900.
func parseCrop(s *Spec, option, digits string) (problem string, err error) {
	var sides [4]uint16
	for i := range sides {
		side, rest, more := strings.Cut(digits, "x")
		if side == "" || more != (i < len(sides)-1) {
			return "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), cropRule)
		}
		n, p, err := parseNumber(option, side, cropUnit, cropRule)
		if err != nil {
			return "", err
		}
		sides[i] = uint16(n)
		problem += p
		digits = rest
	}
	s.Crop = Crop{Left: sides[0], Top: sides[1], Width: sides[2], Height: sides[3]}
	if s.Crop.Width == 0 || s.Crop.Height == 0 { // else crop0x0x0x0 would be no crop
		return "", fmt.Errorf("%w: %s: %s", ErrSpec, quote(option), cropRule)
	}
	return problem, nil
}
