package vips

import (
	"bytes"
	"flag"
	"image"
	"image/draw"
	"image/jpeg"
	"os"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

var (
	cropsFile = flag.String("crops", "", "`file` that BenchmarkCrops draws to (JPEG)")
	cropsOf   = flag.String("crops-of", "", "`photo` that it shows, which may be published: a JPEG")
)

// BenchmarkCrops draws the middle of one photo as a JPEG of 640 pixels, enlarged twice, side by
// side: decoded whole and scaled with Lanczos 3; by libvips; by the direct path; through the
// mezzanine. It measures nothing.
func BenchmarkCrops(b *testing.B) {
	if *cropsFile == "" {
		b.Skip("it draws with -crops and -crops-of")
	}
	original, err := os.ReadFile(*cropsOf)
	check(b, err)
	r := newResizer(b)
	s := spec(b, "640x640.jpg")
	lean, _, err := way(throughLibvips).make(r, original, s)
	check(b, err)
	direct, err := resize.Make(b.Context(), r, original, s)
	check(b, err)
	kept, err := resize.Make(b.Context(), r, mezzanineOf(b, r, original), s)
	check(b, err)
	const side, gap, zoom = 150, 4, 2
	ways := []image.Image{reference(b, r, original, s)}
	for _, img := range []resize.Image{lean[0], direct[0], kept[0]} {
		ways = append(ways, pixels(b, img))
	}
	sheet := image.NewRGBA(image.Rect(0, 0, len(ways)*(zoom*side+gap)-gap, zoom*side))
	draw.Draw(sheet, sheet.Bounds(), image.White, image.Point{}, draw.Src)
	for i, m := range ways {
		from := m.Bounds().Min.Add(image.Pt((m.Bounds().Dx()-side)/2, (m.Bounds().Dy()-side)/2))
		for y := range zoom * side {
			for x := range zoom * side {
				sheet.Set(i*(zoom*side+gap)+x, y, m.At(from.X+x/zoom, from.Y+y/zoom))
			}
		}
	}
	var out bytes.Buffer
	check(b, jpeg.Encode(&out, sheet, &jpeg.Options{Quality: 92}))
	check(b, os.WriteFile(*cropsFile, out.Bytes(), 0o644))
}
