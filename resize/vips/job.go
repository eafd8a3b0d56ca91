package vips

import (
	"context"
	"runtime/cgo"
	"sync"

	"github.com/novasocial/imagetier/resize"
)

// A job is one call of Resize.
type job struct {
	original    []byte
	readable    readable // the bytes for the decoder
	header      resize.Header
	kind        resize.Kind
	stored      size // as decoded at full size
	orientation int  // 1-8, still to be applied after decoding
	transforms  transforms
	watermarks  map[string]watermark
	credit      func() resize.Credit // of the original
	specs       []resize.Spec        // all requested Specs; those from needed on are optional
	needed      int
	quick       bool // resize.Job.Quick
	made        func(i int, img resize.Image)
	early       cgo.Handle // of the *resize.Arriving while the original arrives; else 0

	decoded bool // decode was called; the fields below are its results
	passes  []*pass
	left    []*rendering // that the passes do not make
}

func (r *Resizer) newJob(request resize.Job, h resize.Header, readable readable) *job {
	original := request.Original
	j := &job{
		specs: request.All(), needed: len(request.Specs), quick: request.Quick, made: request.Made,
		original: original, readable: readable, header: h, kind: h.Kind,
		stored: size{h.Width, h.Height}, orientation: h.Orientation, transforms: r.transforms, watermarks: r.watermarks,
	}
	j.credit = sync.OnceValue(func() resize.Credit { return resize.ReadCredit(original) })
	r.transforms.trim()
	switch h.Kind {
	case resize.KindAVIF, resize.KindHEIC:
		zeroMemory()
	case resize.KindJXL: // its decoder applies the orientation
		j.stored.width, j.stored.height = h.Upright()
		j.orientation = 1
	}
	return j
}

// make makes all Specs, which have been checked, and decodes as few times as possible. Renderings share a
// decode only at the scale that each would use alone, so the bytes do not depend on the other Specs. The
// optional ones come last, if goOn allows them then.
func (j *job) make(ctx context.Context, goOn func() bool) error {
	defer j.close()
	if !j.decoded {
		if err := j.decode(ctx); err != nil {
			return err
		}
	}
	groups := j.groups(j.left)
	defer func() {
		for _, g := range groups {
			g.clear()
		}
	}()
	steps := make([]step, 0, len(j.passes)+len(groups))
	for _, p := range j.passes {
		steps = append(steps, p)
	}
	for _, g := range groups {
		steps = append(steps, g)
	}
	for _, optional := range [...]bool{false, true} {
		if optional && (j.needed == len(j.specs) || goOn != nil && !goOn()) {
			return nil
		}
		for _, s := range steps {
			if err := s.render(ctx, optional); err != nil {
				return err
			}
		}
	}
	return nil
}

// decode plans all renderings, makes animations, and decodes for the direct path. close must be called even after an
// error.
func (j *job) decode(ctx context.Context) error {
	j.decoded = true
	renderings, err := j.renderings()
	if err != nil {
		return err
	}
	if renderings, err = j.renderAnimations(ctx, renderings); err != nil {
		return err
	}
	j.passes, j.left, err = j.decodeDirect(renderings)
	return err
}

// close frees the passes. j may be nil.
func (j *job) close() {
	if j == nil {
		return
	}
	for _, p := range j.passes {
		p.close()
	}
	j.passes = nil
}

// A step makes the images of some renderings from one decode.
type step interface {
	// render makes those that are optional, or all others.
	render(ctx context.Context, optional bool) error
}
