package fill

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/novasocial/imagetier/resize"
)

// readyOriginal returns once the original's bytes are there.
func (w *work) readyOriginal(context.Context) (original, error) { return w.bytes() }

// bytes returns the original with its bytes, which it fetches where only the mezzanine was
// there so far.
func (w *work) bytes() (original, error) {
	if w.opened.orig.mezz == nil {
		return w.opened.orig, w.opened.err
	}
	w.whole.start(w.fetch, func() {})
	<-w.whole.done // w.ctx ends it
	return w.whole.orig, w.whole.err
}

func (w *work) mezzanine() *mezzanine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mezz
}

// readyMezzanine returns once there is a mezzanine, which it has made in its lane.
func (l *lane) readyMezzanine(ctx context.Context) (original, error) {
	w := l.fromMezzanine.w
	if w.mezzanine() != nil {
		return w.opened.orig, nil
	}
	made := &order{ctx: ctx, needsMezzanine: true, done: make(chan struct{})}
	l.fromOriginal.add(made)
	<-made.done // w.ctx ends it
	return made.of, made.err
}

// A unit is what is made whole or not at all: usually one Spec, for one order.
type unit struct {
	specs  []resize.Spec
	orders []*order
	images []resize.Image
	err    error
}

// makeFromOriginal makes orders from the original's bytes, and its mezzanine if it has one
// that is not there yet.
func (w *work) makeFromOriginal(orders []*order) {
	orig, _ := w.bytes() // ready has seen to it
	side := w.f.cfg.Mezzanine
	mezz := w.mezzanine()
	if mezz != nil && !mezz.made && !mezz.isOf(orig) {
		mezz = nil // the original is another one by now
	}
	var first *unit
	var units []*unit
	if orig.header.HasMezzanine(side) && mezz == nil {
		// Its info is made always: it costs a fiftieth, and tells which variants the mezzanine
		// serves when the original is gone.
		first = &unit{specs: []resize.Spec{resize.Mezzanine(side), {Shape: resize.ShapeInfo, Format: resize.JSON}}}
		units = append(units, first)
	}
	for _, o := range orders {
		switch fromFirst := o.needsMezzanine || o.spec.Shape == resize.ShapeInfo; {
		case fromFirst && first != nil:
			first.orders = append(first.orders, o)
		case fromFirst && mezz != nil:
			o.succeed(orig, infoOf(mezz))
		case o.needsMezzanine:
			o.fail(orig, fmt.Errorf("%w: the original has changed and has no mezzanine any more", resize.ErrFailed))
		default:
			units = append(units, &unit{specs: []resize.Spec{o.spec}, orders: []*order{o}})
		}
	}
	w.make(orig.Body, orders, units, false)
	for _, u := range units {
		if u == first && u.err == nil {
			u.images, u.err = w.haveMezzanine(orig, u.images)
		}
		w.answer(orig, u)
	}
}

// haveMezzanine takes what a job has made, keeps it, and returns the info.
func (w *work) haveMezzanine(orig original, images []resize.Image) ([]resize.Image, error) {
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

// makeFromMezzanine makes orders from the encoded bytes of the mezzanine, which is there. Where it
// was made for them, most of their work is done: to refuse the rest would be to waste that.
func (w *work) makeFromMezzanine(orders []*order) {
	m := w.mezzanine()
	var units []*unit
	for _, o := range orders {
		units = append(units, &unit{specs: []resize.Spec{m.spec(o.spec)}, orders: []*order{o}})
	}
	w.make(m.jpeg, orders, units, m.made)
	for _, u := range units {
		w.answer(w.opened.orig, u)
	}
}

// alone makes o in a job of its own.
func (w *work) alone(l *lane, from *line, o *order) {
	orig, err := from.ready(o.ctx)
	if err == nil && w.opened.orig.header.HasMezzanine(w.f.cfg.Mezzanine) {
		orig, err = l.readyMezzanine(o.ctx) // it may be the first to decode the original
	}
	if err != nil {
		o.fail(orig, err)
		return
	}
	from.do([]*order{o})
}

// pass lets an original pass that a decoder has seen whole. The smallest variant costs the
// least that proves it.
func (w *work) pass(o *order) {
	orig, err := w.bytes()
	if err != nil {
		o.fail(orig, err)
		return
	}
	if orig.status == 200 {
		u := &unit{specs: []resize.Spec{{Width: 16, Height: 16, Format: resize.JPEG}}, orders: []*order{o}}
		if w.make(orig.Body, u.orders, []*unit{u}, false); u.err != nil {
			o.fail(orig, u.err)
			return
		}
	}
	o.succeed(orig, resize.Image{Body: orig.Body})
}

// answer ends the orders of a unit of one image.
func (w *work) answer(orig original, u *unit) {
	if u.err == nil {
		w.keep(orig)
	}
	for _, o := range u.orders {
		if u.err != nil {
			o.fail(orig, u.err)
			continue
		}
		o.succeed(orig, u.images[len(u.images)-1])
	}
}

// make has all units made in one job. Where that is refused for what may be the fault of one
// of them, each is tried by itself. begun is resize.WithContinuation.
func (w *work) make(body []byte, orders []*order, units []*unit, begun bool) {
	if len(units) == 0 {
		return
	}
	err := w.job(body, orders, units, begun)
	if len(units) > 1 && blamesOne(err) {
		for _, u := range units {
			err := w.job(body, orders, []*unit{u}, begun)
			u.err = err
		}
		return
	}
	for _, u := range units {
		u.err = err
	}
}

// blamesOne reports whether a job of several Specs may have failed for one of them: it cannot
// be made, or all of them took too long together.
func blamesOne(err error) bool {
	for _, fault := range []error{resize.ErrSpec, resize.ErrTooLarge, resize.ErrTimeout, resize.ErrFailed} {
		if errors.Is(err, fault) {
			return true
		}
	}
	return false
}

// job is one call of the Resizer. It ends when all of orders have left.
func (w *work) job(body []byte, orders []*order, units []*unit, begun bool) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: resizing panicked: %v", resize.ErrFailed, p)
		}
	}()
	ctx := context.WithoutCancel(orders[0].ctx)
	if begun {
		ctx = resize.WithContinuation(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	var here atomic.Int32
	here.Store(int32(len(orders)))
	for _, o := range orders {
		if o.needsMezzanine {
			continue // who waits for it leaves with w
		}
		defer context.AfterFunc(o.ctx, func() {
			if here.Add(-1) == 0 {
				cancel(context.Cause(o.ctx))
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
		return fmt.Errorf("%w: %d images of %d Specs", resize.ErrFailed, len(images), len(specs))
	}
	for _, u := range units {
		u.images, images = images[:len(u.specs):len(u.specs)], images[len(u.specs):]
	}
	return nil
}
