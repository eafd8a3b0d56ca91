package resizetest

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/novasocial/imagetier/resize"
)

// describedColours: colours that a file describes by numbers equal those of a file with the
// corresponding profile.
func describedColours(t *testing.T, r resize.Resizer) {
	picture := scene(240, 180)
	numbers := func(values ...int) (b []byte) {
		for _, v := range values {
			b = append(b, be32(uint32(v))...)
		}
		return b
	}
	cicp := func(primaries, transfer byte) []byte { return pngChunk("cICP", []byte{primaries, transfer, 0, 1}) }
	gamma := func(v int) []byte { return pngChunk("gAMA", numbers(v)) }
	adobe := pngChunk("cHRM", numbers(31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000))
	for _, c := range []struct {
		name   string
		chunks [][]byte
		like   []byte // an ICC profile
	}{
		{"gAMA of 1", [][]byte{gamma(100_000)}, iccProfile(srgb, 1, "")},
		{"gAMA of 1.8", [][]byte{gamma(55_556)}, iccProfile(srgb, 1.8, "")},
		{"gAMA and cHRM", [][]byte{gamma(45_455), adobe}, iccProfile(adobeRGB, 2.2, "")},
		{"sRGB before gAMA", [][]byte{pngChunk("sRGB", []byte{0}), gamma(100_000)}, iccProfile(srgb, 2.2, "")},
		{"P3 and a gamma of 2.2", [][]byte{cicp(12, 4)}, iccProfile(displayP3, 2.2, "")},
		{"P3 and a gamma of 2.8", [][]byte{cicp(12, 5)}, iccProfile(displayP3, 2.8, "")},
		{"linear P3", [][]byte{cicp(12, 8)}, iccProfile(displayP3, 1, "")},
		{"P3 and sRGB's curve", [][]byte{cicp(12, 13)}, iccProfile(displayP3, 2.2, "")},
		{"cICP before gAMA", [][]byte{gamma(100_000), cicp(12, 13)}, iccProfile(displayP3, 2.2, "")},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := readProfile(c.like)
			if err != nil {
				t.Fatal(err)
			}
			// Opaque, and with alpha.
			for _, m := range []raster{picture, veiled(picture)} {
				original := inPNG(pngOf(t, m.image()), c.chunks...)
				near(t, r, one(t, r, original, "120x.png"), want(p.toSRGB(m), spec(t, "120x.png")), 32)
			}
		})
	}
	t.Run("grey", func(t *testing.T) {
		m := image.NewGray(image.Rect(0, 0, 20, 20))
		draw.Draw(m, m.Rect, image.NewUniform(color.Gray{64}), image.Point{}, draw.Src)
		got := decode(t, r, one(t, r, inPNG(pngOf(t, m), gamma(100_000)), "20x.png")).At(5, 5)
		if v := color.GrayModel.Convert(got).(color.Gray).Y; v < 135 || v > 139 { // a quarter of the light is 137
			t.Errorf("grey %d, want 137 +- 2", v)
		}
	})
	for name, c := range map[string]struct {
		transfer byte
		white    float64 // the sample of 203 nits
	}{"PQ": {16, 0.5807}, "HLG": {18, 0.75}} {
		t.Run(name, func(t *testing.T) {
			m := image.NewNRGBA64(image.Rect(0, 0, 64, 4))
			for x := range 64 {
				v := uint16(65535 * c.white * float64(x) / 48)
				for y := range 4 {
					m.SetNRGBA64(x, y, color.NRGBA64{v, v, v, 65535})
				}
			}
			got := decode(t, r, one(t, r, inPNG(pngOf(t, m), cicp(9, c.transfer)), "64x.png"))
			last := uint8(0)
			for x := range 64 {
				p := color.NRGBAModel.Convert(got.At(x, 1)).(color.NRGBA)
				if p.G < last || max(p.R, p.G, p.B)-min(p.R, p.G, p.B) > 1 {
					t.Errorf("sample %d is %v after %d", x, p, last)
				}
				last = p.G
				if x == 0 && p.G > 0 || x == 48 && (p.G < 225 || p.G > 240) || x == 63 && p.G < 240 {
					t.Errorf("sample %d is %v", x, p)
				}
			}
		})
	}
}

// promises: a variant as AVIF or HEIC has the colours, alpha and orientation that it declares.
func promises(t *testing.T, r resize.Resizer) {
	picture := scene(160, 120)
	glass := veiled(picture)
	for _, format := range []string{"avif", "heic"} {
		t.Run(format, func(t *testing.T) {
			whole := encoded(t, r, glass.image(), format)
			turned := inHEIF(t, whole, 1, box("irot", []byte{1}))
			near(t, r, one(t, r, turned, "8192x.png"), glass.turned(8), 30)
			mirrored := inHEIF(t, whole, 1, box("imir", []byte{1}))
			near(t, r, one(t, r, mirrored, "8192x.png"), glass.turned(2), 30)
			clap := bytes.Join([][]byte{
				be32(100), be32(1), be32(80), be32(1), be32(1<<32 - 10), be32(1), be32(4), be32(1),
			}, nil)
			part := newRaster(100, 80).fill(func(x, y int) [4]float64 { return glass.at(x+20, y+24) })
			near(t, r, one(t, r, inHEIF(t, whole, 1, box("clap", clap)), "8192x.png"), part, 30)

			multiplied := newRaster(160, 120).fill(func(x, y int) [4]float64 {
				p := glass.at(x, y)
				for c := range 3 {
					p[c] *= p[3]
				}
				return p
			})
			prem := inIref(t, encoded(t, r, multiplied.image(), format), box("prem", []byte{0, 1, 0, 1, 0, 2}))
			near(t, r, one(t, r, prem, "8192x.png"), glass, 30)

			two := encodedWithCredit(t, r, picture, format)
			at := bytes.Index(two, []byte("cdsc"))
			if at < 0 || two[at+7] != 1 {
				t.Fatal("the variant has no metadata item")
			}
			from := two[at+4 : at+6]
			two = inIref(t, two, append(append([]byte{0, 0, 0, 16, 'c', 'd', 's', 'c'}, from...), 0, 2, 0, 1, 0, 1))
			copy(two[at:], "free")
			near(t, r, one(t, r, two, "8192x.png"), picture, 29)
		})
	}
	t.Run("colours of an AVIF", func(t *testing.T) {
		p, err := readProfile(iccProfile(displayP3, 2.2, ""))
		if err != nil {
			t.Fatal(err)
		}
		colr := box("colr", []byte("nclx\x00\x0c\x00\x0d\x00\x06\x80"))
		whole := inHEIF(t, encoded(t, r, picture.image(), "avif"), 1, colr)
		if at := bytes.Index(whole, []byte("nclx")); at >= 0 { // written by the encoder
			copy(whole[at+4:], "\x00\x0c\x00\x0d")
		}
		near(t, r, one(t, r, whole, "80x.png"), want(p.toSRGB(picture), spec(t, "80x.png")), 30)
	})
}

// narrowGreys are AVIFs of 64x8 pixels, from black at the left to white at the right, with 8 and 10 bits:
// monochrome, with 16 for black (avifenc -y 400 -r limited).
var narrowGreys = []string{
	"AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGli" +
		"YXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEUAAAAMQAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAA" +
		"AAEAAGF2MDFDb2xvcgAAAABoaXBycAAAAElpcGNvAAAAFGlzcGUAAAAAAAAAQAAAAAgAAAAOcGl4aQAAAAABCAAAAAxhdjFDgQAc" +
		"AAAAABNjb2xybmNseAABAA0ABgAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAADltZGF0EgAKCBgUv+wwENBiMiMRgAABAMz+eLB5" +
		"Bl4SEGBKWuicyAXCxx/8vy9mQsi+TF6//A==",
	"AAAAHGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZgAAAPBtZXRhAAAAAAAAAChoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAbGli" +
		"YXZpZgAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAEUAAAAMgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAA" +
		"AAEAAGF2MDFDb2xvcgAAAABoaXBycAAAAElpcGNvAAAAFGlzcGUAAAAAAAAAQAAAAAgAAAAOcGl4aQAAAAABCgAAAAxhdjFDgQBc" +
		"AAAAABNjb2xybmNseAABAA0ABgAAAAAXaXBtYQAAAAAAAAABAAEEAQKDBAAAADptZGF0EgAKCBgUv+xwENBiMiQRgAghALgps388" +
		"/17WS4ZnV3wexw6dqB3wOIy3lf0kU9sAWhM=",
}

// ranges: black is 0 and white 255, also where an AVIF or PNG says that they are 16 and 235.
func ranges(t *testing.T, r resize.Resizer) {
	expected := newRaster(64, 8).fill(func(x, y int) [4]float64 {
		v := float64(x) / 63
		return [4]float64{v, v, v, 1}
	})
	for _, text := range narrowGreys {
		file, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		near(t, r, one(t, r, file, "8192x.png"), expected, 35)
	}
	identity, err := colourFiles.ReadFile("testdata/colours/identity.avif") // red, green and blue without a matrix
	if err != nil {
		t.Fatal(err)
	}
	near(t, r, one(t, r, identity, "8192x.png"), expected, 35)
	narrow := newRaster(64, 8).fill(func(x, y int) [4]float64 {
		v := (16 + 219*float64(x)/63) / 255
		return [4]float64{v, v, v, 1}
	})
	file := inPNG(pngOf(t, narrow.image()), pngChunk("cICP", []byte{1, 13, 0, 0}))
	near(t, r, one(t, r, file, "8192x.png"), expected, 35)
}

func encodedWithCredit(t *testing.T, r resize.Resizer, m raster, format string) []byte {
	t.Helper()
	exif := resize.Credit{Author: "A", Copyright: "C"}.EXIF()
	return one(t, r, inPNG(pngOf(t, m.image()), pngChunk("eXIf", exif)), "8192x8192-credit-q90."+format).Body
}

func box(typ string, body []byte) []byte {
	return append(append(be32(uint32(8+len(body))), typ...), body...)
}

// boxAt returns the offset of the first box at a path.
func boxAt(t *testing.T, file []byte, path ...string) (at int) {
	t.Helper()
	end := len(file)
	for _, typ := range path {
		for string(file[at+4:at+8]) != typ {
			if at += int(binary.BigEndian.Uint32(file[at:])); at >= end {
				t.Fatalf("the file has no %s box", typ)
			}
		}
		end = at + int(binary.BigEndian.Uint32(file[at:]))
		if at += 8; typ == "meta" || typ == "iref" {
			at += 4
		}
	}
	return at
}

// grow inserts b into a file at the end of the innermost box of path, or at the given offset unless
// it is 0, and adjusts the item offsets, which libheif writes with four bytes.
func grow(t *testing.T, file []byte, at int, b []byte, path ...string) []byte {
	t.Helper()
	out := bytes.Clone(file)
	for i := range path {
		body := boxAt(t, file, path[:i+1]...)
		head := bytes.LastIndex(file[:body], []byte(path[i])) - 4
		size := binary.BigEndian.Uint32(out[head:])
		if i == len(path)-1 && at == 0 {
			at = head + int(size)
		}
		binary.BigEndian.PutUint32(out[head:], size+uint32(len(b)))
	}
	iloc := boxAt(t, file, "meta", "iloc")
	version, entry := out[iloc], iloc+8
	for range binary.BigEndian.Uint16(out[iloc+6:]) {
		base := entry + 4
		if version == 1 {
			base += 2
		}
		n := int(binary.BigEndian.Uint16(out[base+4:]))
		if out[iloc+4] != 0x44 || out[iloc+5]>>4 != 4 {
			t.Fatal("another layout of iloc")
		}
		binary.BigEndian.PutUint32(out[base:], binary.BigEndian.Uint32(out[base:])+uint32(len(b)))
		entry = base + 6 + 8*n
	}
	return append(append(out[:at:at], b...), out[at:]...)
}

// inIref adds a reference.
func inIref(t *testing.T, file, reference []byte) []byte {
	return grow(t, file, 0, reference, "meta", "iref")
}

// inHEIF adds a property to an item of a file that libheif wrote.
func inHEIF(t *testing.T, file []byte, item int, property []byte) []byte {
	t.Helper()
	ipco := boxAt(t, file, "meta", "iprp", "ipco")
	end, n := ipco-8+int(binary.BigEndian.Uint32(file[ipco-8:])), 1
	for at := ipco; at < end; n++ {
		at += int(binary.BigEndian.Uint32(file[at:]))
	}
	file = grow(t, file, 0, property, "meta", "iprp", "ipco")
	at := boxAt(t, file, "meta", "iprp", "ipma") + 8
	for int(binary.BigEndian.Uint16(file[at:])) != item {
		at += 3 + int(file[at+2])
	}
	file = bytes.Clone(file)
	file[at+2]++
	return grow(t, file, at+2+int(file[at+2]), []byte{byte(n)}, "meta", "iprp", "ipma")
}

// tiffSamples tests sample formats and alpha of TIFF.
func tiffSamples(t *testing.T, r resize.Resizer) {
	picture := scene(163, 121)
	t.Run("premultiplied alpha", func(t *testing.T) {
		glass := veiled(picture)
		m := image.NewRGBA(image.Rect(0, 0, 163, 121))
		draw.Draw(m, m.Rect, glass.image(), image.Point{}, draw.Src)
		var b bytes.Buffer
		if err := tiff.Encode(&b, m, nil); err != nil {
			t.Fatal(err)
		}
		if h, err := resize.ReadHeader(b.Bytes()); err != nil || !h.Premultiplied {
			t.Fatalf("%+v, %v", h, err)
		}
		near(t, r, one(t, r, b.Bytes(), "80x.png"), want(glass, spec(t, "80x.png")), 33)
	})
	float := func(v float64) []byte {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v)))
	}
	for _, c := range []struct {
		name         string
		bits, format int
		colours      int
		sample       func(v float64) []byte
	}{
		{"float", 32, 3, 1, float},
		{"float colours", 32, 3, 3, float},
		{"float colours, premultiplied", 32, 3, 4, float},
		{"32 bits, premultiplied", 32, 1, 4, func(v float64) []byte {
			return binary.LittleEndian.AppendUint32(nil, uint32(v*(1<<32-1)))
		}},
		{"16 bits, premultiplied", 16, 1, 4, func(v float64) []byte {
			return binary.LittleEndian.AppendUint16(nil, uint16(v*65535))
		}},
		{"32 bits", 32, 1, 3, func(v float64) []byte {
			return binary.LittleEndian.AppendUint32(nil, uint32(v*(1<<32-1)))
		}},
		{"16 bits", 16, 1, 1, func(v float64) []byte {
			return binary.LittleEndian.AppendUint16(nil, uint16(v*65535))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			expected := picture
			switch c.colours {
			case 4:
				expected = veiled(picture)
			case 1:
				expected = newRaster(163, 121).fill(func(x, y int) [4]float64 {
					v := picture.at(x, y)[1]
					return [4]float64{v, v, v, 1}
				})
			}
			var data []byte
			for _, p := range expected.pix {
				for i := range c.colours {
					data = append(data, c.sample(p[i])...)
				}
			}
			file := sampleTIFF(163, 121, c.bits, c.format, c.colours, data)
			near(t, r, one(t, r, file, "80x.png"), want(expected, spec(t, "80x.png")), 33)
		})
	}
}

// tiffLab tests Lab with 8 and 16 bits, at full size and scaled.
func tiffLab(t *testing.T, r resize.Resizer) {
	// L of 48 %, a of -8 and 11 of b is (107, 117, 95) in sRGB.
	olive := rasterOf(decode(t, r, one(t, r, tiffOfSamples(1, 1, 8, 1, 3, 8, []byte{122, 248, 11}), "1x.png")))
	for i, v := range []float64{107, 117, 95} {
		if got := 255 * olive.at(0, 0)[i]; math.Abs(got-v) > 2 {
			t.Errorf("sample %d is %.0f, want %.0f", i, got, v)
		}
	}
	red := map[int][]byte{8: {135, 80, 67}, 16: {0x33, 0x87, 0, 80, 0, 67}} // L of 0-100 %, signed a and b
	for bits, pixel := range red {
		file := tiffOfSamples(40, 30, bits, 1, 3, 8, bytes.Repeat(pixel, 40*30))
		for _, name := range []string{"40x.png", "20x.png"} {
			m := rasterOf(decode(t, r, one(t, r, file, name)))
			if p := m.at(5, 5); p[0] < 0.95 || p[1] > 0.1 || p[2] > 0.1 {
				t.Errorf("%d bits, %s: %.2f, want red", bits, name, p)
			}
		}
	}
}

// tiffExtraSamples tests grey with two extra samples, of which the first is alpha.
func tiffExtraSamples(t *testing.T, r resize.Resizer) {
	file := tiffOfSamples(40, 30, 8, 1, 3, 1, bytes.Repeat([]byte{200, 128, 7}, 40*30))
	for name, want := range map[string][4]float64{
		"20x.png":      {100. / 255, 100. / 255, 100. / 255, 128. / 255}, // premultiplied
		"20x-trim.jpg": {228. / 255, 228. / 255, 228. / 255, 1},          // on white
	} {
		got := rasterOf(decode(t, r, one(t, r, file, name))).at(5, 5)
		for i := range got {
			if math.Abs(got[i]-want[i]) > 0.01 {
				t.Errorf("%s: %.2f, want %.2f", name, got, want)
				break
			}
		}
	}
}

// tiffPhotometric tests that colours which libvips would take for RGB or grey are refused.
func tiffPhotometric(t *testing.T, r resize.Resizer) {
	for _, c := range []struct {
		photometric, samples int
		want                 error
	}{
		{4, 1, resize.ErrUnsupported}, {9, 3, resize.ErrUnsupported}, {10, 3, resize.ErrUnsupported},
		{32803, 1, resize.ErrUnsupported}, {34892, 3, resize.ErrUnsupported}, {513, 1, resize.ErrUnsupported},
		{5, 3, resize.ErrCorrupt}, {8, 2, resize.ErrCorrupt},
	} {
		file := tiffOfSamples(4, 4, 8, 1, c.samples, c.photometric, make([]byte, 16*c.samples))
		if _, err := resize.Make(t.Context(), r, file, spec(t, "4x.png")); !errors.Is(err, c.want) {
			t.Errorf("interpretation %d of %d samples: %v, want %v", c.photometric, c.samples, err, c.want)
		}
	}
}

// sampleTIFF is a TIFF of one strip, of grey, RGB or premultiplied RGB and alpha.
func sampleTIFF(w, h, bits, format, colours int, data []byte) []byte {
	photometric := 1
	if colours >= 3 {
		photometric = 2
	}
	return tiffOfSamples(w, h, bits, format, colours, photometric, data)
}

// tiffOfSamples is a TIFF of one strip. A fourth sample is premultiplied alpha.
func tiffOfSamples(w, h, bits, format, colours, photometric int, data []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte("II*\x00"), uint32(8+len(data)))
	b = append(b, data...)
	entries := [][2]int{
		{256, w}, {257, h}, {258, bits}, {259, 1}, {262, photometric}, {273, 8}, {277, colours}, {278, h},
		{279, len(data)}, {339, format},
	}
	if colours == 4 {
		entries = slices.Insert(entries, 9, [2]int{338, 1})
	}
	b = le.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = le.AppendUint32(le.AppendUint16(le.AppendUint16(b, uint16(e[0])), 4), 1)
		b = le.AppendUint32(b, uint32(e[1]))
	}
	return append(b, 0, 0, 0, 0)
}

// trims: a border looks like the corner, and trimming removes nothing thin or small in the picture.
func trims(t *testing.T, r resize.Resizer) {
	black, white := color.NRGBA{0, 0, 0, 255}, color.NRGBA{255, 255, 255, 255}
	square, large := image.Rect(60, 50, 140, 130), image.Pt(200, 200)
	rects := func(r ...image.Rectangle) []image.Rectangle { return r }
	for _, c := range []struct {
		name       string
		background color.NRGBA
		paint      []image.Rectangle
		size, want image.Point
	}{
		{"black on transparent black", color.NRGBA{}, rects(square), large, image.Pt(80, 80)},
		{"black on transparent white", color.NRGBA{255, 255, 255, 0}, rects(square), large, image.Pt(80, 80)},
		{"a dot", white, rects(square, image.Rect(190, 60, 191, 61)), large, image.Pt(131, 80)},
		{"a thin line", white, rects(square, image.Rect(60, 20, 140, 21)), large, image.Pt(80, 110)},
		{"2x17", white, rects(image.Rect(0, 1, 2, 16)), image.Pt(2, 17), image.Pt(2, 15)},
		{"one pixel", black, nil, image.Pt(1, 1), image.Pt(1, 1)},
		{"one colour", black, nil, image.Pt(30, 20), image.Pt(30, 20)},
		{"nothing but transparency", color.NRGBA{}, nil, image.Pt(30, 20), image.Pt(30, 20)},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := image.NewNRGBA(image.Rectangle{Max: c.size})
			draw.Draw(m, m.Rect, image.NewUniform(c.background), image.Point{}, draw.Src)
			for _, part := range c.paint {
				draw.Draw(m, part, image.NewUniform(black), image.Point{}, draw.Src)
			}
			img := one(t, r, pngOf(t, m), "300x-trim.png")
			if got := image.Pt(img.Width, img.Height); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
	t.Run("a line in a photo that is shrunk", func(t *testing.T) {
		m := image.NewNRGBA(image.Rect(0, 0, 1600, 1200))
		draw.Draw(m, m.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(m, image.Rect(400, 300, 1200, 900), image.NewUniform(black), image.Point{}, draw.Src)
		draw.Draw(m, image.Rect(200, 100, 202, 900), image.NewUniform(black), image.Point{}, draw.Src)
		img := one(t, r, jpegOf(t, m), "100x-trim.png")
		if got := fmt.Sprintf("%dx%d", img.Width, img.Height); got != "100x80" {
			t.Error(got)
		}
	})
}
