package resizetest

import (
	"encoding/binary"
	"errors"
	"math"
)

// ICC profiles (ICC.1:2010, version 2) with three primaries and a gamma, as cameras use them. They
// are written, read and applied here without a colour library.

// A profile converts coded red, green and blue to XYZ under D50, the columns of m.
type profile struct {
	m     [3][3]float64
	curve func(v float64) float64
}

// primaries are the red, green and blue of a colour space under D50, as in its profile.
var (
	displayP3 = [3][3]float64{{0.51512, 0.24120, -0.00105}, {0.29198, 0.69225, 0.04189}, {0.15710, 0.06657, 0.78407}}
	adobeRGB  = [3][3]float64{{0.60974, 0.31111, 0.01947}, {0.20528, 0.62567, 0.06087}, {0.14919, 0.06322, 0.74457}}
	srgb      = [3][3]float64{{0.43607, 0.22249, 0.01392}, {0.38515, 0.71687, 0.09708}, {0.14307, 0.06061, 0.71410}}
)

// iccProfile returns a profile with these primaries and gamma. note is its description and its
// copyright.
func iccProfile(primaries [3][3]float64, gamma float64, note string) []byte {
	type tag struct {
		name string
		body []byte
	}
	desc := append([]byte("desc\x00\x00\x00\x00"), be32(uint32(len(note)+1))...)
	desc = append(desc, note...)
	desc = append(desc, make([]byte, 1+4+4+2+1+67)...)
	curve := append([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"),
		byte(int(gamma*256+0.5)>>8), byte(int(gamma*256+0.5)), 0, 0)
	tags := []tag{
		{"desc", desc}, {"cprt", append([]byte("text\x00\x00\x00\x00"+note), 0)},
		{"wtpt", xyz([3]float64{0.9642, 1, 0.8249})},
		{"rXYZ", xyz(primaries[0])}, {"gXYZ", xyz(primaries[1])}, {"bXYZ", xyz(primaries[2])},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	head := make([]byte, 128)
	copy(head[8:], "\x02\x40\x00\x00mntrRGB XYZ ")
	copy(head[36:], "acsp")
	copy(head[68:], xyz([3]float64{0.9642, 1, 0.8249})[8:])
	table, bodies := be32(uint32(len(tags))), []byte(nil)
	at := 128 + 4 + 12*len(tags)
	for _, t := range tags {
		for len(t.body)%4 != 0 {
			t.body = append(t.body, 0)
		}
		table = append(append(append(table, t.name...), be32(uint32(at+len(bodies)))...), be32(uint32(len(t.body)))...)
		bodies = append(bodies, t.body...)
	}
	all := append(append(head, table...), bodies...)
	binary.BigEndian.PutUint32(all, uint32(len(all)))
	return all
}

func xyz(v [3]float64) []byte {
	b := []byte("XYZ \x00\x00\x00\x00")
	for _, c := range v {
		b = append(b, be32(uint32(int32(math.Round(c*65536))))...)
	}
	return b
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

var errProfile = errors.New("no profile of primaries and a curve")

// readProfile parses a profile with primaries and one curve, parametric or a gamma.
func readProfile(b []byte) (profile, error) {
	find := func(name string) []byte {
		for i := range int(binary.BigEndian.Uint32(b[128:])) {
			e := b[132+12*i:]
			if string(e[:4]) == name {
				at, n := binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:])
				return b[at : at+n]
			}
		}
		return nil
	}
	fixed := func(b []byte) float64 { return float64(int32(binary.BigEndian.Uint32(b))) / 65536 }
	var p profile
	for c, name := range [...]string{"rXYZ", "gXYZ", "bXYZ"} {
		t := find(name)
		if len(t) < 20 {
			return profile{}, errProfile
		}
		for i := range 3 {
			p.m[c][i] = fixed(t[8+4*i:])
		}
	}
	switch t := find("gTRC"); {
	case len(t) >= 14 && string(t[:4]) == "curv" && binary.BigEndian.Uint32(t[8:]) == 1:
		gamma := float64(binary.BigEndian.Uint16(t[12:])) / 256
		p.curve = func(v float64) float64 { return math.Pow(v, gamma) }
	case len(t) >= 32 && string(t[:4]) == "para" && t[9] == 3:
		g, a, b, c, d := fixed(t[12:]), fixed(t[16:]), fixed(t[20:]), fixed(t[24:]), fixed(t[28:])
		p.curve = func(v float64) float64 {
			if v >= d {
				return math.Pow(a*v+b, g)
			}
			return c * v
		}
	case len(t) > 12 && string(t[:4]) == "curv":
		n := int(binary.BigEndian.Uint32(t[8:]))
		p.curve = func(v float64) float64 {
			i := int(v*float64(n-1) + 0.5)
			return float64(binary.BigEndian.Uint16(t[12+2*i:])) / 65535
		}
	default:
		return profile{}, errProfile
	}
	return p, nil
}

// toSRGB converts a picture, pixel by pixel, by relative colorimetry.
func (p profile) toSRGB(r raster) raster { return p.to(srgb, r) }

// to converts to the colour space with these primaries and the curve of sRGB.
func (p profile) to(primaries [3][3]float64, r raster) raster {
	back := inverse(primaries)
	var linear [256]float64
	for i := range linear {
		linear[i] = p.curve(float64(i) / 255)
	}
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 {
		in := r.at(x, y)
		if in[3] == 0 {
			return in
		}
		var via, out [3]float64
		for c := range 3 {
			v := linear[to8(in[c]/in[3])]
			for i := range 3 {
				via[i] += p.m[c][i] * v
			}
		}
		for c := range 3 {
			for i := range 3 {
				out[i] += back[c][i] * via[c]
			}
		}
		for c := range 3 {
			in[c] = encodeSRGB(min(max(out[c], 0), 1)) * in[3]
		}
		return in
	})
}

// inverse of a matrix whose columns are m[0], m[1], m[2].
func inverse(m [3][3]float64) (inv [3][3]float64) {
	cofactor := func(a, b int) float64 {
		a1, a2, b1, b2 := (a+1)%3, (a+2)%3, (b+1)%3, (b+2)%3
		return m[a1][b1]*m[a2][b2] - m[a1][b2]*m[a2][b1]
	}
	det := m[0][0]*cofactor(0, 0) + m[0][1]*cofactor(0, 1) + m[0][2]*cofactor(0, 2)
	for a := range 3 {
		for b := range 3 {
			inv[b][a] = cofactor(a, b) / det
		}
	}
	return inv
}
