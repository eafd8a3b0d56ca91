package resizetest

import (
	"fmt"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

func orientations(t *testing.T, r resize.Resizer) {
	upright := scene(240, 176)
	for o := 1; o <= 8; o++ {
		original := oriented(jpegOf(t, upright.stored(o).image()), o)
		for name, dB := range map[string]float64{
			"120x.png": 32, "120x.jpg": 30, "600x.webp": 33, "60x88-cover-left.png": 29,
			"60x88-cover-at90x10.png": 29, "100x100-pad-bg000000.png": 29,
			"60x-crop250x500x500x250.png": 29, "60x88-cover-left-crop0x100x750x750-rot90.png": 29,
		} {
			t.Run(fmt.Sprintf("%d, %s", o, name), func(t *testing.T) {
				img := one(t, r, original, name)
				near(t, r, img, want(upright, spec(t, name)), dB)
				h, err := resize.ReadHeader(img.Body)
				if err != nil {
					t.Fatal(err)
				}
				if h.Orientation != 1 {
					t.Errorf("the variant has orientation %d", h.Orientation)
				}
			})
		}
	}
	t.Run("an invalid orientation is ignored", func(t *testing.T) {
		for _, o := range []int{0, 9, 255} {
			img := one(t, r, oriented(jpegOf(t, upright.image()), o), "120x.png")
			near(t, r, img, want(upright, spec(t, "120x.png")), 32)
		}
	})
	t.Run("a phone's portrait becomes upright", func(t *testing.T) {
		img := one(t, r, testutil.Photo(t, "phone-orient6-p3.jpg"), "640x640.jpg")
		if img.Width != 480 || img.Height != 640 {
			t.Errorf("it has %dx%d pixels, want 480x640", img.Width, img.Height)
		}
	})
}

func turns(t *testing.T, r resize.Resizer) {
	upright := scene(240, 176)
	for _, o := range []int{1, 3, 5, 6} {
		original := oriented(jpegOf(t, upright.stored(o).image()), o)
		for _, turn := range []string{"", "-rot90", "-rot180", "-rot270"} {
			for _, mirror := range []string{"", "-flip", "-flop"} {
				name := "80x60-cover-left" + turn + mirror + ".png"
				t.Run(fmt.Sprintf("%d, %s", o, name), func(t *testing.T) {
					near(t, r, one(t, r, original, name), want(upright, spec(t, name)), 29)
				})
			}
		}
	}
}
