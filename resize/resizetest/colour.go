package resizetest

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// samples: 1, 8 and 16 bits, a palette, grey with and without alpha, CMYK.
func samples(t *testing.T, r resize.Resizer) {
	picture := scene(160, 120)
	paint := func(m interface{ Set(x, y int, c color.Color) }) {
		nrgba := picture.image()
		for y := range 120 {
			for x := range 160 {
				m.Set(x, y, nrgba.At(x, y))
			}
		}
	}
	grey := image.NewGray(image.Rect(0, 0, 160, 120))
	deep := image.NewNRGBA64(image.Rect(0, 0, 160, 120))
	deepGrey := image.NewGray16(image.Rect(0, 0, 160, 120))
	palette := image.NewPaletted(image.Rect(0, 0, 160, 120), color.Palette{
		color.Black, color.White, color.NRGBA{200, 30, 30, 255}, color.NRGBA{}, color.NRGBA{60, 120, 180, 255},
	})
	bits := image.NewPaletted(image.Rect(0, 0, 160, 120), color.Palette{color.Black, color.White})
	paint(grey)
	paint(deep)
	paint(deepGrey)
	paint(palette)
	paint(bits)
	for name, m := range map[string]image.Image{
		"grey": grey, "16 bits": deep, "16 bits of grey": deepGrey, "a palette": palette, "one bit": bits,
	} {
		for _, form := range []string{"80x.png", "80x.jpg", "80x.webp"} {
			t.Run(name+", "+form, func(t *testing.T) {
				near(t, r, one(t, r, pngOf(t, m), form), want(rasterOf(m), spec(t, form)), 27)
			})
		}
	}
	t.Run("grey JPEG", func(t *testing.T) {
		for _, form := range []string{"80x.png", "80x.jpg", "80x.webp", "80x.avif"} {
			near(t, r, one(t, r, jpegOf(t, grey), form), want(rasterOf(grey), spec(t, form)), 32)
		}
	})
	t.Run("grey JPEG on a coloured pad", func(t *testing.T) {
		const name = "100x100-pad-bgff8800.png"
		near(t, r, one(t, r, jpegOf(t, grey), name), want(rasterOf(grey), spec(t, name)), 32)
	})
	// Without a profile inks have no exact red, green and blue, so the test only checks the
	// dominant colours.
	for name, c := range map[string]struct {
		ink  [4]byte // cyan, magenta, yellow, black: 255 is all of it
		like func(r, g, b float64) bool
	}{
		"paper is white": {
			[4]byte{0, 0, 0, 0},
			func(r, g, b float64) bool { return min(r, g, b) > 0.97 },
		},
		"black is dark": {
			[4]byte{0, 0, 0, 255},
			func(r, g, b float64) bool { return max(r, g, b) < 0.3 },
		},
		"cyan is cyan": {
			[4]byte{255, 0, 0, 0},
			func(r, g, b float64) bool { return r < 0.35 && g > 0.5 && b > 0.7 },
		},
		"yellow is that": {
			[4]byte{0, 0, 255, 0},
			func(r, g, b float64) bool { return r > 0.9 && g > 0.8 && b < 0.35 },
		},
		"magenta is that": {
			[4]byte{0, 255, 0, 0},
			func(r, g, b float64) bool { return r > 0.7 && g < 0.35 && b > 0.3 },
		},
	} {
		t.Run("CMYK: "+name, func(t *testing.T) {
			img := one(t, r, inkJPEG(c.ink), "16x.png")
			p := rasterOf(decode(t, r, img)).at(8, 8)
			if !c.like(p[0], p[1], p[2]) {
				t.Errorf("colour %.2f %.2f %.2f", p[0], p[1], p[2])
			}
		})
	}
}

// inkJPEG is a JPEG of 32x32 pixels of one colour in four inks, inverted as Adobe's are.
func inkJPEG(ink [4]byte) []byte {
	b := []byte{0xff, 0xd8}
	b = append(b, segment(0xee, "Adobe\x00\x64\x00\x00\x00\x00\x00")...)
	b = append(b, segment(0xdb, "\x00", string(bytes.Repeat([]byte{8}, 64)))...)
	b = append(b, segment(0xc0, "\x08\x00\x20\x00\x20\x04\x01\x11\x00\x02\x11\x00\x03\x11\x00\x04\x11\x00")...)
	// Differences of 0 and of 7 or 8 bits as codes 00, 01, 10; "end of block" as 0.
	b = append(b, segment(0xc4, "\x00\x00\x03", string(make([]byte, 14)), "\x00\x07\x08")...)
	b = append(b, segment(0xc4, "\x10\x01", string(make([]byte, 15)), "\x00")...)
	b = append(b, segment(0xda, "\x04\x01\x00\x02\x00\x03\x00\x04\x00\x00\x3f\x00")...)
	var bits []byte
	put := func(v, n int) {
		for n--; n >= 0; n-- {
			bits = append(bits, byte(v>>n&1))
		}
	}
	for block := range 16 {
		for c := range 4 {
			dc := int(255-ink[c]) - 128 // divided by the quantiser's step and the transform's gain
			switch {
			case block > 0 || dc == 0:
				put(0, 2)
			case dc > 0:
				put(1, 2)
				put(dc, 7)
			case dc > -128:
				put(1, 2)
				put(dc+127, 7)
			default:
				put(2, 2)
				put(dc+255, 8)
			}
			put(0, 1)
		}
	}
	for len(bits)%8 != 0 {
		bits = append(bits, 1)
	}
	for i := 0; i < len(bits); i += 8 {
		v := byte(0)
		for _, bit := range bits[i : i+8] {
			v = v<<1 | bit
		}
		if b = append(b, v); v == 0xff {
			b = append(b, 0)
		}
	}
	return append(b, 0xff, 0xd9)
}

func profiles(t *testing.T, r resize.Resizer) {
	picture := scene(240, 180)
	plain := jpegOf(t, picture.image())
	for _, c := range []struct {
		name string
		icc  []byte
	}{
		{"Display P3", iccProfile(displayP3, 2.2, "P3")},
		{"Adobe RGB", iccProfile(adobeRGB, 563.0/256, "Adobe")},
		{"sRGB", iccProfile(srgb, 2.2, "sRGB")},
	} {
		p, err := readProfile(c.icc)
		if err != nil {
			t.Fatal(err)
		}
		expected := p.toSRGB(picture)
		for name, dB := range map[string]float64{
			"120x.png": 33, "120x.jpg": 31, "120x.webp": 30, "120x.avif": 30, "90x90-cover-left.png": 30,
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				near(t, r, one(t, r, withProfile(plain, c.icc), name), want(expected, spec(t, name)), dB)
			})
		}
		if got := psnr(expected, picture); c.name != "sRGB" && got > 30 {
			t.Errorf("%s: a picture that is not converted is within %.1f dB: this would show nothing", c.name, got)
		}
	}
	t.Run("a PNG with alpha", func(t *testing.T) {
		glass := veiled(picture)
		icc := iccProfile(displayP3, 2.2, "P3")
		p, err := readProfile(icc)
		if err != nil {
			t.Fatal(err)
		}
		original := inPNG(pngOf(t, glass.image()), pngChunk("iCCP", append([]byte("P3\x00\x00"), deflated(icc)...)))
		near(t, r, one(t, r, original, "120x.png"), want(p.toSRGB(glass), spec(t, "120x.png")), 32)
	})
	t.Run("a broken profile is ignored", func(t *testing.T) {
		icc := iccProfile(displayP3, 2.2, "P3")
		for _, broken := range [][]byte{
			icc[:150],
			bytes.Repeat([]byte("x"), 400),
			append([]byte(nil), icc[:len(icc)-40]...),
		} {
			img := one(t, r, withProfile(plain, broken), "120x.png")
			if img.Width != 120 {
				t.Errorf("%d pixels wide", img.Width)
			}
		}
	})
}

// photoColours converts whole photos by their own profile, and compares. That takes twelve
// megapixels in floating point for each, so short runs use half of the photos.
func photoColours(t *testing.T, r resize.Resizer) {
	names := []string{"phone-p3-b.jpg", "phone-orient6-p3.jpg", "phone-portrait-p3.jpg", "progressive-p3.jpg"}
	if testing.Short() {
		names = names[:2]
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			original := testutil.Photo(t, name)
			p, err := readProfile(profileOf(original))
			if err != nil {
				t.Fatal(err)
			}
			h, err := resize.ReadHeader(original)
			if err != nil {
				t.Fatal(err)
			}
			m, err := jpeg.Decode(bytes.NewReader(original))
			if err != nil {
				t.Fatal(err)
			}
			// Scaled first and converted afterwards, since the opposite order takes minutes.
			// Filters change details, so the colours of blocks of ten pixels are compared.
			s := spec(t, "640x640.png")
			small := quarter(m).turned(h.Orientation)
			width, height := s.OutputSize(h.Upright())
			blocks := func(r raster) raster { return r.resampled(r.whole(), width/10, height/10) }
			stripped := small.resampled(small.whole(), width, height)
			converted := p.toSRGB(stripped)
			got := blocks(rasterOf(decode(t, r, one(t, r, original, "640x640.png"))))
			right, wrong := psnr(got, blocks(converted)), psnr(got, blocks(stripped))
			t.Logf("%.1f dB from the converted picture, %.1f from one whose profile is stripped", right, wrong)
			if right < 45 || right < wrong+3 {
				t.Errorf("the variant is %.1f dB from the converted picture, %.1f from one whose profile is stripped",
					right, wrong)
			}
		})
	}
}

// quarter scales m down by the means of 4x4 pixels; its sides must be multiples of 4.
func quarter(m image.Image) raster {
	b := m.Bounds()
	return newRaster(b.Dx()/4, b.Dy()/4).fill(func(x, y int) (sum [4]float64) {
		for i := range 16 {
			red, green, blue, alpha := m.At(b.Min.X+4*x+i%4, b.Min.Y+4*y+i/4).RGBA()
			addTo(&sum, [4]float64{
				float64(red) / 65535, float64(green) / 65535, float64(blue) / 65535, float64(alpha) / 65535,
			}, 1.0/16)
		}
		return sum
	})
}
