package vips

import (
	"bytes"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

func TestResizer_Resize_Quick(t *testing.T) {
	r := newResizer(t)
	original := testutil.Photo(t, "phone-srgb.jpg")
	make := func(s resize.Spec, quick bool) (made resize.Image) {
		t.Helper()
		job := resize.Job{
			Original: original, Specs: []resize.Spec{s}, Quick: quick,
			Made: func(_ int, img resize.Image) { made = img },
		}
		if err := r.Resize(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		return made
	}
	for name, changes := range map[string]bool{
		"1320x.webp": true, "1320x-q90.webp": true, "1320x-q91.webp": false,
		"1320x-gray.webp": true, // not by the direct path
		"1320x.jpg":       false, "640x.webp": false,
	} {
		s := spec(t, name)
		usual, quick := make(s, false), make(s, true)
		if changed := !bytes.Equal(usual.Body, quick.Body); changed != changes {
			t.Errorf("%s: Quick changes the bytes: %v, want %v", name, changed, changes)
		}
		luma, rgb := fieldsOf(pixels(t, usual))
		quickLuma, quickRGB := fieldsOf(pixels(t, quick))
		if similar := ssim(luma, quickLuma); similar < 0.96 || psnr(rgb, quickRGB) < 36 {
			t.Errorf("%s: SSIM %.4f and %.1f dB between both ways", name, similar, psnr(rgb, quickRGB))
		}
		if n := len(quick.Body); n > len(usual.Body)*115/100 {
			t.Errorf("%s: %d bytes, without Quick %d", name, n, len(usual.Body))
		}
	}
}

// The decoder leaves 1.33 of the factor to the resampler, or 1.1 where it halves a large photo.
func TestJob_Shrink_JPEG(t *testing.T) {
	photo, mezzanine := size{4032, 3024}, size{1440, 1080}
	for _, c := range []struct {
		stored size
		factor float64
		want   int
	}{
		{photo, 1, 1}, {photo, 2.1, 1}, {photo, 2.29, 2}, {photo, 5.3, 2}, {photo, 5.4, 4}, {photo, 10.6, 4},
		{photo, 10.7, 8}, {photo, 60, 8}, {mezzanine, 2.29, 1}, {mezzanine, 2.7, 2},
	} {
		j := &job{kind: resize.KindJPEG, stored: c.stored}
		if got := j.shrink(c.factor); got != c.want {
			t.Errorf("%v by %v: the decoder scales down by %d, want %d", c.stored, c.factor, got, c.want)
		}
	}
}
