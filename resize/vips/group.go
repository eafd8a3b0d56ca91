package vips

import (
	"context"
	"slices"

	"github.com/novasocial/imagetier/resize"
)

// Rendering with libvips: scale, crop, finish and encode. The direct path does the same without
// libvips: direct.go.

// A group is the renderings with the same shrink, which libvips makes.
type group struct {
	arena
	j          *job
	renderings []*rendering
	opened     bool
	decoded    picture // shared by all renderings, if not zero
}

// groups groups renderings by shrink.
func (j *job) groups(renderings []*rendering) []*group {
	var groups []*group
	for _, l := range renderings {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.renderings[0].shrink == l.shrink })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{j: j})
		}
		groups[i].renderings = append(groups[i].renderings, l)
	}
	return groups
}

// render implements step. It frees the decoded picture once no rendering needs it any more.
func (g *group) render(ctx context.Context, optional bool) (err error) {
	var now, later []*rendering
	for _, l := range g.renderings {
		switch {
		case l.optional == optional:
			now = append(now, l)
		case l.optional:
			later = append(later, l)
		}
	}
	if len(now) > 0 && len(g.renderings) > 1 && !g.opened {
		g.opened = true
		if g.decoded, err = g.j.share(&g.arena, g.renderings[0].shrink); err != nil {
			return broken(err, g.j.kind)
		}
	}
	for _, l := range now {
		if err := g.j.renderOne(ctx, l, g.decoded); err != nil {
			return err
		}
	}
	if len(later) == 0 {
		g.clear()
	}
	return nil
}

// renderOne makes the images of one rendering, from decoded unless that is zero.
func (j *job) renderOne(ctx context.Context, l *rendering, decoded picture) error {
	var b arena
	defer b.clear()
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := j.decodeAndScale(&b, l, decoded)
	if err != nil {
		return broken(err, j.kind)
	}
	if p, err = j.finish(&b, l, p); err != nil {
		return failed(err, "process the image")
	}
	for _, i := range l.wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		img, err := j.save(&b, p, j.specs[i])
		if err != nil {
			return failed(err, "encode "+j.specs[i].Format.String())
		}
		j.made(i, img)
	}
	return nil
}

// decodeAndScale decodes, scales and crops: all steps that process many pixels.
func (j *job) decodeAndScale(b *arena, l *rendering, decoded picture) (picture, error) {
	lazy := decoded
	if lazy == (picture{}) {
		var err error
		if lazy, err = j.open(b, l.shrink); err != nil {
			return picture{}, err
		}
	}
	p, err := b.crop(lazy, j.within(l.region, lazy.size()))
	if err != nil {
		return picture{}, err
	}
	if p, err = b.scale(p, l.plan.scaled); err != nil {
		return picture{}, err
	}
	if p, err = b.crop(p, l.plan.crop); err != nil {
		return picture{}, err
	}
	return j.compute(b, lazy, p)
}

// finish applies the remaining steps to the small picture.
func (j *job) finish(b *arena, l *rendering, p picture) (picture, error) {
	type step struct {
		needed bool
		take   func(picture) (picture, error)
	}
	plan := l.plan
	// Greyscale is computed from sRGB. Its values are the same in Display P3, so a coloured
	// watermark can be drawn on it.
	p3 := l.P3 && !l.Gray
	background := j.transforms.background(l.Background, p3)
	for _, s := range []step{
		{true, func(p picture) (picture, error) { return j.convert(b, p, p3) }},
		{plan.turn != turn{}, func(p picture) (picture, error) { return b.turn(p, plan.turn) }},
		{plan.attention != size{}, func(p picture) (picture, error) { return l.cropToFocus(b, p) }},
		{plan.enlarged != size{}, func(p picture) (picture, error) { return b.scale(p, plan.enlarged) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.flatten(p, background) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.pad(p, plan.canvas, background) }},
		{l.Gray, b.gray},
		{l.Blur > 0, func(p picture) (picture, error) { return b.blur(p, l.Blur) }},
		{l.Sharp, b.sharpen},
		{l.Watermark != "", func(p picture) (picture, error) { return j.applyWatermark(b, p, l) }},
		{true, b.strip},
		{true, b.memory},
	} {
		if !s.needed {
			continue
		}
		var err error
		if p, err = s.take(p); err != nil {
			return picture{}, err
		}
	}
	return p, nil
}

// cropToFocus crops to faces or to the most interesting part, at the same position in every frame.
func (l *rendering) cropToFocus(b *arena, p picture) (picture, error) {
	if l.focus != nil {
		return b.crop(p, *l.focus)
	}
	if l.Gravity == resize.GravityFace {
		at, ok, err := b.face(p, l.plan.attention)
		if err != nil {
			return picture{}, err
		}
		if ok {
			l.focus = &at
			return b.crop(p, at)
		} // without faces, continue as with GravitySmart
	}
	out, err := b.attention(p, l.plan.attention)
	if err == nil {
		left, top := out.origin()
		l.focus = &rect{left, top, out.size().width, out.size().height}
	}
	return out, err
}

// save encodes the finished p as s.
func (j *job) save(b *arena, p picture, s resize.Spec) (resize.Image, error) {
	if s.Shape == resize.ShapeInfo {
		m, err := p.nrgba()
		if err != nil {
			return resize.Image{}, err
		}
		return newInfo(j.header, len(j.original), m)
	}
	if s.Format == resize.JPEG {
		var err error
		if p, err = b.flatten(p, j.transforms.background(s.Background, wide(s))); err != nil {
			return resize.Image{}, err
		}
	}
	body, err := encode(b, p, s, j.quick, j.carries(s, p.rgb()))
	if err == nil {
		err = encoding{s.Format, p.size(), 1, p.transparent()}.verify(body)
	}
	if err != nil {
		return resize.Image{}, err
	}
	return resize.Image{Body: body, Format: s.Format, Width: p.size().width, Height: p.size().height}, nil
}
