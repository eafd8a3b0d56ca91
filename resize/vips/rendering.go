package vips

import (
	"slices"

	"github.com/novasocial/imagetier/resize"
)

// Planning: which pixels a job renders for its Specs, and how far the decoder scales down for each.

// A rendering is the pixels of one or more Specs, before they are encoded.
type rendering struct {
	resize.Spec      // without encoder settings
	region      rect // of the original, in the stored frame: its crop, or all of it, without its border
	plan        plan
	shrink      int   // the factor by which the decoder scales down
	wanted      []int // the indices of the Specs
	optional    bool  // its Specs are
	focus       *rect // where to crop, once the first frame has been analysed
}

func renderingOf(s resize.Spec) resize.Spec {
	switch s.Shape {
	case resize.ShapeInfo:
		return resize.Spec{Width: infoSide, Height: infoSide}
	case resize.ShapeMezzanine:
		return resize.Spec{Width: s.Width, Height: s.Height}
	}
	s.P3 = wide(s)
	s.Format, s.Quality, s.Still, s.Credit = resize.NoFormat, 0, false, false
	if s.Fit != resize.FitPad { // with FitPad the background is part of the pixels
		s.Background = resize.Color{}
	}
	return s
}

// renderings plans every different rendering of the Specs, and sorts them by the cost of encoding them.
func (j *job) renderings() ([]*rendering, error) {
	var renderings []*rendering
	type pixels struct {
		resize.Spec
		plan     plan // formats that hold different sizes have different plans
		optional bool
	}
	known := map[pixels]*rendering{}
	trimmed := map[rect]rect{}
	for i, s := range j.specs {
		rest := renderingOf(s)
		region := cropped(rest.Crop, j.stored, j.orientation)
		if rest.Trim {
			inside, ok := trimmed[region]
			if !ok {
				var err error
				if inside, err = j.border(region); err != nil {
					return nil, broken(err, j.kind)
				}
				trimmed[region] = inside
			}
			region = inside
		}
		planned := rest
		planned.Format = s.Format // for its longest side
		key := pixels{rest, planFor(planned, region.size(), j.orientation), i >= j.needed}
		l := known[key]
		if l == nil {
			l = &rendering{Spec: rest, region: region, plan: key.plan, optional: key.optional}
			l.shrink = j.shrink(l.plan.factor(region.size()))
			known[key] = l
			renderings = append(renderings, l)
		}
		l.wanted = append(l.wanted, i)
	}
	for _, l := range renderings {
		slices.SortStableFunc(l.wanted, func(a, b int) int {
			return encodingCost(j.specs[a].Format) - encodingCost(j.specs[b].Format)
		})
	}
	slices.SortStableFunc(renderings, func(a, b *rendering) int {
		return a.plan.scaled.width*a.plan.scaled.height - b.plan.scaled.width*b.plan.scaled.height
	})
	return renderings, nil
}

// encodingCost returns how long encoding a pixel takes, relative to JPEG.
func encodingCost(f resize.Format) int {
	switch f {
	case resize.JPEG, resize.JSON:
		return 1
	case resize.AVIF, resize.HEIC, resize.JXL:
		return 13
	}
	return 5
}

// shrink returns the integer factor by which the decoder scales down, for a total factor. It leaves
// at least 1.33 to the resampler, which is the better filter; more would take time without visible benefit. If the
// decoder halves a JPEG of many pixels, which has little detail in the single pixel, 1.1 is enough
// (docs/benchmarks/resizing.md).
func (j *job) shrink(factor float64) int {
	const left, leftOfHalf, many = 1.33, 1.1, 6_000_000
	switch j.kind {
	case resize.KindJPEG: // powers of two, in the DCT
		for _, n := range [...]int{8, 4} {
			if factor >= left*float64(n) {
				return n
			}
		}
		if factor >= 2*left || factor >= 2*leftOfHalf && j.stored.width*j.stored.height >= many {
			return 2
		}
	case resize.KindWebP: // any factor, by averaging
		if j.header.Animated { // libvips 8.14 changes the size of some frames that do not fill the canvas
			return 1
		}
		return max(1, int(factor/left))
	}
	return 1
}
