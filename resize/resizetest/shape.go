package resizetest

import (
	"bytes"
	"image"
	"image/color"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// shapes makes PNGs, so that the encoder adds nothing to the difference.
func shapes(t *testing.T, r resize.Resizer) {
	wide, tall, alpha := scene(240, 180), scene(150, 210), veiled(scene(240, 180))
	for _, c := range []struct {
		name string
		of   raster
		dB   float64
	}{
		{"120x120", wide, 36}, {"120x", wide, 36}, {"x45", wide, 34},
		{"77x77", tall, 34}, {"1x1", wide, 20}, {"1x", tall, 20},
		{"600x", wide, 58}, {"240x", wide, 58}, {"600x-up", wide, 32}, {"x300-up", tall, 32},
		{"90x90-cover", wide, 33}, {"90x120-cover", wide, 34},
		{"60x90-cover-left", wide, 33}, {"60x90-cover-right", wide, 33},
		{"60x90-cover-at30x70", wide, 33}, {"60x90-cover-at0x0", wide, 33}, {"60x90-cover-at55x0", wide, 33},
		{"90x45-cover-top", tall, 33}, {"90x45-cover-bottom", tall, 33}, {"90x45-cover-at10x40", tall, 33},
		{"400x400-cover", wide, 58}, {"300x100-cover", wide, 45},
		{"400x400-cover-up", wide, 30}, {"400x400-cover-right-up", wide, 30},
		{"100x100-pad", wide, 34}, {"100x100-pad-bg102030", tall, 34},
		{"400x300-pad", wide, 58}, {"400x400-pad-up-bgff0000", wide, 30},
		{"100x100-exact", wide, 33}, {"50x160-exact", wide, 33},
		{"400x90-exact", wide, 33}, {"400x90-exact-up", wide, 30},
		{"120x-rot90", wide, 34}, {"120x-rot180", wide, 34},
		{"120x-rot270", wide, 34}, {"120x-flip", wide, 34}, {"120x-flop", wide, 34},
		{"100x50-cover-top-rot90", wide, 32},
		{"100x50-cover-at20x90-rot270-flop", wide, 32},
		{"70x100-pad-rot90-flip-bg00ff00", wide, 32},
		{"120x-gray", wide, 33}, {"120x-blur3", wide, 34}, {"120x-gray-blur2", wide, 33}, {"120x-blur40", wide, 28},
		{"120x-crop250x100x500x750", wide, 34}, {"600x-crop250x100x500x750", wide, 58},
		{"600x-up-crop0x0x500x500", wide, 30}, {"60x60-cover-left-crop500x0x500x1000", wide, 33},
		{"80x-crop100x200x800x300-rot90-flop", tall, 32}, {"600x-crop990x990x10x10", wide, 58},
		{"100x100-pad-crop300x300x400x100-bg102030", tall, 32},
		{"120x", alpha, 36}, {"90x90-cover-left", alpha, 34},
		{"100x100-pad-bg3366cc", alpha, 34}, {"120x-blur3", alpha, 32},
		{"120x-rot90-flip", alpha, 34}, {"120x-gray", alpha, 32}, {"500x-up", alpha, 32},
	} {
		name := c.name
		if c.of.at(0, 0)[3] != 1 {
			name += " of alpha"
		}
		t.Run(name, func(t *testing.T) {
			img := one(t, r, pngOf(t, c.of.image()), c.name+".png")
			near(t, r, img, want(c.of, spec(t, c.name+".png")), c.dB)
		})
	}
	t.Run("sharp sharpens, and keeps the picture", func(t *testing.T) {
		grain := noisy(240, 180)
		original, plain := pngOf(t, grain), want(rasterOf(grain), spec(t, "120x.png"))
		img := one(t, r, original, "120x-sharp.png")
		near(t, r, img, plain, 22)
		if bytes.Equal(img.Body, one(t, r, original, "120x.png").Body) {
			t.Error("the sharpened variant equals the plain one")
		}
	})
	t.Run("trim cuts a border of one colour away", func(t *testing.T) {
		inside := scene(120, 100)
		framed := newRaster(200, 160).fill(func(x, y int) [4]float64 {
			if x < 30 || y < 20 || x >= 150 || y >= 120 {
				return [4]float64{1, 1, 1, 1}
			}
			return inside.at(x-30, y-20)
		})
		img := one(t, r, pngOf(t, framed.image()), "400x400-trim.png")
		if d := max(img.Width-120, 120-img.Width, img.Height-100, 100-img.Height); d > 2 {
			t.Errorf("%dx%d pixels are left, want 120x100", img.Width, img.Height)
		}
	})
}

// smart has no oracle, but of a grey wall with a poster it must keep the poster.
func smart(t *testing.T, r resize.Resizer) {
	for _, at := range []image.Point{{20, 40}, {240, 40}, {130, 40}} {
		wall := newRaster(320, 120).fill(func(x, y int) [4]float64 {
			if (image.Point{x, y}).In(image.Rectangle{at, at.Add(image.Pt(50, 50))}) {
				if (x/7+y/7)%2 == 0 {
					return [4]float64{0.9, 0.2, 0.1, 1}
				}
				return [4]float64{0.95, 0.8, 0.6, 1}
			}
			return [4]float64{0.5, 0.5, 0.5, 1}
		})
		m := rasterOf(decode(t, r, one(t, r, pngOf(t, wall.image()), "60x60-cover-smart.png")))
		red := 0
		for _, p := range m.pix {
			if p[0]-p[2] > 0.2 {
				red++
			}
		}
		if red < 400 { // a poster of 25x25, scaled
			t.Errorf("poster at %v: %d of its 625 pixels are in the crop", at, red)
		}
	}
}

func formats(t *testing.T, r resize.Resizer) {
	picture := scene(480, 360)
	original := pngOf(t, picture.image())
	for _, c := range []struct {
		name string
		dB   float64
	}{
		{"240x.jpg", 33}, {"240x-q95.jpg", 36}, {"240x.webp", 33}, {"240x-q95.webp", 35},
		{"240x.avif", 33}, {"240x-q80.avif", 35}, {"240x.png", 38},
		{"240x.gif", 26}, {"240x.heic", 33}, {"240x-q90.heic", 35}, {"240x.jxl", 33}, {"240x-q95.jxl", 36},
	} {
		t.Run(c.name, func(t *testing.T) {
			img := one(t, r, original, c.name)
			if s := spec(t, c.name); img.Format != s.Format {
				t.Errorf("Format is %s", img.Format)
			}
			near(t, r, img, want(picture, spec(t, c.name)), c.dB)
		})
	}
	for _, format := range []string{"jpg", "webp", "avif", "heic", "jxl"} {
		low, high := one(t, r, original, "240x-q10."+format), one(t, r, original, "240x-q95."+format)
		if 2*len(low.Body) > len(high.Body) {
			t.Errorf("%s: quality 10 takes %d bytes, quality 95 %d", format, len(low.Body), len(high.Body))
		}
	}
	t.Run("a JPEG is progressive", func(t *testing.T) {
		body := one(t, r, original, "240x.jpg").Body
		h, err := resize.ReadHeader(body)
		if err != nil {
			t.Fatal(err)
		}
		if !h.Progressive {
			t.Error("the JPEG is not progressive (SOF2)")
		}
	})
	t.Run("alpha stays where the format has it", func(t *testing.T) {
		alpha := veiled(scene(240, 180))
		for name, dB := range map[string]float64{
			"120x.webp": 30, "120x.avif": 29, "120x.heic": 29, "120x.jxl": 29, "120x.png": 36, "120x.jpg": 30,
		} {
			near(t, r, one(t, r, pngOf(t, alpha.image()), name), want(alpha, spec(t, name)), dB)
		}
	})
}

// longest makes a long screenshot in all formats, some of which cannot hold it unscaled.
func longest(t *testing.T, r resize.Resizer) {
	sizes := []struct {
		name          string
		width, height int
	}{
		{"120x.webp", 82, 16383}, {"120x.avif", 82, 16384}, {"120x.heic", 82, 16384},
		{"120x.jpg", 100, 20000}, {"120x.png", 100, 20000}, {"120x.gif", 100, 20000}, {"120x.jxl", 100, 20000},
	}
	var specs []resize.Spec
	for _, c := range sizes {
		specs = append(specs, spec(t, c.name))
	}
	images, err := resize.Make(t.Context(), r, pngOf(t, scene(100, 20000).image()), specs...)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range sizes {
		h, err := resize.ReadHeader(images[i].Body)
		if err != nil || h.Width != c.width || h.Height != c.height {
			t.Errorf("%s is %dx%d, want %dx%d (%v)", c.name, h.Width, h.Height, c.width, c.height, err)
		}
	}
}

func backgrounds(t *testing.T, r resize.Resizer) {
	glass := newRaster(64, 64).fill(func(x, y int) [4]float64 { return [4]float64{0, 0, 0, 0} })
	for name, colour := range map[string]color.NRGBA{
		"32x.jpg":                    {255, 255, 255, 255},
		"32x-bg204060.jpg":           {32, 64, 96, 255},
		"48x32-pad-bg204060.png":     {32, 64, 96, 255},
		"48x32-pad.webp":             {255, 255, 255, 255},
		"48x32-pad-bgcc0000-q90.jpg": {204, 0, 0, 255},
	} {
		img := one(t, r, pngOf(t, glass.image()), name)
		flat := newRaster(img.Width, img.Height).
			fill(func(x, y int) [4]float64 { return [4]float64{0, 0, 0, 0} }).
			on(colour.R, colour.G, colour.B)
		t.Run(name, func(t *testing.T) { near(t, r, img, flat, 36) })
	}
	// Grey with alpha is a separate case.
	grey := image.NewNRGBA(image.Rect(0, 0, 64, 64))
	for i := range 64 * 64 {
		grey.SetNRGBA(i%64, i/64, color.NRGBA{100, 100, 100, 128})
	}
	img := one(t, r, pngOf(t, grey), "32x-bgff0000.jpg")
	near(t, r, img, want(rasterOf(grey), spec(t, "32x-bgff0000.jpg")), 36)
}

// bleeding: the colour of transparent pixels must not bleed into visible ones.
func bleeding(t *testing.T, r resize.Resizer) {
	m := image.NewNRGBA(image.Rect(0, 0, 200, 200))
	for y := range 200 {
		for x := range 200 {
			m.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 255})
			if (x/10+y/10)%2 == 0 {
				m.SetNRGBA(x, y, color.NRGBA{0, 255, 0, 0}) // green, but transparent
			}
		}
	}
	for _, name := range []string{
		"37x.png", "37x-blur2.png", "37x37-cover.png", "400x-up.png", "37x-bg000000-q95.jpg",
	} {
		got := decode(t, r, one(t, r, pngOf(t, m), name))
		for y := range got.Bounds().Dy() {
			for x := range got.Bounds().Dx() {
				// Below an alpha of 8 of 255 a colour consists mostly of rounding errors.
				if p := color.NRGBAModel.Convert(got.At(x, y)).(color.NRGBA); p.A > 8 && p.G > 24 {
					t.Fatalf("%s: pixel %d,%d is %v: green has bled", name, x, y, p)
				}
			}
		}
	}
}
