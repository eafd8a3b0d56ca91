package vips

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// directJobs are those that a feed asks for most.
var directJobs = []string{"640x640.jpg", "640x640.webp", "200x200-cover.webp", "1080x1080.jpg", "1080x1080.webp", "320x320.webp"}

// postSet is what one post needs.
var postSet = []string{"200x200-cover.webp", "320x320.webp", "640x640.webp", "1080x1080.webp", "640x640.jpg", "1080x1080.jpg"}

// floor does what no way to make these images can leave out, and nothing more: it reads
// the codes of the original and transforms them at the size that the decoder gives for the
// Spec, and encodes a small picture that is there already. It returns what each took.
func floor(t testing.TB, r *Resizer, original []byte, s resize.Spec) (decode, encode time.Duration, err error) {
	err = r.alone(original, func(j *job) error {
		looks, err := j.looks([]resize.Spec{s})
		if err != nil {
			return err
		}
		before := cpu(t)
		d, err := openDirect(j.original)
		if err == nil {
			err = d.decode(looks[0].shrink)
		}
		d.close()
		if err != nil {
			return err
		}
		decode = cpu(t) - before

		d, err = openDirect(j.original)
		defer d.close()
		if err != nil {
			return err
		}
		transform, err := d.transform(j.transforms, false)
		if err != nil {
			return err
		}
		if err := d.want(looks[0]); err != nil {
			return err
		}
		if err := d.decode(looks[0].shrink); err != nil {
			return err
		}
		if err := d.finish(0, looks[0].plan.turn, transform); err != nil {
			return err
		}
		before = cpu(t)
		_, err = d.encode(0, looks[0], s)
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

// BenchmarkDirect measures, in one run and in turn, CPU time of all threads in
// milliseconds: the floor (decode and encode alone), bimg, libvips as this package uses it,
// and the direct path. It logs the table; the figure of each cell is the mean over the
// photos of the median of the rounds. Every iteration is one round of everything.
func BenchmarkDirect(b *testing.B) {
	r := newResizer(b)
	var originals [][]byte
	for _, name := range phonePhotos {
		originals = append(originals, photo(b, name))
	}
	const ways = 5
	took := make([][][ways][]float64, len(directJobs)) // job, photo, way, round
	for i := range took {
		took[i] = make([][ways][]float64, len(originals))
	}
	for b.Loop() {
		for i, name := range directJobs {
			s := spec(b, name)
			for k, original := range originals {
				record := func(way int, d time.Duration) {
					took[i][k][way] = append(took[i][k][way], float64(d.Microseconds())/1000)
				}
				decode, encode, err := floor(b, r, original, s)
				check(b, err)
				record(0, decode)
				record(1, encode)
				record(2, spent(b, func() error { return bimgResize(original, s) }))
				record(3, spent(b, func() error { _, _, err := way(throughLibvips).make(r, original, s); return err }))
				record(4, spent(b, func() error { _, err := r.Resize(b.Context(), original, s); return err }))
			}
		}
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n%-22s %8s %8s %8s %8s %8s %8s %8s\n", "CPU ms", "decode", "encode", "floor", "bimg", "libvips", "direct", "x floor")
	for i, name := range directJobs {
		var mean [ways]float64
		for way := range ways {
			for k := range originals {
				mean[way] += median(took[i][k][way]) / float64(len(originals))
			}
		}
		floor := mean[0] + mean[1]
		fmt.Fprintf(&table, "%-22s %8.1f %8.1f %8.1f %8.1f %8.1f %8.1f %8.2f\n", name, mean[0], mean[1], floor, mean[2], mean[3], mean[4], mean[4]/floor)
		b.ReportMetric(mean[4]/floor, name+"-x-floor")
	}
	b.Log(table.String())
}

// BenchmarkPostSet measures a post's set from one call, and its images one by one.
func BenchmarkPostSet(b *testing.B) {
	r := newResizer(b)
	var specs []resize.Spec
	for _, name := range postSet {
		specs = append(specs, spec(b, name))
	}
	const ways = 4
	took := make([][ways][]float64, len(phonePhotos))
	for b.Loop() {
		for k, name := range phonePhotos {
			original := photo(b, name)
			oneByOne := func(make func(s resize.Spec) error) float64 {
				return ms(spent(b, func() error {
					for _, s := range specs {
						if err := make(s); err != nil {
							return err
						}
					}
					return nil
				}))
			}
			for way, cost := range [ways]float64{
				oneByOne(func(s resize.Spec) error { return bimgResize(original, s) }),
				oneByOne(func(s resize.Spec) error { _, _, err := way(throughLibvips).make(r, original, s); return err }),
				oneByOne(func(s resize.Spec) error { _, err := r.Resize(b.Context(), original, s); return err }),
				ms(spent(b, func() error { _, err := r.Resize(b.Context(), original, specs...); return err })),
			} {
				took[k][way] = append(took[k][way], cost)
			}
		}
	}
	var mean [ways]float64
	for way := range ways {
		for k := range took {
			mean[way] += median(took[k][way]) / float64(len(took))
		}
	}
	b.Logf("\na post's set, CPU ms: one by one bimg %.0f, libvips %.0f, direct %.0f; from one decode %.0f, that is %.0f %% of libvips one by one and %.0f %% of direct one by one",
		mean[0], mean[1], mean[2], mean[3], 100*mean[3]/mean[1], 100*mean[3]/mean[2])
	b.ReportMetric(100*mean[3]/mean[1], "%-of-libvips")
	b.ReportMetric(100*mean[3]/mean[2], "%-of-direct")
}

// BenchmarkDirectQuality compares both paths with a reference: a decode of all pixels, then
// libvips' Lanczos 3, nothing lost by an encoder. It logs PSNR, SSIM and bytes.
func BenchmarkDirectQuality(b *testing.B) {
	r := newResizer(b)
	var table strings.Builder
	for b.Loop() {
		table.Reset()
		fmt.Fprintf(&table, "\n%-22s %28s %28s\n%-22s %8s %9s %9s %8s %9s %9s\n", "", "libvips", "direct", "mean of the photos", "dB", "SSIM", "bytes", "dB", "SSIM", "bytes")
		for _, name := range directJobs {
			s := spec(b, name)
			var mean [2][3]float64
			for _, file := range phonePhotos {
				original := photo(b, file)
				luma, rgb := fieldsOf(reference(b, r, original, s))
				for k, w := range []way{throughLibvips, directly} {
					images, _, err := w.make(r, original, s)
					check(b, err)
					gotLuma, gotRGB := fieldsOf(pixels(b, images[0]))
					for i, v := range [3]float64{psnr(gotRGB, rgb), ssim(gotLuma, luma), float64(len(images[0].Body))} {
						mean[k][i] += v / float64(len(phonePhotos))
					}
				}
			}
			fmt.Fprintf(&table, "%-22s %8.2f %9.4f %9.0f %8.2f %9.4f %9.0f\n", name, mean[0][0], mean[0][1], mean[0][2], mean[1][0], mean[1][1], mean[1][2])
		}
	}
	b.Log(table.String())
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
