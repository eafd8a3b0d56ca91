package vips

import (
	"slices"
	"testing"
	"time"

	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// floor does only what every way to make these images has to do: it decodes the codes of the
// original and transforms them at the size that the decoder gives for the Spec, and it encodes a
// small picture that exists already. It returns the CPU time of each.
func floor(t testing.TB, r *Resizer, original []byte, s resize.Spec) (decode, encode time.Duration, err error) {
	err = r.alone(resize.Job{Original: original, Specs: []resize.Spec{s}}, func(j *job) error {
		renderings, err := j.renderings()
		if err != nil {
			return err
		}
		before := cpu(t)
		d, err := openDirect(j.readable.file, 0)
		if err == nil {
			err = d.decode(renderings[0].shrink)
		}
		d.close()
		if err != nil {
			return err
		}
		decode = cpu(t) - before

		d, err = openDirect(j.readable.file, 0)
		defer d.close()
		if err != nil {
			return err
		}
		transform, err := d.transform(j.transforms, false)
		if err != nil {
			return err
		}
		if err := d.want(renderings[0]); err != nil {
			return err
		}
		if err := d.decode(renderings[0].shrink); err != nil {
			return err
		}
		if err := d.finish(0, renderings[0].plan.turn, transform); err != nil {
			return err
		}
		before = cpu(t)
		_, err = d.encode(0, renderings[0], s, false)
		encode = cpu(t) - before
		return err
	})
	return decode, encode, err
}

// bimgResize makes s with bimg as nearly as it can.
func bimgResize(original []byte, s resize.Spec) error {
	kind := map[resize.Format]bimg.ImageType{resize.JPEG: bimg.JPEG, resize.WebP: bimg.WEBP}[s.Format]
	header, err := resize.ReadHeader(original)
	if err != nil {
		return err
	}
	width, height := s.OutputSize(header.Upright())
	if header.Orientation >= 5 { // it is not asked to turn
		width, height = height, width
	}
	_, err = bimg.Resize(original, bimg.Options{
		Width: width, Height: height, Crop: s.Fit == resize.FitCover, Type: kind, Quality: s.EncodeQuality(),
		Interlace: true, StripMetadata: true, NoAutoRotate: true, OutputICC: "srgb",
	})
	return err
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// spent returns the CPU time that do takes.
func spent(b *testing.B, do func() error) time.Duration {
	b.Helper()
	before := cpu(b)
	check(b, do())
	return cpu(b) - before
}
