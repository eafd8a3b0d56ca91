package vips

// #include "direct.h"
import "C"

import (
	"context"
	"errors"
	"fmt"

	"github.com/novasocial/imagetier/resize"
)

// The direct path (direct.h) makes what is asked for most, a phone's JPEG as a smaller
// JPEG or WebP, without libvips, in less time. What it does not take goes on to libvips;
// whether it takes a Spec depends on that Spec and on the original alone.

// mostLeft is the most that the direct path resamples by, after the decoder has made the
// picture smaller: only dots from large photos need more.
const mostLeft = 16

// direct reports whether the direct path can show l of an original of that size.
func (l *look) direct(stored size) bool {
	rest := l.Spec
	rest.Width, rest.Height, rest.Up, rest.Rotate, rest.Mirror, rest.Background, rest.P3 = 0, 0, false, 0, resize.MirrorNone, resize.Color{}, false
	switch rest.Fit {
	case resize.FitInside, resize.FitCover:
		rest.Fit = resize.FitInside
	}
	switch rest.Gravity {
	case resize.GravityCentre, resize.GravityTop, resize.GravityBottom, resize.GravityLeft, resize.GravityRight, resize.GravityAt:
		rest.Gravity, rest.FocusX, rest.FocusY = resize.GravityCentre, 0, 0
	}
	if rest != (resize.Spec{}) { // something else is asked for, whatever it is
		return false
	}
	p := l.plan
	if p.attention != (size{}) || p.enlarged != (size{}) || p.canvas != (size{}) {
		return false
	}
	return p.scaled.width <= stored.width && p.scaled.height <= stored.height &&
		max(stored.width/p.scaled.width, stored.height/p.scaled.height) < mostLeft*l.shrink
}

// takeDirect divides looks into what the direct path makes and what is left for libvips.
// The formats of one look may part.
func (j *job) takeDirect(looks []*look, specs []resize.Spec) (taken, left []*look) {
	for _, l := range looks {
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

// passes groups looks by what one decoding pass can make: all of them, or, where one pass
// makes one scale, those that share theirs.
func passes(looks []*look) [][]*look {
	if C.tier_direct_scales() > 1 {
		return [][]*look{looks}
	}
	var groups [][]*look
	known := map[int]int{}
	for _, l := range looks {
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

// showDirectly makes what the direct path can make of looks, and returns what is left.
func (j *job) showDirectly(ctx context.Context, looks []*look, specs []resize.Spec, images []resize.Image) ([]*look, error) {
	taken, left := j.takeDirect(looks, specs)
	if len(taken) == 0 {
		return looks, nil
	}
	for _, group := range passes(taken) {
		err := j.showPass(ctx, group, specs, images)
		if errors.Is(err, errRare) { // which it is at the first pass, or never
			return looks, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// showPass decodes the original once and makes the images of looks.
func (j *job) showPass(ctx context.Context, looks []*look, specs []resize.Spec, images []resize.Image) error {
	d, err := openDirect(j.original)
	defer d.close()
	if err != nil {
		return err
	}
	if d.size() != j.stored {
		return fmt.Errorf("%w: %s: its header and its picture differ in size", resize.ErrCorrupt, j.kind)
	}
	convert := make([]C.cmsHTRANSFORM, len(looks))
	for view, l := range looks {
		if convert[view], err = d.transform(j.transforms, l.P3); err != nil {
			return err
		}
		if err := d.want(l); err != nil {
			return err
		}
	}
	if err := d.decode(looks[0].shrink); err != nil {
		return err
	}
	for view, l := range looks {
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
			if images[i], err = j.saveDirectly(d, view, l, specs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// saveDirectly encodes a view, which is that of l, as s.
func (j *job) saveDirectly(d directDecoder, view int, l *look, s resize.Spec) (resize.Image, error) {
	if s.Shape != resize.ShapeInfo {
		img, err := d.encode(view, l, s)
		if err == nil {
			img.Body, err = j.carries(s, !d.grey()).into(img.Body, s.Format)
		}
		return img, failed(err, "encode "+s.Format.String())
	}
	m, err := d.pixels(view, l.plan.turn.of(l.plan.crop.size()))
	if err != nil {
		return resize.Image{}, err
	}
	return factsOf(j.header, len(j.original), m)
}
