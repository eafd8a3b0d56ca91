package vips

import (
	"bytes"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// mezzanineSide is the default of --mezzanine.
const mezzanineSide = 1440

// mezzanineOf makes the mezzanine of original.
func mezzanineOf(t testing.TB, r *Resizer, original []byte) []byte {
	t.Helper()
	images, err := resize.Make(t.Context(), r, original, resize.Mezzanine(mezzanineSide))
	if err != nil {
		t.Fatal(err)
	}
	return images[0].Body
}

// quality returns PSNR and SSIM of an image against the reference.
func quality(t testing.TB, img resize.Image, luma field, rgb [3]field) (dB, similar float64) {
	t.Helper()
	gotLuma, gotRGB := fieldsOf(pixels(t, img))
	return psnr(gotRGB, rgb), ssim(gotLuma, luma)
}

func TestMezzanine_Resize_LosesLittleQuality(t *testing.T) {
	r := newResizer(t)
	names, photos := []string{"640x640.jpg", "640x640.webp", "200x200-cover.webp"}, phonePhotos
	if testing.Short() {
		photos = photos[:2]
	}
	for _, name := range names {
		s := spec(t, name)
		var lost, unlike float64
		for _, file := range photos {
			original := testutil.Photo(t, file)
			luma, rgb := fieldsOf(reference(t, r, original, s))
			var dB, similar [2]float64
			for i, from := range [][]byte{original, mezzanineOf(t, r, original)} {
				images, err := resize.Make(t.Context(), r, from, s)
				if err != nil {
					t.Fatal(err)
				}
				dB[i], similar[i] = quality(t, images[0], luma, rgb)
			}
			lost += (dB[0] - dB[1]) / float64(len(photos))
			unlike += (similar[0] - similar[1]) / float64(len(photos))
		}
		t.Logf("%s: %.2f dB and %.4f SSIM below the same variant from the original", name, lost, unlike)
		if lost > 0.4 || unlike > 0.004 {
			t.Errorf("%s: %.2f dB and %.4f SSIM lost in the mezzanine, want at most 0.4 and 0.004",
				name, lost, unlike)
		}
	}
}

func TestMezzanine_Batch_EqualsSeparate(t *testing.T) {
	r := newResizer(t)
	all := []resize.Spec{
		spec(t, "640x640.webp"),
		{Shape: resize.ShapeInfo, Format: resize.JSON},
		spec(t, "640x640.jpg"),
		spec(t, "100x100.webp"),
		resize.Mezzanine(640),
		spec(t, "100x100.jpg"),
		resize.Mezzanine(mezzanineSide),
	}
	for _, file := range phonePhotos { // with profiles that are converted, and without
		original := testutil.Photo(t, file)
		images, err := resize.Make(t.Context(), r, original, all...)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range all {
			alone, err := resize.Make(t.Context(), r, original, s)
			if err != nil || !bytes.Equal(alone[0].Body, images[i].Body) {
				t.Errorf("%s, %s: the file differs from that of a job with this Spec alone (%v)", file, s.Name(), err)
			}
		}
	}
}
