package fill

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/novasocial/imagetier/resize"
)

// readyOriginal waits for the original's bytes.
func (w *work) readyOriginal(context.Context) (original, error) { return w.bytes() }

// bytes returns the original with its bytes. It fetches them if only the mezzanine was stored.
func (w *work) bytes() (original, error) {
	if w.opened.orig.mezz == nil {
		return w.opened.orig, w.opened.err
	}
	w.fetched.start(w.fetch, func() {})
	<-w.fetched.done // w.ctx ends it
	return w.fetched.orig, w.fetched.err
}

func (w *work) mezzanine() *mezzanine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mezz
}

// readyMezzanine waits for the mezzanine, which is made in the same priority's queue.
func (p *queuePair) readyMezzanine(ctx context.Context) (original, error) {
	w := p.fromMezzanine.w
	if w.mezzanine() != nil {
		return w.opened.orig, nil
	}
	made := &request{ctx: ctx, needsMezzanine: true, done: make(chan struct{})}
	p.fromOriginal.add(made)
	<-made.done // w.ctx ends it
	return made.of, made.err
}

// unit is a part of a job that succeeds or fails as a whole: usually one Spec for one request.
type unit struct {
	specs    []resize.Spec
	requests []*request
	images   []resize.Image
	err      error
}

// makeFromOriginal makes variants from the original's bytes, and the mezzanine if it is
// needed and not there yet.
func (w *work) makeFromOriginal(requests []*request) {
	orig, _ := w.bytes() // there is no error: ready has waited for it
	side := w.f.cfg.Mezzanine
	mezz := w.mezzanine()
	if mezz != nil && !mezz.made && !mezz.isOf(orig) {
		mezz = nil // the original has changed
	}
	var first *unit
	var units []*unit
	if orig.header.HasMezzanine(side) && mezz == nil {
		// The info is always made with it, at a fiftieth of the cost: it says which variants
		// can be made from the mezzanine without the original.
		first = &unit{specs: []resize.Spec{resize.Mezzanine(side), {Shape: resize.ShapeInfo, Format: resize.JSON}}}
		units = append(units, first)
	}
	for _, r := range requests {
		switch fromFirst := r.needsMezzanine || r.spec.Shape == resize.ShapeInfo; {
		case fromFirst && first != nil:
			first.requests = append(first.requests, r)
		case fromFirst && mezz != nil:
			r.succeed(orig, infoOf(mezz))
		case r.needsMezzanine:
			r.fail(orig, fmt.Errorf("%w: the original has changed and no longer has a mezzanine", resize.ErrFailed))
		default:
			units = append(units, &unit{specs: []resize.Spec{r.spec}, requests: []*request{r}})
		}
	}
	w.make(orig.Body, requests, units, false)
	for _, u := range units {
		if u == first && u.err == nil {
			u.images, u.err = w.setMezzanine(orig, u.images)
		}
		w.answer(orig, u)
	}
}

// setMezzanine sets and stores the mezzanine that a job has made, and returns the info.
func (w *work) setMezzanine(orig original, images []resize.Image) ([]resize.Image, error) {
	m, err := newMezzanine(images[0].Body, images[1].Body, orig.Image)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", resize.ErrFailed, err)
	}
	m.made = true
	w.mu.Lock()
	w.mezz = m
	w.mu.Unlock()
	w.f.keepMezzanine(w.ctx, w.ref, m, w.id.epoch)
	return images[1:], nil
}

// makeFromMezzanine makes variants from the mezzanine. If the mezzanine was made for them,
// most of the work is done, so admission must not refuse the rest (resize.WithContinuation).
func (w *work) makeFromMezzanine(requests []*request) {
	m := w.mezzanine()
	var units []*unit
	for _, r := range requests {
		units = append(units, &unit{specs: []resize.Spec{m.spec(r.spec)}, requests: []*request{r}})
	}
	w.make(m.jpeg, requests, units, m.made)
	for _, u := range units {
		w.answer(w.opened.orig, u)
	}
}

// makeAlone makes the variant of r in its own job, from the input of q.
func (w *work) makeAlone(r *request, q *queue) {
	guard([]*request{r}, func() {
		orig, err := q.ready(r.ctx)
		if err == nil && w.opened.orig.header.HasMezzanine(w.f.cfg.Mezzanine) {
			pair := &w.queues[resize.PriorityOf(r.ctx)]
			orig, err = pair.readyMezzanine(r.ctx) // r may be the first request for this original
		}
		if err != nil {
			r.fail(orig, err)
			return
		}
		q.do([]*request{r})
	})
}

// serveOriginal answers r with the original itself, after checking that it can be decoded:
// making a tiny variant is the cheapest such check.
func (w *work) serveOriginal(r *request) {
	orig, err := w.bytes()
	if err != nil {
		r.fail(orig, err)
		return
	}
	if orig.status == 200 {
		u := &unit{specs: []resize.Spec{{Width: 16, Height: 16, Format: resize.JPEG}}, requests: []*request{r}}
		if w.make(orig.Body, u.requests, []*unit{u}, false); u.err != nil {
			r.fail(orig, u.err)
			return
		}
	}
	if err := w.hold.Answer(r.ctx); err != nil {
		r.fail(orig, err)
		return
	}
	orig.Hold = w.hold
	r.succeed(orig, resize.Image{Body: orig.Body})
}

// answer ends the requests of a unit.
func (w *work) answer(orig original, u *unit) {
	if u.err == nil {
		w.keep(orig)
	}
	for _, r := range u.requests {
		if u.err != nil {
			r.fail(orig, u.err)
			continue
		}
		r.succeed(orig, u.images[len(u.images)-1])
	}
}

// make makes all units in one job. If the job fails and one of the units may be the cause,
// each is tried in its own job. begun sets resize.WithContinuation.
func (w *work) make(body []byte, requests []*request, units []*unit, begun bool) {
	if len(units) == 0 {
		return
	}
	err := w.job(body, requests, units, begun)
	if len(units) > 1 && oneMayBeTheCause(err) {
		for _, u := range units {
			u.err = w.job(body, requests, []*unit{u}, begun)
		}
		return
	}
	for _, u := range units {
		u.err = err
	}
}

// oneMayBeTheCause reports whether a job of several Specs may have failed because of one of
// them, or because all of them together took too long.
func oneMayBeTheCause(err error) bool {
	for _, fault := range []error{resize.ErrSpec, resize.ErrTooLarge, resize.ErrTimeout, resize.ErrFailed} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// job calls the Resizer once. It is canceled when all of requests have left.
func (w *work) job(body []byte, requests []*request, units []*unit, begun bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic while resizing: %v", resize.ErrFailed, p)
		}
	}()
	ctx := context.WithoutCancel(requests[0].ctx)
	if begun {
		ctx = resize.WithContinuation(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	var waiting atomic.Int32
	waiting.Store(int32(len(requests)))
	for _, r := range requests {
		if r.needsMezzanine {
			continue // w.ctx ends it
		}
		defer context.AfterFunc(r.ctx, func() {
			if waiting.Add(-1) == 0 {
				cancel(context.Cause(r.ctx))
			}
		})()
	}
	var specs []resize.Spec
	for _, u := range units {
		specs = append(specs, u.specs...)
	}
	images, err := w.f.cfg.Resizer.Resize(ctx, body, specs...)
	if err != nil {
		return err
	}
	if len(images) != len(specs) {
		return fmt.Errorf("%w: %d images for %d Specs", resize.ErrFailed, len(images), len(specs))
	}
	for _, u := range units {
		u.images, images = images[:len(u.specs):len(u.specs)], images[len(u.specs):]
	}
	return nil
}
