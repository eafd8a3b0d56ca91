package vips

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

var (
	rounds    = flag.Int("rounds", 3, "rounds of BenchmarkOneDecode: a figure is their median")
	chartFile = flag.String("chart", "", "`file` that BenchmarkOneDecode draws its chart to (SVG)")
)

// decodeJobs are those that a feed asks for most. The first four have targets.
var decodeJobs = []string{
	"640x640.jpg",
	"640x640.webp",
	"200x200-cover.webp",
	"1080x1080.jpg",
	"1080x1080.webp",
	"320x320.webp",
}

// postSet has the Specs that one post needs, without info.
var postSet = []string{
	"200x200-cover.webp",
	"320x320.webp",
	"640x640.webp",
	"1080x1080.webp",
	"640x640.jpg",
	"1080x1080.jpg",
}

// Targets.
const (
	mostOfFloor = 1.65 // times the floor, from the original and from the mezzanine
	mostOfSet   = 45   // per cent of making each of a post's set from the original by libvips
)

// BenchmarkOneDecode prints the tables of docs/benchmarks/resizing.md, measured in one run, the
// ways in turn: CPU time of all threads in milliseconds, each figure the mean over the
// photos of the median of the rounds; then quality.
func BenchmarkOneDecode(b *testing.B) {
	r := newResizer(b)
	var photos []benchPhoto
	for _, name := range phonePhotos {
		original := testutil.Photo(b, name)
		photos = append(photos, benchPhoto{original, mezzanineOf(b, r, original)})
	}
	b.Run("jobs", func(b *testing.B) {
		for b.Loop() {
			costs := measureJobs(b, r, photos)
			b.Log("\n" + costs.table())
			for i, name := range decodeJobs {
				b.ReportMetric(costs[i][ours]/costs[i].floor(), name+"-x-floor")
				b.ReportMetric(costs[i][keptOurs]/costs[i].keptFloor(), name+"-mezzanine-x-floor")
			}
			if *chartFile != "" {
				check(b, os.WriteFile(*chartFile, costs.chart(), 0o644))
			}
		}
	})
	b.Run("post set", func(b *testing.B) {
		for b.Loop() {
			set := measureSet(b, r, photos)
			b.Logf("\n%s", set)
			b.ReportMetric(set.percent(), "%-of-libvips")
		}
	})
	b.Run("quality", func(b *testing.B) {
		for b.Loop() {
			b.Log("\n" + measureQuality(b, r, photos))
		}
	})
	b.Run("perceived", func(b *testing.B) {
		for b.Loop() {
			b.Log("\n" + measurePerceived(b, r, photos))
		}
	})
	b.Run("quick", func(b *testing.B) {
		for b.Loop() {
			b.Log("\n" + measureQuick(b, r, photos))
		}
	})
}

// benchPhoto is an original and its mezzanine.
type benchPhoto struct{ original, kept []byte }

// The inputs of a job: the original, then the mezzanine ("kept").
const (
	floorDecode = iota
	floorEncode
	byBimg
	byLibvips
	ours
	keptFloorDecode
	keptFloorEncode
	keptByLibvips
	keptOurs
	measured
)

// jobCost is the CPU milliseconds of one job in each way.
type jobCost [measured]float64

func (c jobCost) floor() float64     { return c[floorDecode] + c[floorEncode] }
func (c jobCost) keptFloor() float64 { return c[keptFloorDecode] + c[keptFloorEncode] }

// jobCosts are those of decodeJobs.
type jobCosts []jobCost

func measureJobs(b *testing.B, r *Resizer, photos []benchPhoto) jobCosts {
	costs := make(jobCosts, len(decodeJobs))
	for i, name := range decodeJobs {
		s := spec(b, name)
		for _, p := range photos {
			var took [measured][]float64
			for range *rounds {
				for way, cost := range oneRound(b, r, p, s) {
					took[way] = append(took[way], cost)
				}
			}
			for way := range took {
				costs[i][way] += median(took[way]) / float64(len(photos))
			}
		}
	}
	return costs
}

func oneRound(b *testing.B, r *Resizer, p benchPhoto, s resize.Spec) (c jobCost) {
	decode, encode, err := floor(b, r, p.original, s)
	check(b, err)
	c[floorDecode], c[floorEncode] = ms(decode), ms(encode)
	decode, encode, err = floor(b, r, p.kept, s)
	check(b, err)
	c[keptFloorDecode], c[keptFloorEncode] = ms(decode), ms(encode)
	libvips := func(from []byte) float64 {
		return ms(spent(b, func() error { _, _, err := way(throughLibvips).make(r, from, s); return err }))
	}
	imagetier := func(from []byte) float64 {
		return ms(spent(b, func() error { _, err := resize.Make(b.Context(), r, from, s); return err }))
	}
	c[byBimg] = ms(spent(b, func() error { return bimgResize(p.original, s) }))
	c[byLibvips], c[keptByLibvips] = libvips(p.original), libvips(p.kept)
	c[ours], c[keptOurs] = imagetier(p.original), imagetier(p.kept)
	return c
}

func (costs jobCosts) table() string {
	var t strings.Builder
	t.WriteString(
		"12 MP to, CPU ms | decode | encode | floor | bimg | lean libvips | imagetier | x floor | from its mezzanine: floor | lean libvips | imagetier | x floor\n",
	)
	t.WriteString("---|---|---|---|---|---|---|---|---|---|---|---\n")
	for i, c := range costs {
		fmt.Fprintf(
			&t,
			"%s | %.1f | %.1f | %.1f | %.1f | %.1f | **%.1f** | %s | %.1f | %.1f | **%.1f** | %s\n",
			decodeJobs[i],
			c[floorDecode],
			c[floorEncode],
			c.floor(),
			c[byBimg],
			c[byLibvips],
			c[ours],
			verdict(c[ours]/c.floor(), mostOfFloor),
			c.keptFloor(),
			c[keptByLibvips],
			c[keptOurs],
			verdict(c[keptOurs]/c.keptFloor(), mostOfFloor),
		)
	}
	return t.String()
}

// verdict marks a ratio that exceeds the target.
func verdict(ratio, most float64) string {
	if ratio > most {
		return fmt.Sprintf("%.2f (over %.2f)", ratio, most)
	}
	return fmt.Sprintf("%.2f", ratio)
}

// setCost is the cost of a post's set in CPU milliseconds.
type setCost struct{ bimg, libvips, alone, together, mezzanine float64 }

// percent is the cost of the set through the mezzanine, relative to making each Spec by libvips.
func (c setCost) percent() float64 { return 100 * c.mezzanine / c.libvips }

func (c setCost) String() string {
	return fmt.Sprintf(`a post's set (%s; info), CPU ms | | of lean libvips
---|---|---
each from the original, bimg (without info) | %.0f | %.0f %%
each from the original, lean libvips | %.0f | 100 %%
each from the original, imagetier | %.0f | %.0f %%
all from one decode of the original | %.0f | %.0f %%
mezzanine and info from the original, the rest from the mezzanine | **%.0f** | %s %%
`, strings.Join(postSet, ", "), c.bimg, 100*c.bimg/c.libvips, c.libvips, c.alone, 100*c.alone/c.libvips,
		c.together, 100*c.together/c.libvips, c.mezzanine, verdict(c.percent(), mostOfSet))
}

func measureSet(b *testing.B, r *Resizer, photos []benchPhoto) (c setCost) {
	var variants []resize.Spec
	for _, name := range postSet {
		variants = append(variants, spec(b, name))
	}
	info := resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON}
	all := append(slices.Clone(variants), info)
	each := func(specs []resize.Spec, make func(s resize.Spec) error) func() error {
		return func() error {
			for _, s := range specs {
				if err := make(s); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, p := range photos {
		var took [5][]float64
		for range *rounds {
			for way, do := range []func() error{
				each(variants, func(s resize.Spec) error { return bimgResize(p.original, s) }),
				each(all, func(s resize.Spec) error {
					_, _, err := way(throughLibvips).make(r, p.original, s)
					return err
				}),
				each(all, func(s resize.Spec) error {
					_, err := resize.Make(b.Context(), r, p.original, s)
					return err
				}),
				func() error { _, err := resize.Make(b.Context(), r, p.original, all...); return err },
				func() error { // as package fill does it
					made, err := resize.Make(b.Context(), r, p.original, resize.Mezzanine(mezzanineSide), info)
					if err == nil {
						_, err = resize.Make(b.Context(), r, made[0].Body, variants...)
					}
					return err
				},
			} {
				took[way] = append(took[way], ms(spent(b, do)))
			}
		}
		for way, sum := range []*float64{&c.bimg, &c.libvips, &c.alone, &c.together, &c.mezzanine} {
			*sum += median(took[way]) / float64(len(photos))
		}
	}
	return c
}

// measureQuality compares with a reference: a decode of all pixels, then libvips' Lanczos 3,
// without encoding. The last column compares the two paths at quality 100. At usual qualities, a
// rounding difference between two pictures becomes much larger by encoding.
func measureQuality(b *testing.B, r *Resizer, photos []benchPhoto) string {
	var t strings.Builder
	t.WriteString(
		"PSNR dB / SSIM / bytes | lean libvips | imagetier | imagetier from the mezzanine | SSIM between lean libvips and imagetier, the least\n",
	)
	t.WriteString("---|---|---|---|---\n")
	for _, name := range decodeJobs {
		s := spec(b, name)
		var mean [3][3]float64
		least := 1.0
		for _, p := range photos {
			luma, rgb := fieldsOf(reference(b, r, p.original, s))
			images, _, err := way(throughLibvips).make(r, p.original, s)
			check(b, err)
			direct, err := resize.Make(b.Context(), r, p.original, s)
			check(b, err)
			kept, err := resize.Make(b.Context(), r, p.kept, s)
			check(b, err)
			for way, img := range []resize.Image{images[0], direct[0], kept[0]} {
				dB, similar := quality(b, img, luma, rgb)
				for i, v := range [3]float64{dB, similar, float64(len(img.Body))} {
					mean[way][i] += v / float64(len(photos))
				}
			}
			least = min(least, betweenPaths(b, r, p.original, s))
		}
		fmt.Fprintf(&t, "%s", name)
		for _, m := range mean {
			fmt.Fprintf(&t, " | %.2f / %.4f / %.0f", m[0], m[1], m[2])
		}
		fmt.Fprintf(&t, " | %.4f\n", least)
	}
	return t.String()
}

// betweenPaths returns the SSIM of what both paths make of s at quality 100.
func betweenPaths(b *testing.B, r *Resizer, original []byte, s resize.Spec) float64 {
	s.Quality = 100
	var luma [2]field
	for i, w := range []way{directly, throughLibvips} {
		images, left, err := w.make(r, original, s)
		check(b, err)
		if len(left) > 0 {
			b.Fatalf("%s: the direct path does not take it", s.Name())
		}
		luma[i], _ = fieldsOf(pixels(b, images[0]))
	}
	return ssim(luma[0], luma[1])
}
