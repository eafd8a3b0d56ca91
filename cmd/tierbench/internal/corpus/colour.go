package corpus

import (
	"encoding/binary"
	"math"
)

// A space is a colour space of three primaries and a power function.
type space struct {
	name  string
	d50   [3][3]float64 // XYZ of red, green and blue under D50, as in an ICC profile
	gamma float64
}

var spaces = []space{
	{"Display P3", [3][3]float64{
		{0.51512, 0.24120, -0.00105}, {0.29198, 0.69225, 0.04189}, {0.15710, 0.06657, 0.78407},
	}, 2.2},
	{"Adobe RGB", [3][3]float64{
		{0.60974, 0.31111, 0.01947}, {0.20528, 0.62567, 0.06087}, {0.14919, 0.06322, 0.74457},
	}, 2.2},
	{"linear sRGB", srgb, 1},
	{"sRGB with gamma 1.8", srgb, 1.8},
}

var srgb = [3][3]float64{{0.43607, 0.22249, 0.01392}, {0.38515, 0.71687, 0.09708}, {0.14307, 0.06061, 0.71410}}

// toSRGB converts samples of s to sRGB.
func (s space) toSRGB(rgb [3]float64) [3]float64 {
	var xyz [3]float64
	for c, v := range rgb {
		for i := range xyz {
			xyz[i] += math.Pow(v, s.gamma) * s.d50[c][i]
		}
	}
	linear := solve(srgb, xyz)
	for c, v := range linear {
		linear[c] = encodeSRGB(v)
	}
	return linear
}

// solve returns v such that the columns m times v is xyz.
func solve(m [3][3]float64, xyz [3]float64) (v [3]float64) {
	det := func(a, b, c [3]float64) float64 {
		return a[0]*(b[1]*c[2]-b[2]*c[1]) - b[0]*(a[1]*c[2]-a[2]*c[1]) + c[0]*(a[1]*b[2]-a[2]*b[1])
	}
	all := det(m[0], m[1], m[2])
	return [3]float64{det(xyz, m[1], m[2]) / all, det(m[0], xyz, m[2]) / all, det(m[0], m[1], xyz) / all}
}

func encodeSRGB(v float64) float64 {
	if v <= 0.0031308 {
		return 12.92 * v
	}
	return 1.055*math.Pow(v, 1/2.4) - 0.055
}

func decodeSRGB(v float64) float64 {
	if v <= 0.04045 {
		return v / 12.92
	}
	return math.Pow((v+0.055)/1.055, 2.4)
}

// profile returns an ICC profile of s, version 2.
func (s space) profile() []byte {
	be := binary.BigEndian
	xyz := func(v [3]float64) []byte {
		b := []byte("XYZ \x00\x00\x00\x00")
		for _, x := range v {
			b = be.AppendUint32(b, uint32(int32(math.Round(x*65536))))
		}
		return b
	}
	note := s.name + "\x00"
	desc := be.AppendUint32([]byte("desc\x00\x00\x00\x00"), uint32(len(note)))
	desc = append(append(desc, note...), make([]byte, 78)...)
	curve := be.AppendUint16([]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01"), uint16(math.Round(s.gamma*256)))
	white := [3]float64{0.9642, 1, 0.8249}
	tags := []struct {
		name string
		body []byte
	}{
		{"desc", desc}, {"cprt", []byte("text\x00\x00\x00\x00none\x00")}, {"wtpt", xyz(white)},
		{"rXYZ", xyz(s.d50[0])}, {"gXYZ", xyz(s.d50[1])}, {"bXYZ", xyz(s.d50[2])},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	head := make([]byte, 128)
	copy(head[8:], "\x02\x40\x00\x00mntrRGB XYZ ")
	copy(head[36:], "acsp")
	copy(head[68:], xyz(white)[8:])
	index, bodies := be.AppendUint32(nil, uint32(len(tags))), []byte(nil)
	start := 128 + 4 + 12*len(tags)
	for _, t := range tags {
		index = append(index, t.name...)
		index = be.AppendUint32(index, uint32(start+len(bodies)))
		index = be.AppendUint32(index, uint32(len(t.body)))
		bodies = append(bodies, t.body...)
		bodies = append(bodies, make([]byte, -len(t.body)&3)...)
	}
	all := append(append(head, index...), bodies...)
	be.PutUint32(all, uint32(len(all)))
	return all
}

// exif returns an EXIF block with an orientation.
func exif(orientation int, big bool) []byte {
	var order binary.AppendByteOrder = binary.LittleEndian
	b := []byte("II*\x00")
	if big {
		order, b = binary.BigEndian, []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 1)
	b = order.AppendUint16(order.AppendUint16(b, 0x0112), 3)
	b = order.AppendUint16(order.AppendUint32(b, 1), uint16(orientation))
	return append(b, 0, 0, 0, 0, 0, 0)
}
