package vips

// #include "direct.h"
import "C"

import (
	"context"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/resize"
)

// The direct path (direct.h) makes the most common variants, a phone's JPEG as a smaller JPEG or
// WebP, without libvips and in less time. Everything else is left to libvips. The choice depends
// only on the Spec and the original.

// maxResample is the largest factor by which the direct path resamples after the decoder has scaled
// down. Only tiny variants of large photos need more.
const maxResample = 16

// direct reports whether the direct path can make l of an original of size stored.
func (l *rendering) direct(stored size) bool {
	rest := l.Spec
	rest.Width, rest.Height, rest.Up = 0, 0, false
	rest.Rotate, rest.Mirror = 0, resize.MirrorNone
	rest.Background, rest.P3 = resize.Color{}, false
	switch rest.Fit {
	case resize.FitInside, resize.FitCover:
		rest.Fit = resize.FitInside
	}
	switch rest.Gravity {
	case resize.GravityCentre,
		resize.GravityTop,
		resize.GravityBottom,
		resize.GravityLeft,
		resize.GravityRight,
		resize.GravityAt:
		rest.Gravity, rest.FocusX, rest.FocusY = resize.GravityCentre, 0, 0
	}
	if rest != (resize.Spec{}) { // an option that is not supported
		return false
	}
	p := l.plan
	if p.attention != (size{}) || p.enlarged != (size{}) || p.canvas != (size{}) {
		return false
	}
	return p.scaled.width <= stored.width && p.scaled.height <= stored.height &&
		max(stored.width/p.scaled.width, stored.height/p.scaled.height) < maxResample*l.shrink
}

// splitDirect splits renderings into those for the direct path and those for libvips. The formats
// of one rendering may be split too.
func (j *job) splitDirect(renderings []*rendering) (taken, left []*rendering) {
	for _, l := range renderings {
		if j.kind != resize.KindJPEG || !l.direct(j.stored) {
			left = append(left, l)
			continue
		}
		mine, others := *l, *l
		mine.wanted, others.wanted = nil, nil
		for _, i := range l.wanted {
			if f := j.specs[i].Format; f == resize.JPEG || f == resize.WebP || f == resize.JSON {
				mine.wanted = append(mine.wanted, i)
			} else {
				others.wanted = append(others.wanted, i)
			}
		}
		if len(mine.wanted) > 0 {
			taken = append(taken, &mine)
		}
		if len(others.wanted) > 0 {
			left = append(left, &others)
		}
	}
	return taken, left
}

// A pass is one decode of the original, and the renderings that are made of it.
type pass struct {
	directDecoder
	j          *job
	renderings []*rendering
	convert    []C.cmsHTRANSFORM // for each of them, or nil
}

// decodeDirect decodes the original for the direct path, where that can make any of renderings, and returns
// the others. The passes must be closed even after an error.
func (j *job) decodeDirect(renderings []*rendering) (passes []*pass, left []*rendering, err error) {
	taken, left := j.splitDirect(renderings)
	for _, same := range passesOf(taken) {
		p := &pass{j: j, renderings: same, convert: make([]C.cmsHTRANSFORM, len(same))}
		passes = append(passes, p)
		err := p.decode()
		if errors.Is(err, errNotDirect) { // can only happen in the first pass
			p.close()
			return nil, renderings, nil
		}
		if err != nil {
			return passes, nil, err
		}
	}
	return passes, left, nil
}

// passesOf groups renderings by what one pass can make: all of them or, if a pass makes only one scale,
// those with the same scale.
func passesOf(renderings []*rendering) [][]*rendering {
	if len(renderings) == 0 {
		return nil
	}
	if C.tier_direct_scales() > 1 {
		return [][]*rendering{renderings}
	}
	var groups [][]*rendering
	known := map[int]int{}
	for _, l := range renderings {
		i, ok := known[l.shrink]
		if !ok {
			i = len(groups)
			known[l.shrink] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], l)
	}
	return groups
}

// decode decodes the whole original, at the scales of the renderings.
func (p *pass) decode() (err error) {
	j := p.j
	if p.directDecoder, err = openDirect(j.readable.file, j.early); err != nil {
		return err
	}
	if p.size() != j.stored {
		return fmt.Errorf("%w: %s: its header and its pixels differ in size", resize.ErrCorrupt, j.kind)
	}
	for view, l := range p.renderings {
		if p.convert[view], err = p.transform(j.transforms, l.P3); err != nil {
			return err
		}
		if err := p.want(l); err != nil {
			return err
		}
	}
	return p.directDecoder.decode(p.renderings[0].shrink)
}

// render implements step.
func (p *pass) render(ctx context.Context, optional bool) error {
	for view, l := range p.renderings {
		if l.optional != optional {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.finish(view, l.plan.turn, p.convert[view]); err != nil {
			return err
		}
		for _, i := range l.wanted {
			if err := ctx.Err(); err != nil {
				return err
			}
			img, err := p.j.saveDirect(p.directDecoder, view, l, p.j.specs[i])
			if err != nil {
				return err
			}
			p.j.made(i, img)
		}
	}
	return nil
}

// saveDirect encodes the view of l as s.
func (j *job) saveDirect(d directDecoder, view int, l *rendering, s resize.Spec) (resize.Image, error) {
	if s.Shape != resize.ShapeInfo {
		img, err := d.encode(view, l, s, j.quick)
		if err == nil {
			img.Body, err = j.carries(s, !d.grey()).into(img.Body, s.Format)
		}
		if err == nil {
			err = encoding{s.Format, size{img.Width, img.Height}, 1, false}.verify(img.Body)
		}
		return img, failed(err, "encode "+s.Format.String())
	}
	m, err := d.pixels(view, l.plan.turn.of(l.plan.crop.size()))
	if err != nil {
		return resize.Image{}, err
	}
	return newInfo(j.header, len(j.original), m)
}
