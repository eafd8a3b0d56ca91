package resizetest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"testing"

	"github.com/bbrks/go-blurhash"
	"go.n16f.net/thumbhash"

	"github.com/novasocial/imagetier/resize"
)

// info is the Spec of facts.
var info = resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON}

// infoOf asks for the facts of original.
func infoOf(t testing.TB, r resize.Resizer, original []byte) resize.Info {
	t.Helper()
	img := oneOf(t, r, original, info)
	var i resize.Info
	d := json.NewDecoder(bytes.NewReader(img.Body))
	d.DisallowUnknownFields()
	if err := d.Decode(&i); err != nil || img.Format != resize.JSON || img.Width != i.Width || img.Height != i.Height {
		t.Fatalf("info is %s of %dx%d, %q: %v", img.Format, img.Width, img.Height, img.Body, err)
	}
	return i
}

func facts(t *testing.T, r resize.Resizer) {
	picture := scene(300, 200)
	whole := picture.image()
	two := gifOf(t, &gif.GIF{Image: []*image.Paletted{paletted(whole), paletted(whole)}, Delay: []int{10, 10}})
	for name, c := range map[string]struct {
		original []byte
		of       raster // upright
		want     resize.Info
	}{
		"jpeg": {jpegOf(t, whole), picture, resize.Info{Format: "jpg", Frames: 1, Orientation: 1}},
		"rotated": {oriented(jpegOf(t, whole), 6), picture.turned(6),
			resize.Info{Format: "jpg", Frames: 1, Orientation: 6}},
		"mirrored": {oriented(jpegOf(t, whole), 4), picture.turned(4),
			resize.Info{Format: "jpg", Frames: 1, Orientation: 4}},
		"png":       {pngOf(t, whole), picture, resize.Info{Format: "png", Frames: 1, Orientation: 1}},
		"webp":      {encoded(t, r, whole, "webp"), picture, resize.Info{Format: "webp", Frames: 1, Orientation: 1}},
		"avif":      {encoded(t, r, whole, "avif"), picture, resize.Info{Format: "avif", Frames: 1, Orientation: 1}},
		"animation": {two, picture, resize.Info{Format: "gif", Frames: 2, Animated: true, Orientation: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := infoOf(t, r, c.original)
			looks := got
			looks.ThumbHash, looks.BlurHash, looks.Color = "", "", ""
			c.want.Width, c.want.Height, c.want.Bytes = c.of.w, c.of.h, len(c.original)
			if looks != c.want {
				t.Errorf("%+v, want %+v", looks, c.want)
			}
			hashes(t, got, c.of)
		})
	}
	t.Run("transparent pixels do not count for the colour", func(t *testing.T) {
		m := image.NewNRGBA(image.Rect(0, 0, 80, 40))
		for i := range 80 * 40 {
			m.SetNRGBA(i%80, i/80, color.NRGBA{0, 255, 0, 0})
			if i%80 < 40 {
				m.SetNRGBA(i%80, i/80, color.NRGBA{200, 40, 20, 255})
			}
		}
		got := infoOf(t, r, pngOf(t, m))
		if got.Color != "#c82814" {
			t.Errorf("the colour is %s, want #c82814", got.Color)
		}
		hash, err := base64.StdEncoding.DecodeString(got.ThumbHash)
		if err != nil || len(hash) < 3 || hash[2]&0x80 == 0 {
			t.Errorf("thumbhash %s (%v) does not say that there is alpha", got.ThumbHash, err)
		}
	})
	t.Run("a picture of one pixel", func(t *testing.T) {
		m := image.NewNRGBA(image.Rect(0, 0, 1, 1))
		m.SetNRGBA(0, 0, color.NRGBA{10, 20, 30, 255})
		if got := infoOf(t, r, pngOf(t, m)); got.Color != "#0a141e" || got.Width != 1 || got.Height != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// hashes fails the test unless the hashes and the colour of i resemble the picture.
func hashes(t *testing.T, i resize.Info, of raster) {
	t.Helper()
	small := of.resampled(of.whole(), 32, max(1, 32*of.h/of.w))
	var sum [4]float64
	for _, p := range of.pix {
		addTo(&sum, p, 1/float64(len(of.pix)))
	}
	var red, green, blue uint8
	if _, err := fmt.Sscanf(i.Color, "#%02x%02x%02x", &red, &green, &blue); err != nil {
		t.Fatalf("color %q: %v", i.Color, err)
	}
	for c, v := range [3]uint8{red, green, blue} {
		if d := float64(v)/255 - sum[c]; max(d, -d) > 0.02 {
			t.Errorf("color %s, the mean is %.3f", i.Color, sum)
			break
		}
	}
	m, err := blurhash.Decode(i.BlurHash, small.w, small.h, 1)
	if err != nil {
		t.Fatalf("blurhash %q: %v", i.BlurHash, err)
	}
	if got := psnr(rasterOf(m), small); got < 14 {
		t.Errorf("the blurhash shows the picture within %.1f dB", got)
	}
	hash, err := base64.StdEncoding.DecodeString(i.ThumbHash)
	if err != nil {
		t.Fatalf("thumbhash %q: %v", i.ThumbHash, err)
	}
	if m, err = thumbhash.DecodeImage(hash); err != nil {
		t.Fatalf("thumbhash %q: %v", i.ThumbHash, err)
	}
	shown := rasterOf(m)
	if got := psnr(shown, of.resampled(of.whole(), shown.w, shown.h)); got < 14 {
		t.Errorf("the thumbhash shows the picture within %.1f dB", got)
	}
}

func paletted(m image.Image) *image.Paletted {
	var p color.Palette
	for i := range 216 {
		p = append(p, color.NRGBA{uint8(i % 6 * 51), uint8(i / 6 % 6 * 51), uint8(i / 36 * 51), 255})
	}
	out := image.NewPaletted(m.Bounds(), p)
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			out.Set(x, y, m.At(x, y))
		}
	}
	return out
}

func mezzanines(t *testing.T, r resize.Resizer) {
	picture := scene(900, 600)
	large := jpegOf(t, picture.image())
	for name, c := range map[string]struct {
		original []byte
		side     int
		want     raster
		dB       float64
	}{
		"a photo": {large, 300, picture.resampled(picture.whole(), 300, 200), 38},
		"a rotated photo": {
			oriented(large, 6), 300, picture.turned(6).resampled(picture.turned(6).whole(), 200, 300), 38,
		},
		"a small one":         {large, 1440, picture, 36},
		"a png":               {pngOf(t, picture.image()), 300, picture.resampled(picture.whole(), 300, 200), 38},
		"original with alpha": {pngOf(t, veiled(picture).image()), 300, want(veiled(picture), spec(t, "300x300.jpg")), 33},
		"of another gamut": {withProfile(large, iccProfile(displayP3, 2.2, "P3")),
			300, p3Scene(t, picture, 300, 200), 35},
	} {
		t.Run(name, func(t *testing.T) {
			img := oneOf(t, r, c.original, resize.Mezzanine(c.side))
			near(t, r, img, c.want, c.dB)
			h, err := resize.ReadHeader(img.Body)
			if err != nil || h.Progressive || h.Profile || h.Orientation != 1 || img.Format != resize.JPEG {
				t.Errorf("%+v, %v", h, err)
			}
			if m, err := jpeg.Decode(bytes.NewReader(img.Body)); err != nil {
				t.Error(err)
			} else if coded, ok := m.(*image.YCbCr); !ok || coded.SubsampleRatio == image.YCbCrSubsampleRatio420 {
				t.Errorf("chroma subsampling of the mezzanine: %v", coded.SubsampleRatio)
			}
		})
	}
	for name, s := range map[string]resize.Spec{
		"no side":       resize.Mezzanine(0),
		"a long side":   resize.Mezzanine(resize.MaxBox + 1),
		"another word":  {Shape: resize.ShapeMezzanine, Width: 300, Height: 300, Gray: true, Format: resize.JPEG},
		"another form":  {Shape: resize.ShapeMezzanine, Width: 300, Height: 300, Format: resize.WebP},
		"odd info":      {Shape: resize.ShapeInfo, Width: 1, Format: resize.JSON},
		"info as image": {Shape: resize.ShapeInfo, Format: resize.JPEG},
	} {
		t.Run(name, func(t *testing.T) {
			if images, err := resize.Make(t.Context(), r, large, s); err == nil {
				t.Errorf("%d images", len(images))
			}
		})
	}
}

func p3Scene(t *testing.T, picture raster, w, h int) raster {
	t.Helper()
	p, err := readProfile(iccProfile(displayP3, 2.2, "P3"))
	if err != nil {
		t.Fatal(err)
	}
	return p.toSRGB(picture).resampled(picture.whole(), w, h)
}
