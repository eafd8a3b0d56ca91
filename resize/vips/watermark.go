package vips

// #include "vips.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"

	"github.com/novasocial/imagetier/resize"
)

// A watermark is drawn in the lower right corner after every other step. It is never enlarged, and
// is scaled down to at most a quarter of the image's width and height; the margin is a fiftieth of
// the shorter side. So it needs no settings and shows on images of any size.
const (
	watermarkFraction = 4
	watermarkMargin   = 50
)

// readWatermarks reads the files of Config.Watermarks and checks that they decode.
func (r *Resizer) readWatermarks() error {
	for name, path := range r.cfg.Watermarks {
		file, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read watermark %s: %w", name, err)
		}
		h, err := resize.ReadHeader(file)
		if err == nil {
			err = r.cfg.Limits.Check(h, len(file))
		}
		if err == nil {
			err = resize.CheckComplete(file, h)
		}
		if err != nil {
			return fmt.Errorf("read watermark %s: %w", name, err)
		}
		mark := watermark{readableOf(file, h)}
		if err := r.decodeWatermark(mark); err != nil {
			return fmt.Errorf("read watermark %s: %w", name, broken(err, h.Kind))
		}
		r.watermarks[name] = mark
	}
	return nil
}

type watermark struct {
	readable readable
}

func (r *Resizer) decodeWatermark(w watermark) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	w.readable.pin(&pin)
	var b arena
	defer b.clear()
	p, err := b.load(w.readable, 1)
	if err == nil {
		_, err = b.memory(p)
	}
	C.vips_error_clear()
	return err
}

// applyWatermark draws the watermark of l on p. The caller of the job has pinned its file.
func (j *job) applyWatermark(b *arena, p picture, l *rendering) (picture, error) {
	on, w := p.size(), j.watermarks[l.Watermark]
	mark, err := b.load(w.readable, 1)
	if err != nil {
		return picture{}, err
	}
	if mark, err = b.memory(mark); err != nil {
		return picture{}, err
	}
	if mark, err = j.transforms.convert(b, mark, l.P3); err != nil {
		return picture{}, err
	}
	own := mark.size()
	by := min(
		1,
		float64(on.width)/watermarkFraction/float64(own.width),
		float64(on.height)/watermarkFraction/float64(own.height),
	)
	to := size{max(1, int(by*float64(own.width)+0.5)), max(1, int(by*float64(own.height)+0.5))}
	if mark, err = b.scale(mark, to); err != nil {
		return picture{}, err
	}
	margin := min(on.width, on.height) / watermarkMargin
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_mark(p.image, mark.image, C.int(on.width-to.width-margin), C.int(on.height-to.height-margin), out)
	})
}
