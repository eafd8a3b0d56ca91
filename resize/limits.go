package resize

import (
	"cmp"
	"fmt"
)

// Limits bound the originals that are decoded. A field that is 0 means its default.
type Limits struct {
	MaxBytes  int64 // size of the file; default 32 MiB
	MaxPixels int64 // width × height, and × frames where all frames are made; default 60 million
	MaxSide   int   // width or height in pixels; default 32,768
	MaxFrames int   // frames that are decoded, of an animation that is kept; default 200
}

// DefaultLimits returns the default limits with every field set.
func DefaultLimits() Limits { return Limits{}.orDefaults() }

func (l Limits) orDefaults() Limits {
	return Limits{
		MaxBytes:  cmp.Or(l.MaxBytes, 32<<20),
		MaxPixels: cmp.Or(l.MaxPixels, 60_000_000),
		MaxSide:   cmp.Or(l.MaxSide, 32_768),
		MaxFrames: cmp.Or(l.MaxFrames, 200),
	}
}

// Check returns nil if an original of size bytes with header h may be decoded, and otherwise an
// error that wraps ErrTooLarge and may be shown to the client. It checks the sides and pixels of
// the largest frame, tile grid or thumbnail that a decoder may have to hold. Frames count only
// where they are decoded: see CheckVariant.
func (l Limits) Check(h Header, size int) error {
	l = l.orDefaults()
	width, height := h.LargestWidth, h.LargestHeight
	switch {
	case int64(size) > l.MaxBytes:
		return tooLarge("it has %d bytes, the limit is %d (--max-original-bytes)", size, l.MaxBytes)
	case width > l.MaxSide || height > l.MaxSide:
		return tooLarge("it is %dx%d pixels, the limit for a side is %d (--max-side)", width, height, l.MaxSide)
	case pixels(width, height, 1) > l.MaxPixels:
		return tooLarge("it is %dx%d pixels, the limit is %.4g megapixels (--max-megapixels)",
			width, height, float64(l.MaxPixels)/1e6)
	}
	return nil
}

// CheckVariant returns nil if making s from an original with header h stays within MaxPixels and
// MaxFrames, and otherwise an error that wraps ErrTooLarge. The output has the same limits as the
// input. Where an animation is kept, all frames count, in the input and in the output; a still
// of the same animation may be allowed.
func (l Limits) CheckVariant(h Header, s Spec) error {
	if s.Shape != ShapeVariant {
		return nil
	}
	l = l.orDefaults()
	frames := 1
	if s.KeepsAnimation() && h.Kind.decodesFrames() {
		frames = h.Frames
	}
	if frames > l.MaxFrames {
		return tooLarge("it has %d frames, the limit is %d (--max-frames)", frames, l.MaxFrames)
	}
	if frames > 1 && pixels(h.LargestWidth, h.LargestHeight, frames) > l.MaxPixels {
		return tooLarge("it is %d frames of %dx%d pixels, the limit is %.4g megapixels in total (--max-megapixels)",
			frames, h.LargestWidth, h.LargestHeight, float64(l.MaxPixels)/1e6)
	}
	if width, height := s.OutputSize(h.Upright()); pixels(width, height, frames) > l.MaxPixels {
		return tooLarge("%s of it would be %d×%dx%d pixels, the limit is %.4g megapixels in total (--max-megapixels)",
			s, frames, width, height, float64(l.MaxPixels)/1e6)
	}
	return nil
}

// decodesFrames reports whether more than the first frame of this kind is decoded.
func (k Kind) decodesFrames() bool { return k == KindGIF || k == KindWebP }

// pixels returns width × height × frames, or the largest int64 if the product overflows.
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

// tooLarge returns a LimitError. Its text names the setting of the tier that raises the limit.
func tooLarge(format string, args ...any) error { return &LimitError{fmt.Sprintf(format, args...)} }

// OutputSize returns the size of the variant of an image that is width by height pixels when
// upright ([Header.Upright]). It ignores Trim, which depends on the pixels.
//
//   - The crop comes first, then rotation, which swaps width and height.
//   - FitInside scales to the largest size that fits in the box, by at most 1 without Up. A side
//     that the box does not have is the longest that the format can hold ([Format.LongestSide]).
//   - FitCover is the box; without Up, where the image is too small to fill the box
//     unscaled, it is the largest crop with the box's aspect ratio.
//   - FitPad is the box, always.
//   - FitExact is the box; without Up no side is larger than that of the image.
//
// Sides are rounded to the nearest pixel, and at least 1.
func (s Spec) OutputSize(width, height int) (int, int) {
	_, _, width, height = s.Crop.Pixels(width, height)
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
	s = s.bounded()
	byWidth := s.Width*height <= s.Height*width
	switch {
	case byWidth && (s.Up || s.Width < width):
		return s.Width, scaled(height, s.Width, width)
	case !byWidth && (s.Up || s.Height < height):
		return scaled(width, s.Height, height), s.Height
	}
	return width, height
}

// bounded returns s with both sides of its box. One that is missing is the longest that the format
// can hold: a long screenshot becomes narrower than its box instead of failing.
func (s Spec) bounded() Spec {
	if s.Width == 0 {
		s.Width = s.Format.LongestSide()
	}
	if s.Height == 0 {
		s.Height = s.Format.LongestSide()
	}
	return s
}

// scaled returns n*by/of, rounded to the nearest integer and at least 1.
func scaled(n, by, of int) int {
	return max(1, (n*by+of/2)/of)
}
