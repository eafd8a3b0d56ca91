package vips

// #include "colour.h"
// #include "vips.h"
import "C"

import (
	"math"
	"runtime"

	"github.com/novasocial/imagetier/resize"
)

// Colours that an original describes by numbers, not by an ICC profile: the code points of AVIF, HEIC
// and PNG (ITU-T H.273), and gAMA and cHRM of PNG.

// described says how samples become linear light of the output's primaries.
type described struct {
	transfer func(v float64) float64 // from 0-1 to linear light, where 1 is the white of SDR
	matrix   [9]float32
	hlg, hdr bool
	full     float64 // the largest sample, if it is not that of 8 or 16 bits
}

// describe returns how the colours of an original become sRGB, or Display P3 if wide is true. It
// returns nil if the original has a profile or is sRGB.
func describe(h resize.Header, wide bool) *described {
	c := h.Colour
	if h.Profile || c == (resize.Colour{}) {
		return nil
	}
	d := &described{transfer: transferOf(c), hlg: c.Transfer == resize.TransferHLG, hdr: c.HDR()}
	from, known := primariesOf(c)
	if d.transfer == nil && !known {
		return nil
	}
	if d.transfer == nil {
		d.transfer = fromSRGB
	}
	to := primaries[1]
	if wide {
		to = primaries[12]
	}
	if from == primaries[1] && isSRGB(d.transfer) && !wide {
		return nil
	}
	for i, v := range toLinear(from).to(to) {
		d.matrix[i] = float32(v)
	}
	if bits := h.BitDepth; (h.Kind == resize.KindAVIF || h.Kind == resize.KindHEIC) && bits > 8 && bits < 16 {
		d.full = float64((int64(1)<<bits - 1) << (16 - bits)) // libvips shifts samples to the left
	}
	return d
}

// convert converts p, which is RGB or greyscale.
func (d *described) convert(b *arena, p picture) (picture, error) {
	p, err := b.step(func(out **C.VipsImage) C.int { return C.tier_rgb(p.image, out) })
	if err == nil {
		p, err = b.memory(p)
	}
	if err != nil {
		return picture{}, err
	}
	samples, full := 256, 255.0
	if p.image.BandFmt == C.VIPS_FORMAT_USHORT {
		samples, full = 1<<16, 65535
		if d.full > 0 {
			full = d.full
		}
	}
	linear := make([]float32, samples)
	for i := range linear {
		linear[i] = float32(d.transfer(min(float64(i)/full, 1)))
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&linear[0])
	pin.Pin(&d.matrix[0])
	with := C.struct_tier_described{
		linear: (*C.float)(&linear[0]), matrix: (*C.float)(&d.matrix[0]), hlg: cBool(d.hlg), tone: cBool(d.hdr),
	}
	return b.step(func(out **C.VipsImage) C.int { return C.tier_describe(with, p.image, out) })
}

// chromaticities are x and y of white, red, green and blue.
type chromaticities [8]float64

const (
	d65x, d65y = 0.3127, 0.3290
	cx, cy     = 0.310, 0.316 // illuminant C
)

// primaries are those of H.273, table 2, by code point.
var primaries = map[int]chromaticities{
	1:  {d65x, d65y, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06},
	4:  {cx, cy, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08},
	5:  {d65x, d65y, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06},
	6:  {d65x, d65y, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070},
	7:  {d65x, d65y, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070},
	8:  {cx, cy, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049},
	9:  {d65x, d65y, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046},
	10: {1. / 3, 1. / 3, 1, 0, 0, 1, 0, 0},
	11: {0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060},
	12: {d65x, d65y, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060},
	22: {d65x, d65y, 0.630, 0.340, 0.295, 0.605, 0.155, 0.077},
}

// primariesOf returns the primaries of c. If c has none, or impossible ones, it returns those of sRGB and
// false.
func primariesOf(c resize.Colour) (chromaticities, bool) {
	if p, ok := primaries[c.Primaries]; ok {
		return p, true
	}
	if c.Chromaticities == ([8]int{}) {
		return primaries[1], false
	}
	var p chromaticities
	same := true
	for i, v := range c.Chromaticities {
		p[i] = float64(v) / 100_000
		same = same && math.Abs(p[i]-primaries[1][i]) < 0.001
	}
	if same || p[1] <= 0 || math.Abs(toLinear(p).determinant()) < 1e-6 {
		return primaries[1], false
	}
	return p, true
}

// A matrix3 has its rows one after the other.
type matrix3 [9]float64

func (a matrix3) times(b matrix3) (c matrix3) {
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c[3*i+j] += a[3*i+k] * b[3*k+j]
			}
		}
	}
	return c
}

func (a matrix3) determinant() float64 {
	return a[0]*(a[4]*a[8]-a[5]*a[7]) - a[1]*(a[3]*a[8]-a[5]*a[6]) + a[2]*(a[3]*a[7]-a[4]*a[6])
}

func (a matrix3) inverse() (b matrix3) {
	d := a.determinant()
	for i := range 3 {
		for j := range 3 {
			r, s, u, v := (j+1)%3, (j+2)%3, (i+1)%3, (i+2)%3
			b[3*i+j] = (a[3*r+u]*a[3*s+v] - a[3*r+v]*a[3*s+u]) / d
		}
	}
	return b
}

// toLinear returns the matrix from linear RGB to XYZ, adapted to D65 with Bradford's matrix.
func toLinear(p chromaticities) matrix3 {
	xyz := func(x, y float64) [3]float64 { return [3]float64{x / y, 1, (1 - x - y) / y} }
	var m matrix3 // columns of red, green and blue, not yet scaled
	for c := range 3 {
		x, y := p[2+2*c], p[3+2*c]
		m[c], m[3+c], m[6+c] = x, y, 1-x-y
	}
	white := xyz(p[0], p[1])
	inverse := m.inverse()
	var scale matrix3
	for c := range 3 {
		scale[4*c] = inverse[3*c]*white[0] + inverse[3*c+1]*white[1] + inverse[3*c+2]*white[2]
	}
	m = m.times(scale)
	bradford := matrix3{0.8951, 0.2664, -0.1614, -0.7502, 1.7135, 0.0367, 0.0389, -0.0685, 1.0296}
	d65 := xyz(d65x, d65y)
	var adapt matrix3
	for c := range 3 {
		cone := func(w [3]float64) float64 { return bradford[3*c]*w[0] + bradford[3*c+1]*w[1] + bradford[3*c+2]*w[2] }
		adapt[4*c] = cone(d65) / cone(white)
	}
	return bradford.inverse().times(adapt).times(bradford).times(m)
}

// to returns the matrix to linear RGB of other primaries.
func (a matrix3) to(p chromaticities) matrix3 { return toLinear(p).inverse().times(a) }

// transferOf returns the function from samples to linear light, or nil if c does not say.
func transferOf(c resize.Colour) func(v float64) float64 {
	power := func(g float64) func(float64) float64 { return func(v float64) float64 { return math.Pow(v, g) } }
	switch c.Transfer { // H.273, table 3
	case 1, 6, 11, 12, 14, 15:
		return func(v float64) float64 {
			if v < 4.5*0.018053968510807 {
				return v / 4.5
			}
			return math.Pow((v+0.09929682680944)/1.09929682680944, 1/0.45)
		}
	case 4:
		return power(2.2)
	case 5:
		return power(2.8)
	case 7:
		return func(v float64) float64 {
			if v < 4*0.022821585529445 {
				return v / 4
			}
			return math.Pow((v+0.111572195921731)/1.111572195921731, 1/0.45)
		}
	case 8:
		return power(1)
	case 9:
		return logarithm(2)
	case 10:
		return logarithm(2.5)
	case 13:
		return fromSRGB
	case resize.TransferPQ:
		return fromPQ
	case 17:
		return func(v float64) float64 { return math.Pow(v, 2.6) * 52.37 / 48 }
	case resize.TransferHLG:
		return fromHLG
	}
	const srgb = 45_455 // 1/2.2: nearly sRGB, and what most encoders write for it
	if c.Gamma == 0 || math.Abs(float64(c.Gamma)/srgb-1) < 0.05 {
		return nil
	}
	return power(100_000 / float64(c.Gamma))
}

// logarithm returns a transfer function of that many decades.
func logarithm(decades float64) func(v float64) float64 {
	return func(v float64) float64 {
		if v <= 0 {
			return 0
		}
		return math.Pow(10, (v-1)*decades)
	}
}

func fromSRGB(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

func isSRGB(f func(v float64) float64) bool { return math.Abs(f(0.5)-fromSRGB(0.5)) < 1e-9 }

// fromPQ is the EOTF of SMPTE ST 2084, relative to the 203 nits that white paper has (ITU-R BT.2408).
func fromPQ(v float64) float64 {
	const m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
	p := math.Pow(v, 1/m2)
	return 10_000 / 203.0 * math.Pow(max(p-c1, 0)/(c2-c3*p), 1/m1)
}

// fromHLG is the inverse OETF of ITU-R BT.2100: light of the scene.
func fromHLG(v float64) float64 {
	const a, b, c = 0.17883277, 0.28466892, 0.55991073
	if v <= 0.5 {
		return v * v / 3
	}
	return (math.Exp((v-c)/a) + b) / 12
}
