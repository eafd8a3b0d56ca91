package vips

// #include "vips.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"

	"github.com/novasocial/imagetier/resize"
)

// A watermark lies in the lower right corner, over all else, after every other step. It is
// never enlarged, and is made smaller to a quarter of the picture's width and of its height
// at most; a fiftieth of the shorter side is left free around it. So it needs no settings,
// and a picture of any size shows it.
const (
	markPart   = 4
	markMargin = 50
)

// readWatermarks reads the files of Config.Watermarks and tries whether they decode.
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
		mark := watermark{file, h}
		if err := r.tryWatermark(mark); err != nil {
			return fmt.Errorf("read watermark %s: %w", name, broken(err, h.Kind))
		}
		r.watermarks[name] = mark
	}
	return nil
}

type watermark struct {
	file   []byte
	header resize.Header
}

func (r *Resizer) tryWatermark(w watermark) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&w.file[0])
	var b bench
	defer b.clear()
	p, err := b.load(w.header.Kind, w.file, 1)
	if err == nil {
		_, err = b.memory(p)
	}
	C.vips_error_clear()
	return err
}

// mark lays the watermark of l on p. Its file is pinned by the caller of the job.
func (j *job) mark(b *bench, p picture, l *look) (picture, error) {
	on, w := p.size(), j.watermarks[l.Watermark]
	mark, err := b.load(w.header.Kind, w.file, 1)
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
	by := min(1, float64(on.width)/markPart/float64(own.width), float64(on.height)/markPart/float64(own.height))
	to := size{max(1, int(by*float64(own.width)+0.5)), max(1, int(by*float64(own.height)+0.5))}
	if mark, err = b.scale(mark, to); err != nil {
		return picture{}, err
	}
	margin := min(on.width, on.height) / markMargin
	return b.step(func(out **C.VipsImage) C.int {
		return C.tier_mark(p.image, mark.image, C.int(on.width-to.width-margin), C.int(on.height-to.height-margin), out)
	})
}
