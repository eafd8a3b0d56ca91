package vips

import (
	"syscall"
	"testing"
	"time"

	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// phonePhotos are the 12-megapixel JPEGs among the sample photos.
var phonePhotos = []string{
	"phone-srgb.jpg", "phone-orient6-p3.jpg", "phone-android.jpg", "phone-p3-b.jpg",
	"phone-portrait-p3.jpg", "vertical.jpg", "portrait-book.jpg",
}

// BenchmarkPhonePhotos makes 640-pixel variants of each photo in turn, one per iteration. Compare
// cpu-ms/op, user and system time of all threads. bimg is measured too, with the most similar
// options (its own EXIF rotation left out, because it reads freed memory).
func BenchmarkPhonePhotos(b *testing.B) {
	var photos [][]byte
	for _, name := range phonePhotos {
		photos = append(photos, testutil.Photo(b, name))
	}
	resizer := newResizer(b)
	for _, format := range []string{"jpg", "webp"} {
		spec := spec(b, "640x640."+format)
		b.Run(format+"/imagetier", func(b *testing.B) {
			eachPhoto(b, photos, func(original []byte) (int, error) {
				images, err := resize.Make(b.Context(), resizer, original, spec)
				if err != nil {
					return 0, err
				}
				return len(images[0].Body), nil
			})
		})
		kind := map[resize.Format]bimg.ImageType{resize.JPEG: bimg.JPEG, resize.WebP: bimg.WEBP}[spec.Format]
		b.Run(format+"/bimg", func(b *testing.B) {
			eachPhoto(b, photos, func(original []byte) (int, error) {
				body, err := bimg.Resize(original, bimg.Options{
					Width: 640, Type: kind, Quality: spec.EncodeQuality(),
					Interlace: true, StripMetadata: true, NoAutoRotate: true,
				})
				return len(body), err
			})
		})
	}
}

func eachPhoto(b *testing.B, photos [][]byte, resize func([]byte) (int, error)) {
	bytes, i := 0, 0
	before := cpu(b)
	for b.Loop() {
		n, err := resize(photos[i%len(photos)])
		if err != nil {
			b.Fatal(err)
		}
		bytes += n
		i++
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/1000/float64(i), "cpu-ms/op")
	b.ReportMetric(float64(bytes)/1000/float64(i), "kB/op")
}

// BenchmarkKinds makes one 640-pixel WebP of one original of every kind.
func BenchmarkKinds(b *testing.B) {
	resizer := newResizer(b)
	for _, name := range []string{
		"progressive-p3.jpg", "paper-alpha.png", "vertical.webp", "photo.avif", "photo.heic", "animation.gif",
	} {
		original := testutil.Photo(b, name)
		b.Run(name, func(b *testing.B) {
			eachPhoto(b, [][]byte{original}, func(original []byte) (int, error) {
				images, err := resize.Make(b.Context(), resizer, original, spec(b, "640x640-still.webp"))
				if err != nil {
					return 0, err
				}
				return len(images[0].Body), nil
			})
		})
	}
}

// BenchmarkFeedProfile makes the six variants of the profile "feed" in one call, and in six.
func BenchmarkFeedProfile(b *testing.B) {
	resizer, original := newResizer(b), testutil.Photo(b, "phone-orient6-p3.jpg")
	var specs []resize.Spec
	for _, name := range []string{"440x.webp", "880x.webp", "1320x.webp", "440x.jpg", "880x.jpg", "1320x.jpg"} {
		specs = append(specs, spec(b, name))
	}
	b.Run("one-call", func(b *testing.B) {
		eachPhoto(b, [][]byte{original}, func(original []byte) (int, error) {
			_, err := resize.Make(b.Context(), resizer, original, specs...)
			return 0, err
		})
	})
	b.Run("six-calls", func(b *testing.B) {
		eachPhoto(b, [][]byte{original}, func(original []byte) (int, error) {
			for _, s := range specs {
				if _, err := resize.Make(b.Context(), resizer, original, s); err != nil {
					return 0, err
				}
			}
			return 0, nil
		})
	})
}

func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func newResizer(t testing.TB) *Resizer {
	t.Helper()
	if testing.Short() {
		t.Skip("decodes and encodes real images")
	}
	r, err := New(Config{Explain: func(text string) { t.Logf("libvips: %s", text) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func spec(t testing.TB, name string) resize.Spec {
	t.Helper()
	s, err := resize.ParseSpecName(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
