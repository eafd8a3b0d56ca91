package vips

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// The profile has the values of Display P3: the primaries of DCI-P3, white point D65 adapted to D50
// by Bradford's method, and the curve of sRGB.
func TestDisplayP3_Profile_HasStandardValues(t *testing.T) {
	type matrix [3][3]float64 // rows
	times := func(m matrix, v [3]float64) (out [3]float64) {
		for i := range 3 {
			for j := range 3 {
				out[i] += m[i][j] * v[j]
			}
		}
		return out
	}
	// solve finds x in m·x = v by Cramer's rule.
	det := func(m matrix) float64 {
		return m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) - m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) +
			m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
	}
	solve := func(m matrix, v [3]float64) (x [3]float64) {
		for c := range 3 {
			with := m
			for i := range 3 {
				with[i][c] = v[i]
			}
			x[c] = det(with) / det(m)
		}
		return x
	}
	xyz := func(x, y float64) [3]float64 { return [3]float64{x / y, 1, (1 - x - y) / y} }
	bradford := matrix{{0.8951, 0.2664, -0.1614}, {-0.7502, 1.7135, 0.0367}, {0.0389, -0.0685, 1.0296}}
	d65 := xyz(0.3127, 0.3290)
	white := [3]float64{float64(d50[0]) / 65536, float64(d50[1]) / 65536, float64(d50[2]) / 65536}
	from, to := times(bradford, d65), times(bradford, white)
	adapt := func(v [3]float64) [3]float64 {
		cones := times(bradford, v)
		for i := range 3 {
			cones[i] *= to[i] / from[i]
		}
		return solve(bradford, cones)
	}
	primaries := [3][3]float64{xyz(0.680, 0.320), xyz(0.265, 0.690), xyz(0.150, 0.060)}
	var columns matrix
	for c := range 3 {
		for i := range 3 {
			columns[i][c] = primaries[c][i]
		}
	}
	much := solve(columns, d65)

	number := func(tag string, i int) float64 {
		at := bytes.Index(displayP3, []byte(tag))
		body := displayP3[binary.BigEndian.Uint32(displayP3[at+4:]):]
		return float64(int32(binary.BigEndian.Uint32(body[i:])))
	}
	for c, tag := range []string{"rXYZ", "gXYZ", "bXYZ"} {
		want := adapt([3]float64{much[c] * primaries[c][0], much[c] * primaries[c][1], much[c] * primaries[c][2]})
		for i := range 3 {
			if got := number(tag, 8+4*i); math.Abs(got-65536*want[i]) > 1.5 {
				t.Errorf("%s: number %d is %.0f, want %.1f", tag, i, got, 65536*want[i])
			}
		}
	}
	for i := range 9 {
		unit := [3]float64{}
		unit[i%3] = 1
		got, want := number("chad", 8+4*i), 65536*adapt(unit)[i/3]
		if math.Abs(got-want) > 6 { // Bradford's matrix itself is rounded to four digits
			t.Errorf("chad: number %d is %.0f, want %.1f", i, got, want)
		}
	}
	for i, want := range []float64{2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045} {
		if got := number("gTRC", 12+4*i); math.Abs(got-65536*want) > 0.51 {
			t.Errorf("curve: number %d is %.0f, want %.1f", i, got, 65536*want)
		}
	}
	if n := len(displayP3); n != 492 || int(binary.BigEndian.Uint32(displayP3)) != n {
		t.Errorf("the profile has %d bytes, its header says %d", n, binary.BigEndian.Uint32(displayP3))
	}
}

// The red of a watermark is that of sRGB, on a picture in Display P3 and on one that was converted
// to grey.
func TestWatermark_OnDisplayP3_KeepsColour(t *testing.T) {
	var file bytes.Buffer
	mark := image.NewNRGBA(image.Rect(0, 0, 40, 40))
	for i := range 40 * 40 {
		mark.SetNRGBA(i%40, i/40, color.NRGBA{255, 0, 0, 255})
	}
	if err := png.Encode(&file, mark); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "red.png")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{Watermarks: map[string]string{"red": path}})
	if err != nil {
		t.Fatal(err)
	}
	grey := image.NewGray(image.Rect(0, 0, 200, 200))
	var original bytes.Buffer
	if err := png.Encode(&original, grey); err != nil {
		t.Fatal(err)
	}
	for shape, want := range map[string]color.NRGBA{
		"100x-wm.red":         {255, 0, 0, 255},
		"100x-wm.red-p3":      {234, 51, 35, 255},
		"100x-gray-wm.red-p3": {234, 51, 35, 255},
	} {
		s, err := resize.ParseSpec(shape, "png")
		if err != nil {
			t.Fatal(err)
		}
		images, err := resize.Make(t.Context(), r, original.Bytes(), s)
		if err != nil {
			t.Fatal(err)
		}
		m, err := png.Decode(bytes.NewReader(images[0].Body))
		if err != nil {
			t.Fatal(err)
		}
		got := color.NRGBAModel.Convert(m.At(88, 88)).(color.NRGBA)
		for _, d := range []int{int(got.R) - int(want.R), int(got.G) - int(want.G), int(got.B) - int(want.B)} {
			if max(d, -d) > 3 {
				t.Errorf("%s: it is %v, want %v", shape, got, want)
			}
		}
		if has := bytes.Contains(images[0].Body, []byte("iCCP")); has != s.P3 {
			t.Errorf("%s: profile %v", shape, has)
		}
	}
}
