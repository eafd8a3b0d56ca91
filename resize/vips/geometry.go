package vips

import "github.com/novasocial/imagetier/resize"

// Two frames are used here. The stored frame is that of the pixels as they lie in the
// file; the seen frame is that of the picture after EXIF orientation and the turn of the
// Spec, in which box and gravity are meant. Scaling and cropping happen in the stored
// frame, because pixels can be decoded, scaled and cropped from top to bottom without
// ever being held as a whole there; only the small result is turned.

// A turn is one of the eight ways to lay a picture on itself: degrees clockwise, then,
// if mirror is true, left and right change places.
type turn struct {
	degrees int // 0, 90, 180, 270
	mirror  bool
}

// exifTurns says what turns the stored pixels upright (EXIF 2.32, tag 0x0112), 1-8.
var exifTurns = [9]turn{
	1: {0, false}, 2: {0, true}, 3: {180, false}, 4: {180, true},
	5: {90, true}, 6: {90, false}, 7: {270, true}, 8: {270, false},
}

// turnOf returns what leads from the stored to the seen frame.
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

// then returns the turn that does t and after it u.
func (t turn) then(u turn) turn {
	d := u.degrees
	if t.mirror { // turning a mirrored picture is turning it the other way before it is mirrored
		d = 360 - d
	}
	return turn{(t.degrees + d) % 360, t.mirror != u.mirror}
}

// undo returns the turn that takes t back.
func (t turn) undo() turn {
	if t.mirror {
		return t // a reflection
	}
	return turn{degrees: (360 - t.degrees) % 360}
}

// swaps reports whether width and height change places.
func (t turn) swaps() bool { return t.degrees%180 != 0 }

// size is pixels, each at least 1.
type size struct{ width, height int }

// of returns the size that a picture of size s has after the turn.
func (t turn) of(s size) size {
	if t.swaps() {
		return size{s.height, s.width}
	}
	return s
}

// rect is a part of a picture, in pixels from its top left corner.
type rect struct{ left, top, width, height int }

func (s size) whole() rect { return rect{0, 0, s.width, s.height} }
func (r rect) size() size  { return size{r.width, r.height} }

// ofRect returns where r, a part of a picture of size s, lies after the turn.
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

// A plan says how one Spec is made of one picture, in the order of its fields.
type plan struct {
	scaled size // what the picture is scaled to; stored frame
	crop   rect // what is kept of that; stored frame
	turn   turn // to the seen frame, that of all that follows

	attention size // unless zero: cropped to this size, where the eye goes or faces are
	enlarged  size // unless zero: scaled to this size
	canvas    size // unless zero: put in the middle of a background of this size
}

// planFor plans s for a picture of that size and orientation as stored.
func planFor(s resize.Spec, stored size, orientation int) plan {
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
				// Where to look is found before the picture is enlarged: a long strip that
				// covers a box would have very many pixels in between.
				scaled, p.attention, p.enlarged = seen, largest(seen, out), out
			}
			kept = scaled
		}
	}
	back := p.turn.undo()
	p.scaled, p.crop = back.of(scaled), back.ofRect(cropTo(s, scaled, kept), scaled)
	return p
}

// cover returns the smallest size of the ratio of picture that covers box, one side of
// it exactly.
func cover(picture, box size) size {
	if picture.width*box.height > picture.height*box.width {
		return size{max(box.width, nearest(picture.width*box.height, picture.height)), box.height}
	}
	return size{box.width, max(box.height, nearest(picture.height*box.width, picture.width))}
}

// largest returns the largest part of picture that has the ratio of box.
func largest(picture, box size) size {
	if picture.width*box.height > picture.height*box.width {
		return size{max(1, nearest(picture.height*box.width, box.height)), picture.height}
	}
	return size{picture.width, max(1, nearest(picture.width*box.height, box.width))}
}

// nearest returns a/b, rounded to the nearest.
func nearest(a, b int) int { return (a + b/2) / b }

// cropTo returns the part of the given size that the gravity of s keeps of a picture.
// A focal point comes as near to the middle of it as the edges allow.
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

// around returns where keep of n pixels begin, so that their middle is as near as the
// ends allow to percent of n. What cannot be halved is rounded down.
func around(percent, n, keep int) int {
	twice := 2*percent*n - 100*keep // of hundredths of a pixel
	return min(max(0, twice/200), n-keep)
}

// factor returns by how much the picture is made smaller at least, below 1 if it is
// enlarged in one direction or both.
func (p plan) factor(stored size) float64 {
	return min(float64(stored.width)/float64(p.scaled.width), float64(stored.height)/float64(p.scaled.height))
}
