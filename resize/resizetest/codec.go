package resizetest

import (
	"bytes"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"golang.org/x/image/webp"

	"github.com/novasocial/imagetier/resize"
)

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gifOf(t testing.TB, g *gif.GIF) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// encoded encodes m with r, in a format that the standard library cannot write.
func encoded(t testing.TB, r resize.Resizer, m image.Image, format string) []byte {
	t.Helper()
	return one(t, r, pngOf(t, m), "8192x8192-q90."+format).Body
}

// decode decodes a variant with decoders other than those under test, and checks the metadata from
// the Resizer. Go has no decoder for AVIF, HEIC and JXL: r converts these to PNG first.
func decode(t testing.TB, r resize.Resizer, img resize.Image) image.Image {
	t.Helper()
	return decodeBy(t, r, img, "8192x8192.png")
}

// decodeBy is decode with the Spec of that PNG.
func decodeBy(t testing.TB, r resize.Resizer, img resize.Image, help string) image.Image {
	t.Helper()
	kinds := map[resize.Format]resize.Kind{
		resize.JPEG: resize.KindJPEG, resize.PNG: resize.KindPNG, resize.WebP: resize.KindWebP,
		resize.AVIF: resize.KindAVIF, resize.GIF: resize.KindGIF, resize.HEIC: resize.KindHEIC,
		resize.JXL: resize.KindJXL,
	}
	if got := resize.KindOf(img.Body); got != kinds[img.Format] {
		t.Fatalf("a %s begins as a %q does", img.Format, got)
	}
	body := img.Body
	read := map[resize.Format]func([]byte) (image.Image, error){
		resize.JPEG: func(b []byte) (image.Image, error) { return jpeg.Decode(bytes.NewReader(b)) },
		resize.PNG:  func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) },
		resize.GIF:  func(b []byte) (image.Image, error) { return gif.Decode(bytes.NewReader(b)) },
		resize.WebP: func(b []byte) (image.Image, error) { return webp.Decode(bytes.NewReader(b)) },
	}[img.Format]
	if img.Format == resize.AVIF || img.Format == resize.HEIC || img.Format == resize.JXL {
		body = one(t, r, body, help).Body
		read = func(b []byte) (image.Image, error) { return png.Decode(bytes.NewReader(b)) }
	}
	m, err := read(body)
	if err != nil {
		t.Fatalf("decode the %s that was made: %v", img.Format, err)
	}
	if img.Format == resize.WebP {
		m = studio(m)
	}
	if size := m.Bounds().Size(); size != image.Pt(img.Width, img.Height) {
		t.Fatalf("the %s has %v pixels, the Image says %dx%d", img.Format, size, img.Width, img.Height)
	}
	return m
}

// near fails the test unless img has exactly the size of want and its PSNR is at least dB.
func near(t testing.TB, r resize.Resizer, img resize.Image, want raster, dB float64) {
	t.Helper()
	if img.Width != want.w || img.Height != want.h {
		t.Errorf("it has %dx%d pixels, want %dx%d", img.Width, img.Height, want.w, want.h)
		return
	}
	if got := psnr(rasterOf(decode(t, r, img)), want); got < dB {
		t.Errorf("it is the expected picture within %.1f dB, want %.1f", got, dB)
	}
}

// studio converts the luma and chroma of a WebP, which have the limited range of ITU-R BT.601, to
// the full range of JPEG that image.YCbCr expects.
func studio(m image.Image) image.Image {
	var alpha func(x, y int) uint8
	var coded *image.YCbCr
	switch m := m.(type) {
	case *image.YCbCr:
		coded, alpha = m, func(x, y int) uint8 { return 255 }
	case *image.NYCbCrA:
		coded, alpha = &m.YCbCr, func(x, y int) uint8 { return m.A[m.AOffset(x, y)] }
	default:
		return m
	}
	out := image.NewNRGBA(coded.Bounds())
	for y := coded.Rect.Min.Y; y < coded.Rect.Max.Y; y++ {
		for x := coded.Rect.Min.X; x < coded.Rect.Max.X; x++ {
			c := coded.YCbCrAt(x, y)
			luma, blue, red := (float64(c.Y)-16)/219, (float64(c.Cb)-128)/224, (float64(c.Cr)-128)/224
			out.SetNRGBA(x, y, color.NRGBA{
				to8(luma + 1.402*red), to8(luma - 0.344136*blue - 0.714136*red), to8(luma + 1.772*blue),
				alpha(x, y),
			})
		}
	}
	return out
}
