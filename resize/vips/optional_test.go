package vips

import (
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// A job asks once whether there is time for Optional Specs, when all others are made.
func TestResizer_ResizeWhile_AsksBeforeOptional(t *testing.T) {
	r := newResizer(t)
	for _, name := range []string{"phone-srgb.jpg", "paper-alpha.png", "vertical.webp"} {
		original := testutil.Photo(t, name)
		for _, goOn := range []bool{true, false} {
			asked := 0
			var order []int
			err := r.ResizeWhile(t.Context(), resize.Job{
				Original: original,
				Specs:    []resize.Spec{spec(t, "640x.webp"), spec(t, "200x200-cover-smart.jpg"), spec(t, "64x.jpg")},
				Optional: []resize.Spec{
					resize.Mezzanine(mezzanineSide), {Shape: resize.ShapeInfo, Format: resize.JSON},
				},
				Made: func(i int, _ resize.Image) { order = append(order, i) },
			}, func() bool {
				if asked++; len(order) != 3 {
					t.Errorf("%s: asked after %v", name, order)
				}
				return goOn
			})
			want := 3
			if goOn {
				want = 5
			}
			if err != nil || asked != 1 || len(order) != want {
				t.Errorf("%s: made %v, asked %d times, %v", name, order, asked, err)
			}
		}
	}
}
