package resize

import (
	"cmp"
	"fmt"
)

// Limits say which originals are too large to be decoded. A field that is 0 means its
// default (CONTRACT 4).
type Limits struct {
	MaxBytes  int64 // of the file; 32 MiB
	MaxPixels int64 // width times height, and times frames where they are all made; 60 million
	MaxSide   int   // width or height in pixels; 32,768
	MaxFrames int   // 200
}

// DefaultLimits returns the defaults, written out.
func DefaultLimits() Limits { return Limits{}.orDefaults() }

func (l Limits) orDefaults() Limits {
	return Limits{
		MaxBytes:  cmp.Or(l.MaxBytes, 32<<20),
		MaxPixels: cmp.Or(l.MaxPixels, 60_000_000),
		MaxSide:   cmp.Or(l.MaxSide, 32_768),
		MaxFrames: cmp.Or(l.MaxFrames, 200),
	}
}

// Check returns nil if an original of size bytes with that header may be decoded, and
// otherwise an error that wraps ErrTooLarge and may be shown to the client. Sides and
// pixels are those of the largest thing that a decoder may have to hold for one frame.
func (l Limits) Check(h Header, size int) error {
	l = l.orDefaults()
	width, height := h.LargestWidth, h.LargestHeight
	switch {
	case int64(size) > l.MaxBytes:
		return tooLarge("it has %d bytes, allowed are %d", size, l.MaxBytes)
	case width > l.MaxSide || height > l.MaxSide:
		return tooLarge("it is %dx%d pixels, a side may have %d", width, height, l.MaxSide)
	case pixels(width, height, 1) > l.MaxPixels:
		return tooLarge("it is %dx%d pixels, allowed are %.4g megapixels", width, height, float64(l.MaxPixels)/1e6)
	case h.Frames > l.MaxFrames:
		return tooLarge("it has %d frames, allowed are %d", h.Frames, l.MaxFrames)
	}
	return nil
}

// CheckVariant returns nil if making s of such an original stays within MaxPixels too, and
// otherwise an error that wraps ErrTooLarge: what is made has no more pixels than an
// original may have, and where an animation is kept all of its frames count, as they are
// read and as they are made. A still of that animation may be allowed all the same.
func (l Limits) CheckVariant(h Header, s Spec) error {
	if s.Shape != ShapeVariant {
		return nil
	}
	l = l.orDefaults()
	frames := 1
	if s.KeepsAnimation() && h.Kind.decodesFrames() {
		frames = h.Frames
	}
	if frames > 1 && pixels(h.LargestWidth, h.LargestHeight, frames) > l.MaxPixels {
		return tooLarge("it is %d frames of %dx%d pixels, allowed are %.4g megapixels in all", frames, h.LargestWidth, h.LargestHeight, float64(l.MaxPixels)/1e6)
	}
	if width, height := s.OutputSize(h.Upright()); pixels(width, height, frames) > l.MaxPixels {
		return tooLarge("%s of it would be %d×%dx%d pixels, allowed are %.4g megapixels in all", s, frames, width, height, float64(l.MaxPixels)/1e6)
	}
	return nil
}

// decodesFrames reports whether our decoders read more than the first frame of the kind.
func (k Kind) decodesFrames() bool { return k == KindGIF || k == KindWebP }

// pixels multiplies without overflow: more than an int64 holds is the most that it holds.
func pixels(width, height, frames int) int64 {
	n := int64(1)
	for _, side := range [...]int{width, height, frames} {
		if side < 1 {
			return 0
		}
		if n > (1<<63-1)/int64(side) {
			return 1<<63 - 1
		}
		n *= int64(side)
	}
	return n
}

// tooLarge returns an error that wraps ErrTooLarge.
func tooLarge(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTooLarge, fmt.Sprintf(format, args...))
}

// OutputSize returns the size of the variant of a picture that is width by height pixels
// when upright (Header.Upright). Trim is not reckoned with: it depends on the pixels.
//
//   - The turn comes first: it changes width and height.
//   - FitInside scales to the largest that fits in the box, by at most 1 without Up.
//   - FitCover is the box; without Up, where the picture is too small to fill the box
//     unscaled, it is the largest crop of the box's ratio.
//   - FitPad is the box, always.
//   - FitExact is the box; without Up each side is at most that of the picture.
//
// Sides are rounded to the nearest pixel, and at least 1.
func (s Spec) OutputSize(width, height int) (int, int) {
	if s.Rotate == 90 || s.Rotate == 270 {
		width, height = height, width
	}
	switch s.Fit {
	case FitPad:
		return s.Width, s.Height
	case FitExact:
		if s.Up {
			return s.Width, s.Height
		}
		return min(s.Width, width), min(s.Height, height)
	case FitCover:
		if s.Up || s.Width <= width && s.Height <= height {
			return s.Width, s.Height
		}
		if width*s.Height > height*s.Width { // wider than the box
			return scaled(height, s.Width, s.Height), height
		}
		return width, scaled(width, s.Height, s.Width)
	}
	byWidth := s.Height == 0 || s.Width != 0 && s.Width*height <= s.Height*width
	switch {
	case byWidth && (s.Up || s.Width < width):
		return s.Width, scaled(height, s.Width, width)
	case !byWidth && (s.Up || s.Height < height):
		return scaled(width, s.Height, height), s.Height
	}
	return width, height
}

// scaled returns n*by/of, rounded to the nearest, at least 1.
func scaled(n, by, of int) int {
	return max(1, (n*by+of/2)/of)
}
