package corpus

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"math"
)

// An animation is the frames of a file, upright and in sRGB, all of one size. A still has one.
type animation struct {
	frames []*image.NRGBA
	delays []int // milliseconds of each frame; nil for a still
}

func still(m *image.NRGBA) animation { return animation{frames: []*image.NRGBA{m}} }

func (a animation) size() (width, height int) {
	b := a.frames[0].Bounds()
	return b.Dx(), b.Dy()
}

// at returns the frame that is shown at a time in milliseconds.
func (a animation) at(ms int) *image.NRGBA {
	for i, delay := range a.delays {
		if ms < delay {
			return a.frames[i]
		}
		ms -= delay
	}
	return a.frames[len(a.frames)-1]
}

func (a animation) duration() (ms int) {
	for _, delay := range a.delays {
		ms += delay
	}
	return ms
}

// motionless reports whether all frames are equal; encoders make a still of them.
func (a animation) motionless() bool {
	for _, m := range a.frames[1:] {
		if !bytes.Equal(m.Pix, a.frames[0].Pix) {
			return false
		}
	}
	return true
}

// A part is a frame of an animation as it is stored.
type part struct {
	m       *image.NRGBA
	at      image.Point
	delay   int  // milliseconds
	over    bool // drawn over what was there, instead of replacing it
	dispose disposal
}

type disposal int

const (
	keepFrame disposal = iota
	clearFrame
	restoreFrame
)

// composed returns the frames as they are shown on a canvas.
func composed(width, height int, parts []part) (a animation) {
	canvas := image.NewNRGBA(image.Rect(0, 0, width, height))
	for _, p := range parts {
		before := clone(canvas)
		area := p.m.Bounds().Add(p.at)
		op := draw.Src
		if p.over {
			op = draw.Over
		}
		draw.Draw(canvas, area, p.m, p.m.Bounds().Min, op)
		a.frames = append(a.frames, clone(canvas))
		a.delays = append(a.delays, p.delay)
		switch p.dispose {
		case clearFrame:
			draw.Draw(canvas, area, image.Transparent, image.Point{}, draw.Src)
		case restoreFrame:
			canvas = before
		}
	}
	return a
}

func clone(m *image.NRGBA) *image.NRGBA {
	c := *m
	c.Pix = append([]byte(nil), m.Pix...)
	return &c
}

// nrgba returns any image as an NRGBA whose bounds begin at 0, 0.
func nrgba(m image.Image) *image.NRGBA {
	b := m.Bounds()
	if n, ok := m.(*image.NRGBA); ok && b.Min == (image.Point{}) {
		return n
	}
	out := image.NewNRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	for y := range b.Dy() {
		for x := range b.Dx() {
			out.Set(x, y, color.NRGBAModel.Convert(m.At(b.Min.X+x, b.Min.Y+y)))
		}
	}
	return out
}

// oriented returns m with an EXIF orientation applied.
func oriented(m *image.NRGBA, orientation int) *image.NRGBA {
	if orientation <= 1 || orientation > 8 {
		return m
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	size := image.Rect(0, 0, w, h)
	if orientation >= 5 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewNRGBA(size)
	for y := range size.Dy() {
		for x := range size.Dx() {
			fromX, fromY := x, y
			switch orientation {
			case 2:
				fromX = w - 1 - x
			case 3:
				fromX, fromY = w-1-x, h-1-y
			case 4:
				fromY = h - 1 - y
			case 5:
				fromX, fromY = y, x
			case 6:
				fromX, fromY = y, h-1-x
			case 7:
				fromX, fromY = w-1-y, h-1-x
			case 8:
				fromX, fromY = w-1-y, x
			}
			out.SetNRGBA(x, y, m.NRGBAAt(fromX, fromY))
		}
	}
	return out
}

// recoloured returns m after f, which maps samples from 0 to 1.
func recoloured(m *image.NRGBA, f func(rgb [3]float64) [3]float64) *image.NRGBA {
	out := clone(m)
	known := map[[3]byte][3]byte{}
	for i := 0; i < len(out.Pix); i += 4 {
		from := [3]byte(out.Pix[i:])
		to, ok := known[from]
		if !ok {
			v := f([3]float64{float64(from[0]) / 255, float64(from[1]) / 255, float64(from[2]) / 255})
			for c := range to {
				to[c] = uint8(math.Round(255 * min(max(v[c], 0), 1)))
			}
			known[from] = to
		}
		copy(out.Pix[i:], to[:])
	}
	return out
}

// A mean is a mean colour with premultiplied alpha, 0-255.
type mean [4]float64

// means returns the mean colours of across by down areas of m.
func means(m *image.NRGBA, across, down int) []mean {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	out := make([]mean, across*down)
	weights := make([]float64, across*down)
	for y := range h {
		for j := range down {
			wy := overlap(y, h, j, down)
			if wy == 0 {
				continue
			}
			for x := range w {
				p := m.Pix[m.PixOffset(x, y):]
				// A pixel is in at most two areas, unless there are more areas than pixels.
				for i := x * across / w; i < across; i++ {
					wx := overlap(x, w, i, across)
					if wx == 0 {
						break
					}
					cell := &out[j*across+i]
					for c := range 3 {
						cell[c] += wx * wy * float64(p[c]) * float64(p[3]) / 255
					}
					cell[3] += wx * wy * float64(p[3])
					weights[j*across+i] += wx * wy
				}
			}
		}
	}
	for i := range out {
		for c := range out[i] {
			out[i][c] /= weights[i]
		}
	}
	return out
}

// overlap returns how much of pixel x of n lies in area i of parts.
func overlap(x, n, i, parts int) float64 {
	from := max(float64(x)/float64(n), float64(i)/float64(parts))
	to := min(float64(x+1)/float64(n), float64(i+1)/float64(parts))
	if to-from < 1e-12 {
		return 0
	}
	return to - from
}

// onWhite returns m without transparency.
func onWhite(m *image.NRGBA) *image.NRGBA {
	out := clone(m)
	for i := 0; i < len(out.Pix); i += 4 {
		alpha := float64(out.Pix[i+3]) / 255
		for c := range 3 {
			out.Pix[i+c] = uint8(math.Round(float64(out.Pix[i+c])*alpha + 255*(1-alpha)))
		}
		out.Pix[i+3] = 255
	}
	return out
}
