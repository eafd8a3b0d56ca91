package resize

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

// bitString returns bits, most significant first. numbers alternate between a value and its size in
// bits; the size golomb means an Exp-Golomb code.
func bitString(numbers ...int) string {
	var digits strings.Builder
	for i := 0; i < len(numbers); i += 2 {
		v, size := numbers[i], numbers[i+1]
		if size == golomb {
			v++
			for size = 1; v>>size > 0; size++ {
			}
			digits.WriteString(strings.Repeat("0", size-1))
		}
		for bit := size - 1; bit >= 0; bit-- {
			digits.WriteByte('0' + byte(v>>bit&1))
		}
	}
	b := make([]byte, (digits.Len()+7)/8)
	for i, d := range digits.String() {
		b[i>>3] |= byte(d-'0') << (7 - i&7)
	}
	return string(b)
}

const golomb = -1

// spsStart is an SPS up to its block sizes: one sub-layer, 4:2:0, 16x8 pixels of 10 bits.
var spsStart = []int{
	0, 4, 0, 3, 1, 1 /* profile */, 0, 32, 0, 32, 0, 24, 90, 8,
	0, golomb, 1, golomb, 16, golomb, 8, golomb, 0, 1, 2, golomb, 2, golomb, 4, golomb, 1, 1,
	0, golomb, 0, golomb, 0, golomb, 0, golomb, 1, golomb, 0, golomb, 3, golomb, 0, golomb, 0, golomb,
}

// spsOf returns an SPS as a NAL unit.
func spsOf(numbers ...int) string {
	b := bitString(numbers...)
	var out []byte
	for i := range len(b) { // with emulation prevention
		if b[i] <= 3 && bytes.HasSuffix(out, []byte{0, 0}) {
			out = append(out, 3)
		}
		out = append(out, b[i])
	}
	return "\x42\x01" + string(out)
}

// hvcC returns a configuration box with these NAL units. Items have lengths of two bytes.
func hvcC(units ...string) string {
	b := "\x01" + strings.Repeat("\x00", 15) + "\xfd\xfa\xfa\x00\x00\x0d" + string([]byte{byte(len(units))})
	for _, unit := range units {
		b += "\xa1" + u16(1) + u16(len(unit)) + unit
	}
	return box("hvcC", b)
}

func TestReadHeader_CodedColours(t *testing.T) {
	pq := Colour{Primaries: 9, Transfer: 16, Narrow: true}
	p3 := Colour{Primaries: 12, Transfer: 13}
	reduced := func(colours ...int) string {
		return bitString(slices.Concat([]int{
			0, 3, 1, 1, 1, 1, 4, 5, 3, 4, 2, 4, 15, 4, 7, 3, 0, 3, 0, 3, // 16x8 pixels
		}, colours, []int{0, 8})...)
	}
	obu := func(typ byte, body string) string { return string([]byte{typ<<3 | 2, byte(len(body))}) + body }
	av1C := func(obus string) string { return box("av1C", "\x81\x04\x4c\x00"+obus) }
	still := reduced(1, 1, 0, 1, 1, 1, 9, 8, 16, 8, 9, 8, 0, 1)
	// All optional fields: timing, decoder model, two operating points, frame IDs, order hints.
	film := bitString(
		2, 3, 0, 1, 0, 1, 1, 1, 1, 32, 25, 32, 1, 1, 5, golomb, 1, 1, 9, 5, 1, 32, 9, 5, 9, 5, 1, 1, 1, 5,
		1, 12, 8, 5, 0, 1, 1, 1, 1, 10, 2, 10, 0, 1, 1, 1, 3, 4, 2, 12, 4, 5, 0, 1, 0, 1,
		3, 4, 2, 4, 15, 4, 7, 3, 1, 1, 5, 4, 2, 3, 0, 3, 0, 4, 1, 1, 0, 2, 0, 1, 1, 1, 0, 1, 1, 1, 5, 3, 0, 3,
		1, 1, 1, 1, 0, 1, 1, 1, 9, 8, 16, 8, 9, 8, 0, 1)
	vui := []int{1, 1, 1, 1, 255, 8, 1, 16, 1, 16, 1, 1, 0, 1, 1, 1, 5, 3, 0, 1, 1, 1, 9, 8, 16, 8, 9, 8}
	plain := slices.Concat(spsStart, []int{0, 1, 0, 2, 0, 1, 0, golomb, 0, 1, 0, 2}, vui, []int{0, 8})
	lists := []int{1, 1, 1, 1}
	for size := range 4 {
		for range []int{6, 6, 6, 2}[size] {
			lists = append(lists, 1, 1)
			for range []int{16, 64, 65, 65}[size] {
				lists = append(lists, 4, golomb)
			}
		}
	}
	// Scaling lists, PCM, three sets of reference pictures of which one is predicted, long-term ones.
	full := slices.Concat(spsStart, lists, []int{3, 2, 1, 1, 7, 4, 7, 4, 0, golomb, 0, golomb, 1, 1, 3, golomb,
		2, golomb, 1, golomb, 0, golomb, 1, 1, 1, golomb, 1, 1, 3, golomb, 1, 1,
		1, 1, 1, 1, 1, golomb, 1, 1, 1, 1, 0, 2, 1, 1, // -1, -3 and 4 become -2, -3 and -5
		1, 1, 0, 1, 0, golomb, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 2, golomb, 77, 8, 1, 1, 78, 8, 0, 1, 3, 2}, vui, []int{0, 8})
	for _, c := range []struct {
		name, file string
		want       Colour
	}{
		{"AV1, in av1C", heif("avif", "av01", "", "data", ispe(16, 8), av1C(obu(1, still))), pq},
		{"AV1, in the item", heif("avif", "av01", "", obu(2, "")+obu(1, still), ispe(16, 8), av1C("")), pq},
		{"AV1, the last without a size", heif("avif", "av01", "", "\x0c\x00"+still, ispe(16, 8), av1C("")), pq},
		{"AV1 with all optional fields", heif("avif", "av01", "", obu(1, film), ispe(16, 8)), pq},
		{"AV1 of sRGB without a matrix",
			heif("avif", "av01", "", obu(1, reduced(0, 1, 0, 1, 1, 1, 1, 8, 13, 8, 0, 8)), ispe(16, 8)),
			Colour{Primaries: 1, Transfer: 13, Identity: true}},
		{"AV1 without a description", heif("avif", "av01", "", obu(1, reduced(0, 1, 0, 1, 0, 1, 0, 1)), ispe(16, 8)),
			Colour{Narrow: true}},
		{"AV1, truncated", heif("avif", "av01", "", obu(1, still[:6]), ispe(16, 8)), Colour{}},
		{"AV1 and a colr box", heif("avif", "av01", "", obu(1, still), ispe(16, 8),
			box("colr", "nclx"+u16(12)+u16(13)+u16(6)+"\x80")), p3},
		{"HEVC, in hvcC", heif("heic", "hvc1", "", "data", ispe(16, 8), hvcC("\x40\x01video", spsOf(plain...))), pq},
		{"HEVC, in the item", heif("heic", "hev1", "", u16(2)+"\x46\x01"+u16(len(spsOf(plain...)))+spsOf(plain...),
			ispe(16, 8), hvcC()), pq},
		{"HEVC with all optional fields", heif("heic", "hvc1", "", "data", ispe(16, 8), hvcC(spsOf(full...))), pq},
		{"HEVC without VUI", heif("heic", "hvc1", "", "data", ispe(16, 8),
			hvcC(spsOf(slices.Concat(spsStart, []int{0, 1, 0, 2, 0, 1, 0, golomb, 0, 1, 0, 2, 0, 1, 1, 1})...))),
			Colour{Narrow: true}},
		{"HEVC, truncated", heif("heic", "hvc1", "", "data", ispe(16, 8), hvcC(spsOf(plain...)[:30])), Colour{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ReadHeader(slices.Clip([]byte(c.file)))
			if err != nil || h.Colour != c.want {
				t.Errorf("%+v, %v, want %+v", h.Colour, err, c.want)
			}
		})
	}
}

// TestReadHeader_EncodedColours reads what libaom and x265 have written. libheif adds no colr box.
func TestReadHeader_EncodedColours(t *testing.T) {
	for name, want := range map[string]Colour{
		"p3":     {Primaries: 12, Transfer: 13},
		"bt2020": {Primaries: 9, Transfer: 14},
		"pq":     {Primaries: 9, Transfer: 16},
		"hlg":    {Primaries: 9, Transfer: 18},
	} {
		for _, format := range []string{".avif", ".heic"} {
			want.Narrow = format == ".avif" // as make.py has asked the encoders
			b, err := os.ReadFile("resizetest/testdata/colours/" + name + format)
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range [][]byte{b, bytes.Replace(b, []byte("colrnclx"), []byte("freenclx"), 1)} {
				if h, err := ReadHeader(file); err != nil || h.Colour != want {
					t.Errorf("%s%s: %+v, %v, want %+v", name, format, h.Colour, err, want)
				}
			}
		}
	}
}

func FuzzCodedColour(f *testing.F) {
	f.Add([]byte("\x0a\x0a\x18\x14\xbf\xec\x00\x10\xd0\x90\x20\x11\x20"))
	f.Add([]byte("\x00\x20" + spsOf(slices.Concat(spsStart, []int{0, 1, 0, 2, 0, 1, 4, golomb}, make([]int, 200))...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b)
		for _, read := range []func(b []byte) (Colour, bool){
			av1Colour,
			func(b []byte) (Colour, bool) { return hevcItemColour(b, 2) },
			func(b []byte) (Colour, bool) { return hevcConfigColour(append(make([]byte, 22), b...)) },
		} {
			if c, found := read(b); !found && c != (Colour{}) {
				t.Errorf("%+v", c)
			}
		}
	})
}
