package vips

import (
	"bytes"
	"errors"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// FuzzDirect gives the direct path any bytes that have the header of a small JPEG. It must not
// crash, its errors must be those of package resize, and its images must decode and have the size
// of the Spec.
func FuzzDirect(f *testing.F) {
	for _, quality := range []int{30, 95} {
		original := jpegOf(f, cloth(123, 77), quality)
		f.Add(original, uint8(0))
		f.Add(oriented(original, 7), uint8(3))
		f.Add(original[:len(original)/2], uint8(1))
	}
	r := newResizer(f)
	f.Add(progressive(f, r, 96, 64), uint8(2))
	names := []string{"40x.jpg", "30x30-cover.webp", "9x.jpg", "100x100.webp", "50x20-cover-at10x90.jpg"}
	f.Fuzz(func(t *testing.T, original []byte, which uint8) {
		h, err := resize.ReadHeader(original)
		if err != nil || h.Kind != resize.KindJPEG || h.Width*h.Height > 1<<20 {
			return
		}
		s := spec(t, names[int(which)%len(names)])
		images, left, err := way(directly).make(r, bytes.Clone(original), s)
		if err != nil {
			if !errors.Is(err, resize.ErrCorrupt) && !errors.Is(err, resize.ErrTooLarge) {
				t.Fatal(err)
			}
			return
		}
		if len(left) != 0 {
			return
		}
		width, height := s.OutputSize(h.Upright())
		if images[0].Width != width || images[0].Height != height {
			t.Fatalf("size %dx%d, want %dx%d", images[0].Width, images[0].Height, width, height)
		}
		pixels(t, images[0])
	})
}

// progressive makes a progressive original.
func progressive(t testing.TB, r *Resizer, width, height int) []byte {
	t.Helper()
	images, _, err := way(throughLibvips).make(r, jpegOf(t, cloth(width, height), 90), spec(t, "8000x.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	return images[0].Body
}
