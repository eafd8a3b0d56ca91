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
	made := func(s resize.Spec, quick bool) (img resize.Image) {
		t.Helper()
		job := resize.Job{
			Original: original, Specs: []resize.Spec{s}, Quick: quick,
			Made: func(_ int, made resize.Image) { img = made },
		}
		if err := r.Resize(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		return img
	}
	for name, changes := range map[string]bool{
		"1320x.webp": true, "1320x-q90.webp": true, "1320x-q91.webp": false,
		"1320x-gray.webp": true, // not by the direct path
		"1320x.jpg":       false, "640x.webp": false,
	} {
		s := spec(t, name)
		usual, quick := made(s, false), made(s, true)
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
