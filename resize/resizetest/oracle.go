package resizetest

import (
	"math"

	"github.com/novasocial/imagetier/resize"
)

// scene returns a picture without symmetry: gradients, a dark corner at the top left, a light bar
// at the bottom, a coloured disc right of the centre.
func scene(w, h int) raster {
	return newRaster(w, h).fill(func(x, y int) [4]float64 {
		u, v := (float64(x)+0.5)/float64(w), (float64(y)+0.5)/float64(h)
		p := [4]float64{0.15 + 0.7*u, 0.2 + 0.6*v, 0.5 + 0.3*math.Sin(7*u+4*v), 1}
		blend := func(by float64, red, green, blue float64) {
			by = min(max(by, 0), 1)
			for c, v := range [...]float64{red, green, blue} {
				p[c] += by * (v - p[c])
			}
		}
		const soft = 12 // edges have a width of 1/12 of the picture
		blend(soft*(0.35-max(u, v)), 0.08, 0.05, 0.1)
		blend(soft*(v-0.85), 0.95, 0.9, 0.85)
		blend(soft*(0.16-math.Hypot(u-0.7, v-0.4)), 0.9, 0.15, 0.1)
		return p
	})
}

// veiled returns r with alpha that decreases from right to left.
func veiled(r raster) raster {
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		p, alpha := r.at(x, y), math.Pow(float64(x)/float64(r.w-1), 0.7)
		for c := range p {
			p[c] *= alpha
		}
		return p
	})
}

// want applies s to an upright picture with its own filters and order of steps, independently
// of the code under test. It does not support trim, smart, face, sharp and watermarks.
func want(r raster, s resize.Spec) raster {
	width, height := s.OutputSize(r.w, r.h)
	if c := s.Crop; c != (resize.Crop{}) {
		r = r.part(float64(c.Left)/1000, float64(c.Top)/1000, float64(c.Width)/1000, float64(c.Height)/1000)
		s.Crop = resize.Crop{}
	}
	switch s.Rotate {
	case 90:
		r = r.turned(6)
	case 180:
		r = r.turned(3)
	case 270:
		r = r.turned(8)
	}
	switch s.Mirror {
	case resize.MirrorFlip:
		r = r.turned(4)
	case resize.MirrorFlop:
		r = r.turned(2)
	}
	switch s.Fit {
	case resize.FitCover:
		r = r.resampled(covered(r, s, width, height), width, height)
	case resize.FitPad:
		r = padded(r, s)
	default:
		r = r.resampled(r.whole(), width, height)
	}
	if s.Gray {
		r = r.gray()
	}
	if s.Blur > 0 {
		r = r.blurred(float64(s.Blur))
	}
	if s.Format == resize.JPEG {
		r = r.on(s.Background.RGB())
	}
	return r
}

// part returns a part of r; its arguments are fractions of the sides of r.
func (r raster) part(left, top, width, height float64) raster {
	from := func(fraction float64, n int) int { return int(math.Round(fraction * float64(n))) }
	x0, x1 := from(left, r.w), from(left+width, r.w)
	y0, y1 := from(top, r.h), from(top+height, r.h)
	return newRaster(x1-x0, y1-y0).fill(func(x, y int) [4]float64 { return r.at(x0+x, y0+y) })
}

// covered returns the part of r that fills the box.
func covered(r raster, s resize.Spec, width, height int) frame {
	w, h := float64(r.w), float64(r.h)
	f := frame{w: min(w, h*float64(width)/float64(height)), h: min(h, w*float64(height)/float64(width))}
	x, y := 0.5, 0.5
	switch s.Gravity {
	case resize.GravityTop:
		y = 0
	case resize.GravityBottom:
		y = 1
	case resize.GravityLeft:
		x = 0
	case resize.GravityRight:
		x = 1
	case resize.GravityAt:
		x, y = float64(s.FocusX)/100, float64(s.FocusY)/100
	}
	f.left = min(max(x*w-f.w/2, 0), w-f.w)
	f.top = min(max(y*h-f.h/2, 0), h-f.h)
	return f
}

// padded centres r in the box, on the background.
func padded(r raster, s resize.Spec) raster {
	inside := s
	inside.Fit, inside.Rotate = resize.FitInside, 0
	w, h := inside.OutputSize(r.w, r.h)
	small := r.resampled(r.whole(), w, h).on(s.Background.RGB())
	red, green, blue := s.Background.RGB()
	left, top := (s.Width-w)/2, (s.Height-h)/2
	return newRaster(s.Width, s.Height).fill(func(x, y int) [4]float64 {
		if x < left || y < top || x >= left+w || y >= top+h {
			return [4]float64{float64(red) / 255, float64(green) / 255, float64(blue) / 255, 1}
		}
		return small.at(x-left, y-top)
	})
}
