package e2e

import (
	"bytes"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/resize/resizetest"
)

// A specimen is an original and whether it is complete.
type specimen struct {
	name  string
	body  []byte
	whole bool
}

// pictures are small complete originals of every kind that the tier reads and the tests can write.
func pictures(t testing.TB) []specimen {
	t.Helper()
	encode := func(name string, write func(b *bytes.Buffer) error) specimen {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		return specimen{name, b.Bytes(), true}
	}
	m := cloth(480, 360, 255)
	all := []specimen{
		encode("still.jpg", func(b *bytes.Buffer) error { return jpeg.Encode(b, m, &jpeg.Options{Quality: 90}) }),
		encode("still.png", func(b *bytes.Buffer) error { return png.Encode(b, m) }),
		encode("glass.png", func(b *bytes.Buffer) error { return png.Encode(b, cloth(300, 200, 120)) }),
		encode("animation.gif", func(b *bytes.Buffer) error {
			film := &gif.GIF{}
			for i := range 5 {
				frame := image.NewPaletted(image.Rect(0, 0, 160, 120), palette.Plan9)
				draw.Draw(frame, frame.Bounds(), m, image.Pt(40*i, 20*i), draw.Src)
				film.Image, film.Delay = append(film.Image, frame), append(film.Delay, 10)
			}
			return gif.EncodeAll(b, film)
		}),
	}
	for _, film := range makeImages(t, all[3].body, "160x120.webp") {
		all = append(all, specimen{"animation.webp", film.Body, true})
	}
	for i, name := range []string{"progressive.jpg", "still.webp", "still.avif", "still.gif"} {
		img := makeImages(t, all[1].body,
			[]string{"480x360-q90.jpg", "480x360-q90.webp", "320x240-q70.avif", "200x150.gif"}[i])[0]
		all = append(all, specimen{name, img.Body, true})
	}
	return all
}

// cloth returns a deterministic picture in which all neighbouring areas differ.
func cloth(w, h int, alpha uint8) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	u := func(v float64) uint8 { return uint8(math.Round(127.5 + 110*v)) }
	for y := range h {
		for x := range w {
			fx, fy := float64(x), float64(y)
			m.SetNRGBA(
				x,
				y,
				color.NRGBA{
					u(math.Sin(fx/9+fy/31) * math.Cos(fy/7)),
					u(math.Sin(fx*fx/4000 + fy/5)),
					u(math.Cos(fx/13) * math.Sin(fy*fx/9000)),
					alpha,
				},
			)
		}
	}
	return m
}

// broken are originals from which no image can be made: truncated and hostile ones.
func broken(whole []specimen) (all []specimen) {
	for _, s := range whole {
		all = append(all, specimen{"half-" + s.name, s.body[:len(s.body)*6/10], false})
	}
	for i, h := range resizetest.Hostiles() {
		all = append(
			all,
			specimen{"hostile-" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".jpg", h.Original, false},
		)
	}
	return all
}

// lay writes specimens into a new directory.
func lay(t testing.TB, all []specimen) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, s := range all {
		if err := os.WriteFile(filepath.Join(dir, s.name), s.body, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
