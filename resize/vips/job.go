package vips

// #include "vips.h"
import "C"

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/novasocial/imagetier/resize"
)

// A job is one call of Resize.
type job struct {
	original    []byte
	readable    []byte // what libvips is handed: original, or what matters of it
	header      resize.Header
	kind        resize.Kind
	stored      size // as the decoder hands it out, unless it makes it smaller
	orientation int  // 1-8, what is left to be done after the decoder
	transforms  transforms
	watermarks  map[string]watermark
	credit      func() resize.Credit // of the original
}

func (r *Resizer) newJob(original []byte, h resize.Header) *job {
	j := &job{original, original, h, h.Kind, size{h.Width, h.Height}, h.Orientation, r.transforms, r.watermarks, nil}
	j.credit = sync.OnceValue(func() resize.Credit { return resize.ReadCredit(original) })
	r.transforms.trim()
	switch h.Kind {
	case resize.KindAVIF, resize.KindHEIC, resize.KindJXL: // their decoders turn
		j.stored.width, j.stored.height = h.Upright()
		j.orientation = 1
	}
	return j
}

// A look is what one or more Specs show, whatever they are encoded as.
type look struct {
	resize.Spec      // without what only the encoder is told
	region      rect // of the original, in the stored frame: all of it, or without its border
	plan        plan
	shrink      int   // what the decoder makes the picture smaller by
	wanted      []int // the indices of the Specs
	seen        *rect // where the eye goes, once a frame has been looked at
}

func lookOf(s resize.Spec) resize.Spec {
	switch s.Shape {
	case resize.ShapeInfo:
		return resize.Spec{Width: factsSide, Height: factsSide}
	case resize.ShapeMezzanine:
		return resize.Spec{Width: s.Width, Height: s.Height}
	}
	s.P3 = wide(s)
	s.Format, s.Quality, s.Still, s.Credit = resize.NoFormat, 0, false, false
	if s.Fit != resize.FitPad { // in a pad the background is part of the picture
		s.Background = resize.Color{}
	}
	return s
}

// sharedDecode is the most memory, in bytes, that pixels are held in to be used for several
// looks. What needs more is decoded once for each of them.
const sharedDecode = 64 << 20

// make makes all specs, which have been checked. Looks share a decode only at the scale
// that each of them has when it is alone: so bytes depend on original and Spec, and not on
// what else was asked for.
func (j *job) make(ctx context.Context, specs []resize.Spec) ([]resize.Image, error) {
	looks, err := j.looks(specs)
	if err != nil {
		return nil, err
	}
	images := make([]resize.Image, len(specs))
	if looks, err = j.showAnimations(ctx, looks, specs, images); err != nil {
		return nil, err
	}
	if looks, err = j.showDirectly(ctx, looks, specs, images); err != nil {
		return nil, err
	}
	for len(looks) > 0 {
		var same, others []*look
		for _, l := range looks {
			if l.shrink == looks[0].shrink {
				same = append(same, l)
			} else {
				others = append(others, l)
			}
		}
		if err := j.show(ctx, same, specs, images); err != nil {
			return nil, err
		}
		looks = others
	}
	return images, nil
}

// looks plans every different look of specs.
func (j *job) looks(specs []resize.Spec) ([]*look, error) {
	var looks []*look
	known := map[resize.Spec]*look{}
	for i, s := range specs {
		l := known[lookOf(s)]
		if l == nil {
			l = &look{Spec: lookOf(s), region: j.stored.whole()}
			l.plan = planFor(l.Spec, j.stored, j.orientation)
			if l.Trim {
				var err error
				if l.region, err = j.border(j.shrink(l.plan.factor(j.stored))); err != nil {
					return nil, broken(err, j.kind)
				}
				l.plan = planFor(l.Spec, l.region.size(), j.orientation)
			}
			l.shrink = j.shrink(l.plan.factor(l.region.size()))
			known[l.Spec] = l
			looks = append(looks, l)
		}
		l.wanted = append(l.wanted, i)
	}
	return looks, nil
}

// shrink returns by what whole number the decoder makes a picture smaller that is made
// smaller by factor in all. At least 1.33 is left for the resampler, which is the better
// filter; more would be time that does not show (measured on phone photos).
func (j *job) shrink(factor float64) int {
	const left = 1.33
	switch j.kind {
	case resize.KindJPEG: // by powers of two, in the transform
		for _, n := range [...]int{8, 4, 2} {
			if factor >= left*float64(n) {
				return n
			}
		}
	case resize.KindWebP: // by anything, by averaging
		return max(1, int(factor/left))
	}
	return 1
}

// open loads the picture, shrunk by the decoder.
func (j *job) open(b *bench, shrink int) (picture, error) {
	p, err := b.load(j.kind, j.readable, shrink)
	if err != nil {
		return picture{}, err
	}
	if off(p.size().width*shrink, j.stored.width) >= shrink || off(p.size().height*shrink, j.stored.height) >= shrink {
		return picture{}, fmt.Errorf("%w: %s: its header and its picture differ in size", resize.ErrCorrupt, j.kind)
	}
	return p, nil
}

func off(a, b int) int { return max(a-b, b-a) }

// share decodes once for several looks. The picture is zero if it would be too large.
func (j *job) share(b *bench, shrink int) (picture, error) {
	lazy, err := j.open(b, shrink)
	if err != nil || lazy.bytes() > sharedDecode {
		return picture{}, err
	}
	return j.compute(b, lazy, lazy)
}

// compute computes p, which is made of the loaded picture lazy, and decodes the rest of
// lazy too, so that damage is found wherever it is.
func (j *job) compute(b *bench, lazy, p picture) (picture, error) {
	p, err := b.memory(p)
	if err == nil {
		err = b.drain(lazy)
	}
	if err == nil && j.kind == resize.KindJPEG && damagedJPEG(C.GoString(C.vips_error_buffer())) {
		err = errVips
	}
	return p, err
}

// damagedJPEG tells the warnings of libjpeg that mean a picture with grey or garbled parts
// from those that mean nothing (bytes between segments, odd but usual parameters). libvips
// would stop at all of them or at none, and keeps the first of each file in its error buffer.
func damagedJPEG(warnings string) bool {
	return strings.Contains(warnings, "premature end of data segment") ||
		strings.Contains(warnings, "bad Huffman code") ||
		strings.Contains(warnings, "bad arithmetic code") ||
		strings.Contains(warnings, "instead of RST")
}

// border returns the region of the original within its border, which is looked for in
// a picture that the decoder has shrunk.
func (j *job) border(shrink int) (rect, error) {
	var b bench
	defer b.clear()
	corner, err := j.open(&b, shrink)
	if err != nil {
		return rect{}, err
	}
	lazy, err := j.open(&b, shrink)
	if err != nil {
		return rect{}, err
	}
	r, err := b.border(corner, lazy)
	if err != nil {
		return rect{}, err
	}
	from := lazy.size()
	left, right := r.left*j.stored.width/from.width, ceil((r.left+r.width)*j.stored.width, from.width)
	top, bottom := r.top*j.stored.height/from.height, ceil((r.top+r.height)*j.stored.height, from.height)
	return rect{left, top, right - left, bottom - top}, nil
}

// within returns r, a part of the original, in the pixels of a decoded picture: no pixel
// that is only partly in r.
func (j *job) within(r rect, decoded size) rect {
	left, right := ceil(r.left*decoded.width, j.stored.width), (r.left+r.width)*decoded.width/j.stored.width
	top, bottom := ceil(r.top*decoded.height, j.stored.height), (r.top+r.height)*decoded.height/j.stored.height
	return rect{left, top, max(1, right-left), max(1, bottom-top)}
}

func ceil(a, b int) int { return (a + b - 1) / b }

// show makes the images of looks, whose shrink is the same.
func (j *job) show(ctx context.Context, looks []*look, specs []resize.Spec, images []resize.Image) error {
	var common bench
	defer common.clear()
	var decoded picture // of all looks, if they share it
	if len(looks) > 1 {
		var err error
		if decoded, err = j.share(&common, looks[0].shrink); err != nil {
			return broken(err, j.kind)
		}
	}
	for _, l := range looks {
		if err := j.showOne(ctx, l, decoded, specs, images); err != nil {
			return err
		}
	}
	return nil
}

// showOne makes the images of one look, from decoded unless that is zero.
func (j *job) showOne(ctx context.Context, l *look, decoded picture, specs []resize.Spec, images []resize.Image) error {
	var b bench
	defer b.clear()
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := j.small(&b, l, decoded)
	if err != nil {
		return broken(err, j.kind)
	}
	if p, err = j.finish(&b, l, p); err != nil {
		return failed(err, "finish the picture")
	}
	for _, i := range l.wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		if images[i], err = j.save(&b, p, specs[i]); err != nil {
			return failed(err, "encode "+specs[i].Format.String())
		}
	}
	return nil
}

// small decodes, scales and crops: everything that sees many pixels.
func (j *job) small(b *bench, l *look, decoded picture) (picture, error) {
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

// finish does to the small picture what is left to be done.
func (j *job) finish(b *bench, l *look, p picture) (picture, error) {
	type step struct {
		needed bool
		take   func(picture) (picture, error)
	}
	plan := l.plan
	// What will be grey becomes so from sRGB, by whose luminance grey is reckoned. Its numbers
	// are those of grey in Display P3 too, so that a watermark in colours may lie on it.
	p3 := l.P3 && !l.Gray
	ground := j.transforms.ground(l.Background, p3)
	for _, s := range []step{
		{true, func(p picture) (picture, error) { return j.transforms.convert(b, p, p3) }},
		{plan.turn != turn{}, func(p picture) (picture, error) { return b.turn(p, plan.turn) }},
		{plan.attention != size{}, func(p picture) (picture, error) { return l.attend(b, p) }},
		{plan.enlarged != size{}, func(p picture) (picture, error) { return b.scale(p, plan.enlarged) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.flatten(p, ground) }},
		{plan.canvas != size{}, func(p picture) (picture, error) { return b.pad(p, plan.canvas, ground) }},
		{l.Gray, b.gray},
		{l.Blur > 0, func(p picture) (picture, error) { return b.blur(p, l.Blur) }},
		{l.Sharp, b.sharpen},
		{l.Watermark != "", func(p picture) (picture, error) { return j.mark(b, p, l) }},
		{true, b.bare},
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

// attend crops to where the eye goes: in the first frame, and there in all others.
func (l *look) attend(b *bench, p picture) (picture, error) {
	if l.seen != nil {
		return b.crop(p, *l.seen)
	}
	if l.Gravity == resize.GravityFace {
		at, ok, err := b.face(p, l.plan.attention)
		if err != nil {
			return picture{}, err
		}
		if ok {
			l.seen = &at
			return b.crop(p, at)
		} // without faces: as smart
	}
	out, err := b.attention(p, l.plan.attention)
	if err == nil {
		left, top := out.origin()
		l.seen = &rect{left, top, out.size().width, out.size().height}
	}
	return out, err
}

// save encodes p, which is finished, as s.
func (j *job) save(b *bench, p picture, s resize.Spec) (resize.Image, error) {
	if s.Shape == resize.ShapeInfo {
		m, err := p.nrgba()
		if err != nil {
			return resize.Image{}, err
		}
		return factsOf(j.header, len(j.original), m)
	}
	if s.Format == resize.JPEG {
		var err error
		if p, err = b.flatten(p, j.transforms.ground(s.Background, wide(s))); err != nil {
			return resize.Image{}, err
		}
	}
	body, err := encode(b, p, s, j.carries(s, p.rgb()))
	if err != nil {
		return resize.Image{}, err
	}
	return resize.Image{Body: body, Format: s.Format, Width: p.size().width, Height: p.size().height}, nil
}
