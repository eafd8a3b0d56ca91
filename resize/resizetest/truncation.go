package resizetest

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// wholes returns originals of every kind, with noise so that no part is empty.
func wholes(t *testing.T, r resize.Resizer) map[string][]byte {
	picture := noisy(320, 240)
	frame := image.NewPaletted(image.Rect(0, 0, 320, 240), palette.Plan9)
	draw.Draw(frame, frame.Bounds(), picture, image.Point{}, draw.Src)
	return map[string][]byte{
		"jpeg":             jpegOf(t, picture),
		"progressive jpeg": encoded(t, r, picture, "jpg"),
		"png":              pngOf(t, picture),
		"webp":             encoded(t, r, picture, "webp"),
		"avif":             encoded(t, r, picture, "avif"),
		"gif":              gifOf(t, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}}),
	}
}

// noisy returns a scene with deterministic noise.
func noisy(w, h int) *image.NRGBA {
	seed := uint32(1)
	return scene(w, h).each(func(p [4]float64) [4]float64 {
		seed = seed*1664525 + 1013904223
		grain := (float64(seed>>16)/65536 - 0.5) * 0.12
		return [4]float64{p[0] + grain, p[1] + grain, p[2] - grain, 1}
	}).image()
}

func (r raster) each(f func(p [4]float64) [4]float64) raster {
	return newRaster(r.w, r.h).fill(func(x, y int) [4]float64 { return f(r.at(x, y)) })
}

const cuts = 60

func truncated(t *testing.T, r resize.Resizer) {
	for kind, whole := range wholes(t, r) {
		t.Run(kind, func(t *testing.T) {
			want := one(t, r, whole, "100x.jpg").Body
			for i := range cuts {
				cutIsRefused(t, r, whole, len(whole)*i/cuts, nil)
			}
			for left := 1; left <= 12; left++ {
				cutIsRefused(t, r, whole, len(whole)-left, want)
			}
		})
	}
	for _, kind := range []string{"jpeg", "progressive jpeg"} {
		t.Run(kind+" that was given an end", func(t *testing.T) {
			whole := wholes(t, r)[kind]
			start := bytes.Index(whole, []byte("\xff\xda"))
			// Closer to the end, only the padding of a scan may be missing.
			for at := start + 20; at < len(whole)-200; at += (len(whole) - start) / cuts {
				ended := append(append([]byte(nil), whole[:at]...), 0xff, 0xd9)
				damage := fmt.Sprintf("the first %d of %d bytes and an end", at, len(whole))
				refused(t, r, ended, "100x.jpg", resize.ErrCorrupt, damage)
				refused(t, r, ended, "320x20-cover-top.jpg", resize.ErrCorrupt,
					damage+", crop of its top")
			}
		})
	}
	t.Run("png with damage near its end", func(t *testing.T) {
		damaged := bytes.Clone(wholes(t, r)["png"])
		clear(damaged[len(damaged)-2000 : len(damaged)-1900])
		for _, name := range []string{"100x.jpg", "320x20-cover-top.jpg"} {
			refused(t, r, damaged, name, resize.ErrCorrupt, name)
		}
	})
	t.Run("photos", func(t *testing.T) {
		for _, name := range []string{
			"phone-android.jpg", "progressive-p3.jpg", "paper-alpha.png",
			"vertical.webp", "photo.avif", "animation-small.gif",
		} {
			whole := testutil.Photo(t, name)
			for _, percent := range []int{3, 30, 60, 90, 99} {
				cutIsRefused(t, r, whole, len(whole)*percent/100, nil)
			}
		}
	})
}

// cutIsRefused fails the test unless the first bytes of whole are refused or, unless want is nil,
// give want: only end marks are missing.
func cutIsRefused(t *testing.T, r resize.Resizer, whole []byte, at int, want []byte) {
	t.Helper()
	damage := fmt.Sprintf("the first %d of %d bytes", at, len(whole))
	if at < 12 { // too short to detect the kind
		if _, err := resize.Make(t.Context(), r, whole[:at], spec(t, "100x.jpg")); err == nil {
			t.Errorf("%s: an image was made of it", damage)
		}
		return
	}
	if images, err := resize.Make(t.Context(), r, whole[:at], spec(t, "100x.jpg")); err == nil && want != nil {
		if !bytes.Equal(images[0].Body, want) {
			t.Errorf("%s: the picture has changed", damage)
		}
		return
	}
	refused(t, r, whole[:at], "100x.jpg", resize.ErrCorrupt, damage)
}

// refused fails the test unless Resize returns an error that wraps sentinel, and nothing else.
func refused(t *testing.T, r resize.Resizer, original []byte, name string, sentinel error, damage string) {
	t.Helper()
	images, err := resize.Make(t.Context(), r, original, spec(t, name))
	if !errors.Is(err, sentinel) {
		t.Errorf("%s: %d images and the error %v, want %v", damage, len(images), err, sentinel)
	}
	if err != nil && len(images) != 0 {
		t.Errorf("%s: %d images together with an error", damage, len(images))
	}
}

// trailing: a motion photo is a JPEG followed by a video.
func trailing(t *testing.T, r resize.Resizer) {
	files := wholes(t, r)
	files["heic"] = encoded(t, r, noisy(320, 240), "heic")
	for kind, whole := range files {
		plain := one(t, r, whole, "100x.jpg")
		for ending, tail := range map[string]string{
			"a film": "\x00\x00\x00\x1cftypisom\x00\x00\x02\x00isomiso2mp41" +
				string(bytes.Repeat([]byte("film\xff\xd8\xff\xd9"), 5000)),
			"zeros":   string(make([]byte, 5000)),
			"a text":  "text text text text text text text text text",
			"a photo": string(jpegOf(t, noisy(80, 60))),
		} {
			t.Run(kind+" and "+ending, func(t *testing.T) {
				tailed := append(append([]byte(nil), whole...), tail...)
				images, err := resize.Make(t.Context(), r, tailed, spec(t, "100x.jpg"))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(images[0].Body, plain.Body) {
					t.Error("trailing bytes change the picture")
				}
			})
		}
	}
}
