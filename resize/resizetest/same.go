package resizetest

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"slices"
	"sync"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// again resizes a rotated photo many times while the garbage collector runs: an engine that reads
// freed memory gives many different answers (bimg 1.1.9 with its own EXIF rotation gave 55 in 60).
func again(t *testing.T, r resize.Resizer) {
	original := oriented(jpegOf(t, noisy(1200, 900)), 6)
	first := one(t, r, original, "300x.jpg")
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 15 {
				images, err := resize.Make(t.Context(), r, bytes.Clone(original), spec(t, "300x.jpg"))
				if err != nil {
					if !errors.Is(err, resize.ErrBusy) {
						t.Error(err)
					}
					continue
				}
				if !bytes.Equal(images[0].Body, first.Body) {
					t.Error("the second job gave another image")
				}
			}
		})
	}
	group.Wait()
	for _, name := range []string{"300x.webp", "300x.png", "300x.avif", "300x300-cover-smart.webp"} {
		if !bytes.Equal(one(t, r, original, name).Body, one(t, r, original, name).Body) {
			t.Errorf("%s: two answers", name)
		}
	}
}

// togetherSpecs have many scales, several appearances at each scale, and several formats of an
// appearance.
var togetherSpecs = []string{
	"880x.webp", "440x.webp", "440x.jpg", "440x-q60.jpg", "640x640.jpg",
	"640x640.webp", "100x100-cover.webp", "100x100-cover-smart.jpg",
	"100x100-cover-at20x80.png", "1320x.jpg", "320x320-pad.webp", "320x-rot90.jpg",
	"320x-gray.jpg", "90x-blur3.webp", "64x.avif", "200x-trim.png", "2000x2000.webp",
	"200x-crop100x50x800x500.webp",
}

func together(t *testing.T, r resize.Resizer) {
	originals := map[string][]byte{
		"a photo": oriented(jpegOf(t, noisy(2400, 1800)), 6),
		"alpha":   pngOf(t, veiled(scene(900, 700)).image()),
		"webp":    encoded(t, r, noisy(1600, 1200), "webp"),
	}
	for kind, original := range originals {
		t.Run(kind, func(t *testing.T) {
			var specs []resize.Spec
			for _, name := range togetherSpecs {
				specs = append(specs, spec(t, name))
			}
			specs = append(specs, specs[0]) // a duplicate
			specs = append(specs, resize.Mezzanine(1440), info, resize.Mezzanine(640))
			images, err := resize.Make(t.Context(), r, original, specs...)
			if err != nil {
				t.Fatal(err)
			}
			if len(images) != len(specs) {
				t.Fatalf("%d images of %d specs", len(images), len(specs))
			}
			for i, s := range specs {
				alone := oneOf(t, r, original, s)
				if images[i].Format != s.Format || images[i].Width != alone.Width || images[i].Height != alone.Height {
					t.Errorf("%s: it is %s of %dx%d pixels",
						s.Name(), images[i].Format, images[i].Width, images[i].Height)
				}
				if !bytes.Equal(images[i].Body, alone.Body) {
					t.Errorf("%s: the file differs from that of a job with this Spec alone", s.Name())
				}
			}
		})
	}
	t.Run("no Spec, no image", func(t *testing.T) {
		images, err := resize.Make(t.Context(), r, originals["alpha"])
		if err != nil || len(images) != 0 {
			t.Errorf("%d images, %v", len(images), err)
		}
	})
}

// delivery: Made is called once for each Spec, and for the Optional ones after all others.
func delivery(t *testing.T, r resize.Resizer) {
	for kind, original := range map[string][]byte{
		"jpeg": jpegOf(t, noisy(2400, 1800)),
		"png":  pngOf(t, noisy(900, 700)),
		"webp": encoded(t, r, noisy(1600, 1200), "webp"),
	} {
		t.Run(kind, func(t *testing.T) {
			job := resize.Job{Original: original, Optional: []resize.Spec{resize.Mezzanine(640), info}}
			// For both of the ways that JPEGs are made.
			for _, name := range []string{"640x.webp", "100x100-cover-smart.jpg", "320x.jpg", "64x.png", "320x.jpg"} {
				job.Specs = append(job.Specs, spec(t, name))
			}
			var order []int
			made := map[int]resize.Image{}
			job.Made = func(i int, img resize.Image) {
				order = append(order, i)
				made[i] = img
			}
			if err := r.Resize(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			for i, img := range made {
				if s := job.All()[i]; !bytes.Equal(img.Body, oneOf(t, r, original, s).Body) {
					t.Errorf("%s: the file differs from that of a job with this Spec alone", s.Name())
				}
			}
			needed, optional := order[:len(job.Specs)], order[len(job.Specs):]
			slices.Sort(needed)
			slices.Sort(optional)
			if !slices.Equal(needed, []int{0, 1, 2, 3, 4}) ||
				len(optional) > 0 && !slices.Equal(optional, []int{5, 6}) {
				t.Errorf("delivered %v", order)
			}
		})
	}
}

// stills: the complete first frame of an animation.
func stills(t *testing.T, r resize.Resizer) {
	one8 := func(of raster, at image.Rectangle) *image.Paletted {
		p := image.NewPaletted(at, palette.Plan9)
		draw.FloydSteinberg.Draw(p, at, of.image(), at.Min)
		return p
	}
	first, second := scene(160, 120), scene(160, 120).turned(3)
	film := gifOf(t, &gif.GIF{
		Image: []*image.Paletted{one8(first, image.Rect(0, 0, 160, 120)), one8(second, image.Rect(40, 30, 120, 90))},
		Delay: []int{10, 10},
	})
	for _, name := range []string{"80x-still.webp", "80x.jpg", "80x.png", "80x.avif", "60x60-cover.jpg"} {
		near(t, r, one(t, r, film, name), want(first, spec(t, name)), 24)
	}
	t.Run("photos", func(t *testing.T) {
		for _, name := range []string{"animation.gif", "animation-small.gif"} {
			original := testutil.Photo(t, name)
			g, err := gif.DecodeAll(bytes.NewReader(original))
			if err != nil {
				t.Fatal(err)
			}
			near(t, r, one(t, r, original, "120x.png"), want(rasterOf(g.Image[0]), spec(t, "120x.png")), 26)
		}
	})
}

func cancelled(t *testing.T, r resize.Resizer) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	images, err := resize.Make(ctx, r, jpegOf(t, noisy(640, 480)), spec(t, "320x.jpg"))
	if !errors.Is(err, context.Canceled) || len(images) != 0 {
		t.Errorf("%d images, %v", len(images), err)
	}
	one(t, r, jpegOf(t, noisy(64, 48)), "32x.jpg")
}
