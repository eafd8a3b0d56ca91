package resizetest

import (
	"image"
	"image/color"
	"math"
)

// A raster is a picture of the oracle: premultiplied red, green, blue and alpha of each pixel, 0-1.
type raster struct {
	w, h int
	pix  [][4]float64
}

func newRaster(w, h int) raster { return raster{w, h, make([][4]float64, w*h)} }

func (r raster) at(x, y int) [4]float64 { return r.pix[y*r.w+x] }

// fill sets every pixel.
func (r raster) fill(f func(x, y int) [4]float64) raster {
	for y := range r.h {
		for x := range r.w {
			r.pix[y*r.w+x] = f(x, y)
		}
	}
	return r
}

// rasterOf converts an image of the standard library.
func rasterOf(m image.Image) raster {
	b := m.Bounds()
	return newRaster(b.Dx(), b.Dy()).fill(func(x, y int) [4]float64 {
		red, green, blue, alpha := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
		return [4]float64{float64(red) / 65535, float64(green) / 65535, float64(blue) / 65535, float64(alpha) / 65535}
	})
}

// image returns r as an image of the standard library.
func (r raster) image() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, r.w, r.h))
	for y := range r.h {
		for x := range r.w {
			p := r.at(x, y)
			a := p[3]
			if a == 0 {
				continue
			}
			m.SetNRGBA(x, y, color.NRGBA{to8(p[0] / a), to8(p[1] / a), to8(p[2] / a), to8(a)})
		}
	}
	return m
}

func to8(v float64) uint8 { return uint8(math.Round(255 * min(max(v, 0), 1))) }

// turned returns r, which is stored with EXIF orientation o (1-8), upright.
func (r raster) turned(o int) raster {
	w, h := r.w, r.h
	if o >= 5 {
		w, h = h, w
	}
	return newRaster(w, h).fill(func(x, y int) [4]float64 {
		// The tag is defined by the positions of row 0 and column 0 (EXIF 2.32, 4.6.4 A).
		switch o {
		case 2:
			return r.at(r.w-1-x, y)
		case 3:
			return r.at(r.w-1-x, r.h-1-y)
		case 4:
			return r.at(x, r.h-1-y)
		case 5:
			return r.at(y, x)
		case 6:
			return r.at(y, r.h-1-x)
		case 7:
			return r.at(r.w-1-y, r.h-1-x)
		case 8:
			return r.at(r.w-1-y, x)
		}
		return r.at(x, y)
	})
}

// stored is the inverse of turned.
func (r raster) stored(o int) raster {
	switch o {
	case 6:
		o = 8
	case 8:
		o = 6
	} // the other transformations are their own inverse
	return r.turned(o)
}

// A frame is a part of a picture, in fractional pixels.
type frame struct{ left, top, w, h float64 }

// resampled returns the part f of r at another size, with a triangle filter that is as wide as the
// larger of a pixel of the result and a pixel of r.
func (r raster) resampled(f frame, w, h int) raster {
	rows := newRaster(w, r.h)
	for x := range w {
		each(f.left, f.w/float64(w), x, r.w, func(from int, weight float64) {
			for y := range r.h {
				addTo(&rows.pix[y*w+x], r.at(from, y), weight)
			}
		})
	}
	out := newRaster(w, h)
	for y := range h {
		each(f.top, f.h/float64(h), y, r.h, func(from int, weight float64) {
			for x := range w {
				addTo(&out.pix[y*w+x], rows.at(x, from), weight)
			}
		})
	}
	return out
}

// each calls use with the pixels of a line of n pixels that contribute to pixel i of the result.
// scale is pixels of the line per pixel of the result, start is where the result begins.
func each(start, scale float64, i, n int, use func(from int, weight float64)) {
	middle, radius := start+(float64(i)+0.5)*scale, max(scale, 1)
	weigh := func(k int) float64 { return max(0, 1-math.Abs(float64(k)+0.5-middle)/radius) }
	first, last, sum := int(math.Floor(middle-radius)), int(math.Ceil(middle+radius)), 0.0
	for k := first; k <= last; k++ {
		sum += weigh(k)
	}
	for k := first; k <= last; k++ {
		if weight := weigh(k); weight > 0 {
			use(min(max(k, 0), n-1), weight/sum)
		}
	}
}

func addTo(p *[4]float64, q [4]float64, weight float64) {
	for c := range p {
		p[c] += q[c] * weight
	}
}

func (r raster) whole() frame { return frame{0, 0, float64(r.w), float64(r.h)} }

// on composes r over a background.
func (r raster) on(red, green, blue uint8) raster {
	under := [3]float64{float64(red) / 255, float64(green) / 255, float64(blue) / 255}
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		p := r.at(x, y)
		for c := range under {
			p[c] += (1 - p[3]) * under[c]
		}
		p[3] = 1
		return p
	})
}

// psnr returns the peak signal-to-noise ratio of a and b in decibels: 99 if they are equal. Alpha
// counts like a colour.
func psnr(a, b raster) float64 {
	sum := 0.0
	for i := range a.pix {
		for c := range 4 {
			d := a.pix[i][c] - b.pix[i][c]
			sum += d * d
		}
	}
	if sum == 0 {
		return 99
	}
	return min(99, 10*math.Log10(float64(4*len(a.pix))/sum))
}

// blurred is r after a Gaussian blur of that sigma, with edges extended.
func (r raster) blurred(sigma float64) raster {
	radius := int(math.Ceil(3 * sigma))
	line := func(at func(k int) [4]float64) (p [4]float64) {
		sum := 0.0
		for k := -radius; k <= radius; k++ {
			weight := math.Exp(-float64(k*k) / (2 * sigma * sigma))
			addTo(&p, at(k), weight)
			sum += weight
		}
		for c := range p {
			p[c] /= sum
		}
		return p
	}
	rows := newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		return line(func(k int) [4]float64 { return r.at(min(max(x+k, 0), r.w-1), y) })
	})
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		return line(func(k int) [4]float64 { return rows.at(x, min(max(y+k, 0), r.h-1)) })
	})
}

// gray is r with the luminance of each pixel (IEC 61966-2-1) in all three colours.
func (r raster) gray() raster {
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		p := r.at(x, y)
		if p[3] == 0 {
			return p
		}
		v := encodeSRGB(0.2126*linearSRGB(p[0]/p[3])+0.7152*linearSRGB(p[1]/p[3])+0.0722*linearSRGB(p[2]/p[3])) * p[3]
		return [4]float64{v, v, v, p[3]}
	})
}

// linearSRGB and encodeSRGB are the transfer functions of IEC 61966-2-1.
func linearSRGB(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

func encodeSRGB(v float64) float64 {
	if v <= 0.0031308 {
		return 12.92 * max(v, 0)
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}
