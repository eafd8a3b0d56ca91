package vips

// #include "vips.h"
import "C"

import (
	"context"

	"github.com/novasocial/imagetier/resize"
)

// An animation goes through the same steps as a still, frame by frame: libvips stores frames below
// each other, so a filter over all of them would mix adjacent frames. Frames, their durations and
// the loop count stay. The crop (smart) and the border (trim) are found in the first frame and
// used for all, so that nothing jumps.

// keepsAnimation reports whether the original is an animation and s keeps it.
func (j *job) keepsAnimation(s resize.Spec) bool {
	return s.KeepsAnimation() && j.header.Frames > 1 && (j.kind == resize.KindGIF || j.kind == resize.KindWebP)
}

// renderAnimations makes the animated images of renderings and returns the rest.
func (j *job) renderAnimations(ctx context.Context, renderings []*rendering) ([]*rendering, error) {
	var left []*rendering
	for _, l := range renderings {
		moving, still := *l, *l
		moving.wanted, still.wanted = nil, nil
		for _, i := range l.wanted {
			if j.keepsAnimation(j.specs[i]) {
				moving.wanted = append(moving.wanted, i)
			} else {
				still.wanted = append(still.wanted, i)
			}
		}
		if len(still.wanted) > 0 {
			left = append(left, &still)
		}
		if len(moving.wanted) == 0 {
			continue
		}
		if err := j.animate(ctx, &moving); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// animate decodes all frames once and makes the images of one rendering.
func (j *job) animate(ctx context.Context, l *rendering) error {
	var b arena
	defer b.clear()
	frames, err := b.loadFrames(j.readable)
	if err != nil {
		return broken(err, j.kind)
	}
	count := int(C.tier_frames(frames.image))
	of := frames.size()
	of.height /= max(1, count)
	if of != j.stored || count*of.height != frames.size().height {
		return broken(errVips, j.kind)
	}
	made := make([]*C.VipsImage, 0, count)
	for n := range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := j.frame(&b, l, frames, n)
		if err != nil {
			return err
		}
		made = append(made, p.image)
	}
	p, err := b.step(func(out **C.VipsImage) C.int {
		return C.tier_join(&made[0], C.int(count), frames.image, C.int(j.readable.skip), out)
	})
	if err != nil {
		return failed(err, "join the frames")
	}
	for _, i := range l.wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := j.specs[i]
		body, err := encode(&b, p, s, false, j.carries(s, p.rgb()))
		if err != nil {
			return failed(err, "encode "+s.Format.String())
		}
		size := size{p.size().width, p.size().height / count}
		if err := (encoding{s.Format, size, count, false}).verify(body); err != nil {
			return err
		}
		j.made(i, resize.Image{Body: body, Format: s.Format, Width: size.width, Height: size.height})
	}
	return nil
}

// frame makes frame n. Each frame is made once, in order.
func (j *job) frame(keep *arena, l *rendering, frames picture, n int) (picture, error) {
	var b arena
	defer b.clear()
	region := l.region
	region.top += n * j.stored.height
	p, err := b.crop(frames, region)
	if err == nil {
		p, err = b.scale(p, l.plan.scaled)
	}
	if err == nil {
		p, err = b.crop(p, l.plan.crop)
	}
	if err == nil {
		p, err = b.memory(p)
	}
	if err != nil {
		return picture{}, broken(err, j.kind)
	}
	if p, err = j.finish(&b, l, p); err != nil {
		return picture{}, failed(err, "finish a frame")
	}
	C.g_object_ref(C.gpointer(p.image)) // because it outlives b
	keep.images = append(keep.images, p.image)
	return p, nil
}

// loadFrames loads all frames of an animation, which have one size, below each other.
func (b *arena) loadFrames(o readable) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int { return C.tier_load_frames(o.original(o.file), out) })
}
