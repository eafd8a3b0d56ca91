package resizetest

import (
	"bytes"
	_ "embed"
	"errors"
	"image"
	"image/color"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/novasocial/imagetier/resize"
)

// animatedJXL has two frames of 24x16 pixels: red with a blue quarter, then green (cjxl 0.7 of a GIF).
//
//go:embed testdata/kinds/animated-24x16.jxl
var animatedJXL []byte

// wideAVIF is red, and one pixel wider than libvips reads without its option "unlimited" (avifenc 0.11).
//
//go:embed testdata/kinds/wide-16385x4.avif
var wideAVIF []byte

// inputs tests kinds of files that no other part of the suite reads.
func inputs(t *testing.T, r resize.Resizer) {
	picture := scene(163, 121) // not a multiple of eight, so that the passes of an interlaced PNG differ
	whole := picture.image()
	for name, o := range map[string]*tiff.Options{
		"TIFF":                   nil,
		"TIFF packed by Deflate": {Compression: tiff.Deflate, Predictor: true},
		"TIFF packed by LZW":     {Compression: tiff.LZW},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tiff.Encode(&b, whole, o); err != nil {
				t.Skip(err) // the encoder does not support all variations of the format
			}
			near(t, r, one(t, r, b.Bytes(), "80x.png"), want(picture, spec(t, "80x.png")), 33)
		})
	}
	t.Run("interlaced PNG", func(t *testing.T) {
		original := interlaced(picture)
		if h, err := resize.ReadHeader(original); err != nil || !h.Progressive {
			t.Fatalf("%+v, %v", h, err)
		}
		near(t, r, one(t, r, original, "80x.png"), want(picture, spec(t, "80x.png")), 33)
	})
	t.Run("the first frame of an APNG", func(t *testing.T) {
		original := apng(t, picture, picture.turned(3))
		if h, err := resize.ReadHeader(original); err != nil || !h.Animated || h.Frames != 2 {
			t.Fatalf("%+v, %v", h, err)
		}
		for _, name := range []string{"80x.png", "80x.webp"} {
			near(t, r, one(t, r, original, name), want(picture, spec(t, name)), 29)
		}
	})
	t.Run("the first frame of an animated JPEG XL", func(t *testing.T) {
		m := decode(t, r, one(t, r, animatedJXL, "8192x.png"))
		for at, want := range map[image.Point]color.NRGBA{{3, 3}: {30, 40, 200, 255}, {20, 12}: {200, 30, 40, 255}} {
			if got := color.NRGBAModel.Convert(m.At(at.X, at.Y)).(color.NRGBA); far(got, want) > 4 {
				t.Errorf("the pixel at %v is %v, want %v", at, got, want)
			}
		}
	})
	t.Run("a side that libheif refuses by default", func(t *testing.T) {
		img := one(t, r, wideAVIF, "8192x.png")
		if got := color.NRGBAModel.Convert(decode(t, r, img).At(8191, 0)).(color.NRGBA); img.Width != 8192 ||
			far(got, color.NRGBA{200, 30, 40, 255}) > 8 {
			t.Errorf("it is %d pixels wide and ends with %v", img.Width, got)
		}
	})
	for _, format := range []string{"jpg", "webp", "avif", "heic", "jxl"} {
		t.Run("its own "+format, func(t *testing.T) { // jpg is progressive
			near(t, r, one(t, r, encoded(t, r, whole, format), "80x.png"), want(picture, spec(t, "80x.png")), 30)
		})
	}
	t.Run("HEIC with the brand heix and several items", func(t *testing.T) {
		glass := veiled(picture) // alpha is a separate item
		original := bytes.Replace(encoded(t, r, glass.image(), "heic"), []byte("ftypheic"), []byte("ftypheix"), 1)
		if !bytes.Contains(original, []byte("ftypheix")) || bytes.Count(original, []byte("infe")) < 2 {
			t.Fatal("the original is not a HEIC with an alpha item")
		}
		near(t, r, one(t, r, original, "80x.png"), want(glass, spec(t, "80x.png")), 29)
	})
	t.Run("formats that only ImageMagick reads are refused", func(t *testing.T) {
		for _, file := range []string{
			`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>`,
			"<?xml version=\"1.0\"?><svg/>", "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj",
			"push graphic-context viewbox 0 0 9 9", "8BPS\x00\x01\x00\x00\x00\x00\x00\x00\x00\x03",
			"BM\x46\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00", "P6 1 1 255 abcdef", "%!PS-Adobe-3.0 EPSF",
		} {
			_, err := resize.Make(t.Context(), r, []byte(file), spec(t, "10x.png"))
			if !errors.Is(err, resize.ErrUnsupported) {
				t.Errorf("%.12q: %v", file, err)
			}
		}
	})
}

// interlaced encodes a PNG with the seven passes of Adam7.
func interlaced(r raster) []byte {
	var lines []byte
	for _, pass := range [...]struct{ x, y, dx, dy int }{
		{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
	} {
		for y := pass.y; y < r.h; y += pass.dy {
			lines = append(lines, 0) // no filter
			for x := pass.x; x < r.w; x += pass.dx {
				p := r.at(x, y)
				lines = append(lines, to8(p[0]), to8(p[1]), to8(p[2]))
			}
		}
	}
	head := append(append(be32(uint32(r.w)), be32(uint32(r.h))...), 8, 2, 0, 0, 1)
	b := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", head)...)
	b = append(b, pngChunk("IDAT", deflated(lines))...)
	return append(b, pngChunk("IEND", nil)...)
}

// apng encodes an animation of two frames of one size. The first frame is the still picture.
func apng(t *testing.T, first, second raster) []byte {
	t.Helper()
	control := func(sequence uint32) []byte {
		b := append(be32(sequence), be32(uint32(first.w))...)
		b = append(append(b, be32(uint32(first.h))...), be32(0)...)
		return pngChunk("fcTL", append(append(b, be32(0)...), 0, 10, 0, 100, 0, 0))
	}
	data := func(file []byte) (packed []byte) {
		at := bytes.Index(file, []byte("IDAT"))
		for ; string(file[at:at+4]) == "IDAT"; at += 12 {
			n := int(file[at-4])<<24 | int(file[at-3])<<16 | int(file[at-2])<<8 | int(file[at-1])
			packed = append(packed, file[at+4:at+4+n]...)
			at += n
		}
		return packed
	}
	file := inPNG(pngOf(t, first.image()), pngChunk("acTL", append(be32(2), be32(0)...)), control(0))
	end := len(file) - 12
	out := append([]byte(nil), file[:end]...)
	out = append(out, control(1)...)
	out = append(out, pngChunk("fdAT", append(be32(2), data(pngOf(t, second.image()))...))...)
	return append(out, file[end:]...)
}
