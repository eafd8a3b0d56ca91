package vips

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// faces is a photo of people that comes with the detector's module.
func faces(t *testing.T) []byte {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/esimov/pigo").
		Output()
	if err != nil {
		t.Skipf("where the detector's module lies: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "sample.jpg"))
	if err != nil {
		t.Skipf("the detector's module has no sample here: %v", err)
	}
	return b
}

func made(t *testing.T, r *Resizer, original []byte, name string) *image.NRGBA {
	t.Helper()
	images, err := resize.Make(t.Context(), r, original, spec(t, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	m, err := png.Decode(bytes.NewReader(images[0].Body))
	if err != nil {
		t.Fatal(err)
	}
	return nrgbaOf(m)
}

func nrgbaOf(m image.Image) *image.NRGBA {
	out := image.NewNRGBA(m.Bounds())
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			out.Set(x, y, m.At(x, y))
		}
	}
	return out
}

func TestResizer_FaceCrop_KeepsFace(t *testing.T) {
	r := newResizer(t)
	original := faces(t)
	x, _, ok := findFaces(made(t, r, original, "600x600.png"))
	if !ok {
		t.Fatal("no face is found")
	}
	mirrored, _, ok := findFaces(made(t, r, original, "600x600-flop.png"))
	if d := math.Abs(x + mirrored - 1); !ok || d > 0.06 {
		t.Errorf("at %.2f, and mirrored at %.2f", x, mirrored)
	}
	photo := made(t, r, original, "600x600.png")
	for _, left := range []int{0, 500, 1200} {
		wide := image.NewNRGBA(image.Rect(0, 0, 1800, photo.Rect.Dy()))
		draw.Draw(wide, wide.Rect, image.NewUniform(color.NRGBA{120, 130, 140, 255}), image.Point{}, draw.Src)
		draw.Draw(wide, photo.Rect.Add(image.Pt(left, 0)), photo, image.Point{}, draw.Src)
		var b bytes.Buffer
		if err := png.Encode(&b, wide); err != nil {
			t.Fatal(err)
		}
		x, _, ok := findFaces(made(t, r, b.Bytes(), "400x400-cover-face.png"))
		if !ok || left == 500 && math.Abs(x-0.5) > 0.06 {
			t.Errorf("a photo at %d of a wide uniform image: face found %v, at %.2f", left, ok, x)
		}
	}
}

func TestResizer_FaceCrop_FallsBackToSmart(t *testing.T) {
	r := newResizer(t)
	original := plainPNG(t, 300, 100, color.NRGBA{90, 90, 90, 255})
	images, err := resize.Make(t.Context(), r,
		original,
		spec(t, "100x100-cover-face.png"),
		spec(t, "100x100-cover-smart.png"),
	)
	if err != nil || !bytes.Equal(images[0].Body, images[1].Body) {
		t.Errorf("%v, or another crop", err)
	}
	// Neither the smallest picture nor a crop of the whole picture is an error.
	for _, of := range [][]byte{
		plainPNG(t, 1, 1, color.NRGBA{9, 9, 9, 255}), plainPNG(t, 3, 2000, color.NRGBA{9, 9, 9, 128}),
	} {
		for _, name := range []string{"20x10-cover-face.png", "20x10-cover-face-up.webp"} {
			if _, err := resize.Make(t.Context(), r, of, spec(t, name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
