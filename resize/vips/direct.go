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
func (j *job) splitDirect(renderings []*rendering, specs []resize.Spec) (taken, left []*rendering) {
	for _, l := range renderings {
		if j.kind != resize.KindJPEG || !l.direct(j.stored) {
			left = append(left, l)
			continue
		}
		mine, others := *l, *l
		mine.wanted, others.wanted = nil, nil
		for _, i := range l.wanted {
			if f := specs[i].Format; f == resize.JPEG || f == resize.WebP || f == resize.JSON {
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

// passes groups renderings by what one decoding pass can make: all of them or, if a pass makes only
// one scale, those with the same scale.
func passes(renderings []*rendering) [][]*rendering {
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

// renderDirect makes renderings with the direct path where possible and returns the rest.
func (j *job) renderDirect(
	ctx context.Context,
	renderings []*rendering,
	specs []resize.Spec,
	images []resize.Image,
) ([]*rendering, error) {
	taken, left := j.splitDirect(renderings, specs)
	if len(taken) == 0 {
		return renderings, nil
	}
	for _, group := range passes(taken) {
		err := j.renderPass(ctx, group, specs, images)
		if errors.Is(err, errNotDirect) { // can only happen in the first pass
			return renderings, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// renderPass decodes the original once and makes the images of renderings.
func (j *job) renderPass(
	ctx context.Context,
	renderings []*rendering,
	specs []resize.Spec,
	images []resize.Image,
) error {
	d, err := openDirect(j.readable.file)
	defer d.close()
	if err != nil {
		return err
	}
	if d.size() != j.stored {
		return fmt.Errorf("%w: %s: its header and its pixels differ in size", resize.ErrCorrupt, j.kind)
	}
	convert := make([]C.cmsHTRANSFORM, len(renderings))
	for view, l := range renderings {
		if convert[view], err = d.transform(j.transforms, l.P3); err != nil {
			return err
		}
		if err := d.want(l); err != nil {
			return err
		}
	}
	if err := d.decode(renderings[0].shrink); err != nil {
		return err
	}
	for view, l := range renderings {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := d.finish(view, l.plan.turn, convert[view]); err != nil {
			return err
		}
		for _, i := range l.wanted {
			if err := ctx.Err(); err != nil {
				return err
			}
			if images[i], err = j.saveDirect(d, view, l, specs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// saveDirect encodes the view of l as s.
func (j *job) saveDirect(d directDecoder, view int, l *rendering, s resize.Spec) (resize.Image, error) {
	if s.Shape != resize.ShapeInfo {
		img, err := d.encode(view, l, s)
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
