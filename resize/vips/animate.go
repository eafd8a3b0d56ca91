package vips

// #include "vips.h"
import "C"

import (
	"context"

	"github.com/novasocial/imagetier/resize"
)

// An animation goes through the same steps as a still, frame by frame: a filter that ran
// over all frames at once, which libvips holds one below the other, would mix the foot of
// one with the head of the next. Frames, their times and the loop stay. Where to crop
// (smart) and what is border (trim) is found in the first frame, so that nothing jumps.

// moving reports whether s keeps the animation that the original is.
func (j *job) moving(s resize.Spec) bool {
	return s.KeepsAnimation() && j.header.Frames > 1 && (j.kind == resize.KindGIF || j.kind == resize.KindWebP)
}

// showAnimations makes what of looks moves, and returns what is left.
func (j *job) showAnimations(ctx context.Context, looks []*look, specs []resize.Spec, images []resize.Image) ([]*look, error) {
	var left []*look
	for _, l := range looks {
		moving, still := *l, *l
		moving.wanted, still.wanted = nil, nil
		for _, i := range l.wanted {
			if j.moving(specs[i]) {
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
		if err := j.animate(ctx, &moving, specs, images); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// animate decodes all frames once and makes the images of one look.
func (j *job) animate(ctx context.Context, l *look, specs []resize.Spec, images []resize.Image) error {
	var b bench
	defer b.clear()
	film, err := b.film(j.kind, j.original)
	if err != nil {
		return broken(err, j.kind)
	}
	frames := int(C.tier_frames(film.image))
	of := film.size()
	of.height /= max(1, frames)
	if of != j.stored || frames*of.height != film.size().height {
		return broken(errVips, j.kind)
	}
	made := make([]*C.VipsImage, 0, frames)
	for n := range frames {
		if err := ctx.Err(); err != nil {
			return err
		}
		p, err := j.frame(&b, l, film, n)
		if err != nil {
			return err
		}
		made = append(made, p.image)
	}
	p, err := b.step(func(out **C.VipsImage) C.int {
		return C.tier_join(&made[0], C.int(frames), film.image, out)
	})
	if err != nil {
		return failed(err, "join the frames")
	}
	for _, i := range l.wanted {
		if err := ctx.Err(); err != nil {
			return err
		}
		body, err := encode(&b, p, specs[i], j.carries(specs[i], p.rgb()))
		if err != nil {
			return failed(err, "encode "+specs[i].Format.String())
		}
		size := p.size()
		images[i] = resize.Image{Body: body, Format: specs[i].Format, Width: size.width, Height: size.height / frames}
	}
	return nil
}

// frame makes frame n of film as l shows it. Frames come in their order, each once.
func (j *job) frame(all *bench, l *look, film picture, n int) (picture, error) {
	var b bench
	defer b.clear()
	region := l.region
	region.top += n * j.stored.height
	p, err := b.crop(film, region)
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
	C.g_object_ref(C.gpointer(p.image)) // it outlives b
	all.images = append(all.images, p.image)
	return p, nil
}

// film loads all frames of an animation, one below the other, all of one size.
func (b *bench) film(kind resize.Kind, original []byte) (picture, error) {
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_load_frames(loaders[kind], address(original), C.size_t(len(original)), out)
	})
}
