package corpus

import (
	"fmt"
	"image"
	"image/color"
	"math"
)

// transparency is the kind of alpha that a scene has.
type transparency int

const (
	opaque transparency = iota
	gradual
	hard // pixels are opaque or transparent
)

func (t transparency) String() string { return [...]string{"", ", alpha", ", hard alpha"}[t] }

// scene returns a picture whose corners have different colours, with a random texture.
func (d *bench) scene(width, height int, alpha transparency) *image.NRGBA {
	var corners [4][3]float64
	for i := range corners {
		for c := range 3 {
			corners[i][c] = 20 + 215*d.Float64()
		}
	}
	waves, phase, strength := 1+3*d.Float64(), 6*d.Float64(), 25*d.Float64()
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		v := (float64(y) + 0.5) / float64(height)
		for x := range width {
			u := (float64(x) + 0.5) / float64(width)
			texture := strength * math.Sin(6.28*waves*u+phase) * math.Cos(6.28*waves*v)
			var p [3]uint8
			for c := range p {
				a := corners[0][c]*(1-u) + corners[1][c]*u
				b := corners[2][c]*(1-u) + corners[3][c]*u
				p[c] = uint8(min(max(a*(1-v)+b*v+texture, 0), 255))
			}
			a := uint8(255)
			switch {
			case alpha == gradual:
				a = uint8(min(max(255*(0.1+u*1.1-0.2*v), 0), 255))
			case alpha == hard && u+v < 0.7:
				a = 0
			}
			m.SetNRGBA(x, y, color.NRGBA{p[0], p[1], p[2], a})
		}
	}
	return m
}

// size returns a random size: mostly small, some of one pixel, some extreme. No side is longer than
// longest, which 0 sets to 30,000.
func (d *bench) size(longest int) (width, height int) {
	if longest == 0 {
		longest = 30_000
	}
	switch d.IntN(24) {
	case 0:
		return 1 + d.IntN(2), 1 + d.IntN(2)
	case 1:
		return 1, 1 + d.IntN(300)
	case 2:
		return 1 + d.IntN(300), 1
	case 3, 4:
		return 2 + d.IntN(15), 2 + d.IntN(15)
	case 5:
		return longest - d.IntN(100), 1 + d.IntN(3)
	case 6:
		return 1 + d.IntN(3), longest - d.IntN(100)
	case 7:
		return 700 + d.IntN(600), 500 + d.IntN(500)
	}
	return 17 + d.IntN(350), 17 + d.IntN(350)
}

func dimensions(m *image.NRGBA) string { return fmt.Sprintf("%dx%d", m.Rect.Dx(), m.Rect.Dy()) }

// grey returns m in shades of grey.
func grey(m *image.NRGBA) *image.NRGBA {
	out := clone(m)
	for i := 0; i < len(out.Pix); i += 4 {
		v := uint8((299*int(out.Pix[i]) + 587*int(out.Pix[i+1]) + 114*int(out.Pix[i+2])) / 1000)
		out.Pix[i], out.Pix[i+1], out.Pix[i+2] = v, v, v
	}
	return out
}
