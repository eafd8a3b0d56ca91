package vips

import "github.com/novasocial/imagetier/resize"

// There are two frames of reference. The stored frame is that of the pixels in the file. The seen
// frame is that of the image after EXIF orientation and the rotation of the Spec; box and gravity
// refer to it. Scaling and cropping happen in the stored frame, because there pixels can be
// decoded, scaled and cropped from top to bottom without holding the whole image. Only the small
// result is rotated.

// A turn is one of the eight symmetries of a rectangle: a clockwise rotation, followed by swapping
// left and right if mirror is true.
type turn struct {
	degrees int // 0, 90, 180, 270
	mirror  bool
}

// exifTurns maps an orientation, 1-8, to the turn that makes the image upright (EXIF 2.32, 0x0112).
var exifTurns = [9]turn{
	1: {0, false}, 2: {0, true}, 3: {180, false}, 4: {180, true},
	5: {90, true}, 6: {90, false}, 7: {270, true}, 8: {270, false},
}

// turnOf returns the turn from the stored to the seen frame.
func turnOf(orientation int, s resize.Spec) turn {
	t := exifTurns[orientation].then(turn{degrees: s.Rotate})
	switch s.Mirror {
	case resize.MirrorFlop:
		t = t.then(turn{0, true})
	case resize.MirrorFlip:
		t = t.then(turn{180, true})
	}
	return t
}

// then returns the turn that applies t and then u.
func (t turn) then(u turn) turn {
	d := u.degrees
	if t.mirror { // rotating a mirrored image is mirroring one rotated the other way
		d = 360 - d
	}
	return turn{(t.degrees + d) % 360, t.mirror != u.mirror}
}

// undo returns the inverse of t.
func (t turn) undo() turn {
	if t.mirror {
		return t // a reflection
	}
	return turn{degrees: (360 - t.degrees) % 360}
}

// swaps reports whether t swaps width and height.
func (t turn) swaps() bool { return t.degrees%180 != 0 }

// size is in pixels, each at least 1.
type size struct{ width, height int }

// of returns the size of a picture of size s after the turn.
func (t turn) of(s size) size {
	if t.swaps() {
		return size{s.height, s.width}
	}
	return s
}

// rect is a part of a picture, in pixels from the top left corner.
type rect struct{ left, top, width, height int }

func (s size) whole() rect { return rect{0, 0, s.width, s.height} }
func (r rect) size() size  { return size{r.width, r.height} }

// ofRect returns the position of r, a part of a picture of size s, after the turn.
func (t turn) ofRect(r rect, s size) rect {
	for d := 0; d < t.degrees; d += 90 {
		r = rect{s.height - r.top - r.height, r.left, r.height, r.width}
		s = size{s.height, s.width}
	}
	if t.mirror {
		r.left = s.width - r.left - r.width
	}
	return r
}

// cropped returns the part of an image, with this stored size and orientation, that c keeps; stored
// frame.
func cropped(c resize.Crop, stored size, orientation int) rect {
	upright := exifTurns[orientation].of(stored)
	left, top, width, height := c.Pixels(upright.width, upright.height)
	return exifTurns[orientation].undo().ofRect(rect{left, top, width, height}, upright)
}

// A plan says how one rendering is made from one image, in the order of its fields.
type plan struct {
	scaled size // size to scale to; stored frame
	crop   rect // part to keep; stored frame
	turn   turn // to the seen frame, in which all further steps happen

	attention size // unless zero: crop to this size around faces or the most interesting part
	enlarged  size // unless zero: scale to this size
	canvas    size // unless zero: centre on a background of this size
}

// planFor plans s for the part of an image that s uses, which has this stored size and orientation.
func planFor(s resize.Spec, stored size, orientation int) plan {
	s.Crop = resize.Crop{} // stored is the size after the crop
	p := plan{turn: turnOf(orientation, s)}
	upright := exifTurns[orientation].of(stored)
	width, height := s.OutputSize(upright.width, upright.height)
	out, seen := size{width, height}, p.turn.of(stored)

	scaled, kept := out, out
	switch s.Fit {
	case resize.FitPad:
		inside := s
		inside.Fit = resize.FitInside
		scaled.width, scaled.height = inside.OutputSize(upright.width, upright.height)
		kept, p.canvas = scaled, out
	case resize.FitCover:
		scaled = cover(seen, out)
		if (s.Gravity == resize.GravitySmart || s.Gravity == resize.GravityFace) && scaled != out {
			p.attention = out
			if scaled.width > seen.width {
				// Find the crop before enlarging: the enlarged image of a long strip that covers a
				// box would have very many pixels.
				scaled, p.attention, p.enlarged = seen, largest(seen, out), out
			}
			kept = scaled
		}
	}
	back := p.turn.undo()
	p.scaled, p.crop = back.of(scaled), back.ofRect(cropTo(s, scaled, kept), scaled)
	return p
}

// cover returns the smallest size with picture's aspect ratio that covers box, exactly on one side.
func cover(picture, box size) size {
	if picture.width*box.height > picture.height*box.width {
		return size{max(box.width, nearest(picture.width*box.height, picture.height)), box.height}
	}
	return size{box.width, max(box.height, nearest(picture.height*box.width, picture.width))}
}

// largest returns the size of the largest part of picture with box's aspect ratio.
func largest(picture, box size) size {
	if picture.width*box.height > picture.height*box.width {
		return size{max(1, nearest(picture.height*box.width, box.height)), picture.height}
	}
	return size{picture.width, max(1, nearest(picture.width*box.height, box.width))}
}

// nearest returns a/b, rounded to the nearest integer.
func nearest(a, b int) int { return (a + b/2) / b }

// cropTo returns the part of size keep that the gravity of s keeps of a picture. A focal point is
// as close to its centre as the edges allow.
func cropTo(s resize.Spec, picture, keep size) rect {
	x, y := 50, 50 // percent
	switch s.Gravity {
	case resize.GravityTop:
		y = 0
	case resize.GravityBottom:
		y = 100
	case resize.GravityLeft:
		x = 0
	case resize.GravityRight:
		x = 100
	case resize.GravityAt:
		x, y = int(s.FocusX), int(s.FocusY)
	}
	return rect{around(x, picture.width, keep.width), around(y, picture.height, keep.height), keep.width, keep.height}
}

// around returns the start of keep of n pixels whose centre is as close to percent of n as the ends
// allow, rounded down.
func around(percent, n, keep int) int {
	twice := 2*percent*n - 100*keep // in 1/200 pixels
	return min(max(0, twice/200), n-keep)
}

// factor returns the smaller of the two factors by which the image is scaled down; it is below 1 if
// a side is enlarged.
func (p plan) factor(stored size) float64 {
	return min(float64(stored.width)/float64(p.scaled.width), float64(stored.height)/float64(p.scaled.height))
}
