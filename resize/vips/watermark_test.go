package vips

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func plainPNG(t *testing.T, w, h int, c color.NRGBA) []byte {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.SetNRGBA(i%w, i/w, c)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func withWatermark(t *testing.T, file []byte) (*Resizer, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "logo")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return New(Config{Watermarks: map[string]string{"logo": path}})
}

func TestWatermark_EveryFrame_LowerRightCorner(t *testing.T) {
	r, err := withWatermark(t, plainPNG(t, 300, 150, color.NRGBA{255, 0, 0, 128}))
	if err != nil {
		t.Fatal(err)
	}
	grey := color.NRGBA{100, 100, 100, 255}
	original := plainPNG(t, 400, 200, grey)
	for _, name := range []string{
		"200x-wm.logo.png", "200x-gray-wm.logo.png", "200x-rot180-wm.logo.png", "200x100-pad-wm.logo.png",
	} {
		images, err := resize.Make(t.Context(), r, original, spec(t, name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		m, err := png.Decode(bytes.NewReader(images[0].Body))
		if err != nil {
			t.Fatal(err)
		}
		// 50x25 pixels, 2 from the edges of 200x100.
		for at, want := range map[image.Point]color.NRGBA{
			{10, 10}: grey, {145, 90}: grey, {199, 99}: grey, {170, 71}: grey,
			{170, 80}: {178, 50, 50, 255}, {150, 75}: {178, 50, 50, 255}, {196, 96}: {178, 50, 50, 255},
		} {
			got := color.NRGBAModel.Convert(m.At(at.X, at.Y)).(color.NRGBA)
			if d := max(diff(got.R, want.R), diff(got.G, want.G), diff(got.B, want.B), diff(got.A, want.A)); d > 2 {
				t.Errorf("%s: %v is %v, want %v", name, at, got, want)
			}
		}
	}
	var all bytes.Buffer
	frame := image.NewPaletted(image.Rect(0, 0, 80, 40), color.Palette{grey})
	if err := gif.EncodeAll(&all, &gif.GIF{Image: []*image.Paletted{frame, frame}, Delay: []int{5, 5}}); err != nil {
		t.Fatal(err)
	}
	images, err := resize.Make(t.Context(), r, all.Bytes(), spec(t, "80x-wm.logo.gif"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := gif.DecodeAll(bytes.NewReader(images[0].Body))
	if err != nil || len(g.Image) == 0 {
		t.Fatal(err)
	}
	if c := color.NRGBAModel.Convert(g.Image[0].At(70, 35)).(color.NRGBA); c.R < c.G+60 {
		t.Errorf("the animation has %v where the watermark is", c)
	}
}

func diff(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

func TestNew_InvalidWatermark_Fails(t *testing.T) {
	good := plainPNG(t, 8, 8, color.NRGBA{1, 2, 3, 255})
	for name, file := range map[string][]byte{
		"text": []byte("this is not an image"), "a truncated file": good[:len(good)-26],
	} {
		if _, err := withWatermark(t, file); err == nil {
			t.Errorf("%s is a watermark", name)
		}
	}
	missing := map[string]string{"logo": filepath.Join(t.TempDir(), "none")}
	if _, err := New(Config{Watermarks: missing}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	r, err := withWatermark(t, good)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := resize.Make(t.Context(), r, good, spec(t, "8x-wm.other.png")); !errors.Is(err, resize.ErrSpec) {
		t.Errorf("another name: %v", err)
	}
}
