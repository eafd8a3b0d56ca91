package fill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/novasocial/imagetier/resize"
)

// bytes waits for the original's bytes. It fetches them if only the mezzanine was stored.
func (w *work) bytes() (original, error) {
	if w.opened.orig.mezz == nil {
		return w.opened.orig, w.opened.err
	}
	w.fetched.start(w.fetch, func() {})
	<-w.fetched.done // w.ctx ends it
	return w.fetched.orig, w.fetched.err
}

// openedMezzanine returns the original of the mezzanine, which is there.
func (w *work) openedMezzanine() (original, error) { return w.opened.orig, nil }

// originalOf returns the original that m was made from: the one that was fetched, if m has replaced a stored mezzanine.
func (w *work) originalOf(m *mezzanine) original {
	if m.made && w.opened.orig.mezz != nil {
		return w.fetched.orig
	}
	return w.opened.orig
}

func (w *work) mezzanine() *mezzanine {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mezz
}

// makeFromOriginal makes variants from the original's bytes in one decode, and after them the mezzanine
// if it is likely to be used. What is kept of the original is stored when all requests are answered.
func (w *work) makeFromOriginal(requests []*request) {
	defer w.f.works.beginJob(w)()
	requests = w.reroute(requests)
	if len(requests) == 0 {
		return
	}
	orig, _ := w.bytes() // there is no error: ready has waited for it
	j := job{orig: orig, body: orig.Body, spec: asIs}
	extra := w.addMezzanine(&j, orig.header, requests)
	err := w.make(j, requests)
	if j.optional != nil && w.setMezzanine(orig, *extra, err) {
		return
	}
	if slices.ContainsFunc(requests, func(r *request) bool { return r.err == nil }) {
		w.keep(orig)
	}
}

// asIs is a job.spec of an original.
func asIs(s resize.Spec) resize.Spec { return s }

// addMezzanine lets j, the next job from the original, make the mezzanine and the info if it should
// (wantsMezzanine). It returns where they will be.
func (w *work) addMezzanine(j *job, h resize.Header, requests []*request) *[2]resize.Image {
	extra := new([2]resize.Image)
	if w.wantsMezzanine(j.orig, h, requests) {
		j.optional = []resize.Spec{resize.Mezzanine(w.f.cfg.Mezzanine), {Shape: resize.ShapeInfo, Format: resize.JSON}}
		j.optionalMade = func(i int, img resize.Image) { extra[i] = img }
	}
	return extra
}

// reroute dispatches those of requests that can be made from the mezzanine, which was made after they were
// queued, and returns the others.
func (w *work) reroute(requests []*request) (others []*request) {
	m := w.mezzanine()
	for _, r := range requests {
		if m != nil && m.made && m.makes(r.spec, w.f.cfg.Mezzanine) {
			w.dispatch(r)
			continue
		}
		others = append(others, r)
	}
	return others
}

// makeFromMezzanine makes variants from the mezzanine. If the mezzanine was made by this work, admission
// must not refuse the rest (resize.WithContinuation).
func (w *work) makeFromMezzanine(requests []*request) {
	defer w.f.works.beginJob(w)()
	w.noteRequests(requests)
	m := w.mezzanine()
	_ = w.make(job{orig: w.originalOf(m), body: m.jpeg, spec: m.spec, begun: m.made}, requests)
	w.f.countMezzanine(MezzanineUsed, len(requests))
}

// makeAlone makes the variant of r in its own job, from the input of q.
func (w *work) makeAlone(r *request, q *queue) {
	guard([]*request{r}, func() {
		orig, err := q.ready()
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
		smallest := resize.Spec{Width: 16, Height: 16, Format: resize.JPEG}
		tiny := &request{ctx: r.ctx, spec: smallest, done: make(chan struct{})}
		j := job{orig: orig, body: orig.Body, spec: asIs}
		if _ = w.make(j, []*request{tiny}); tiny.err != nil {
			r.fail(orig, tiny.err)
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

// job is what the jobs of some requests have in common.
type job struct {
	orig  original
	body  []byte           // what is decoded: the original or its mezzanine
	early *resize.Arriving // the original instead, with orig unknown: it is that of the work once an image is made
	// spec returns the Spec that makes a request's Spec from body.
	spec  func(resize.Spec) resize.Spec
	begun bool // sets resize.WithContinuation
	// optional are made after those of the requests, unless other jobs wait. optionalMade receives each with
	// its index.
	optional     []resize.Spec
	optionalMade func(i int, img resize.Image)
}

// make makes the variants of all requests in one job, and answers each when it is made. If the job fails
// and one of the Specs may be the cause, those that are left are tried one by one. The error is that of the
// job.
func (w *work) make(j job, requests []*request) error {
	err := w.run(j, requests)
	alone := len(requests)+len(j.optional) > 1 && oneMayBeTheCause(err)
	j.optional = nil
	for _, r := range requests {
		switch {
		case r.hasEnded():
		case alone:
			r.fail(j.orig, w.run(j, []*request{r}))
		default:
			r.fail(j.orig, err)
		}
	}
	return err
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

// run calls the Resizer once, with the highest priority of the requests, both for admission and afterwards. The job is
// canceled when all requests that are not answered have left, but not for the optional Specs.
func (w *work) run(j job, requests []*request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic while resizing: %v", resize.ErrFailed, p)
		}
	}()
	highest := slices.MinFunc(requests, func(a, b *request) int {
		return cmp.Compare(resize.FirstPriorityOf(a.ctx), resize.FirstPriorityOf(b.ctx))
	})
	ctx := context.WithoutCancel(highest.ctx)
	if j.begun {
		ctx = resize.WithContinuation(ctx)
	}
	ctx, raise := resize.WithRaise(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(w.ctx, func() { cancel(context.Cause(w.ctx)) })()
	var waiting atomic.Int32
	waiting.Store(int32(len(requests)))
	specs := make([]resize.Spec, len(requests))
	for i, r := range requests {
		specs[i] = j.spec(r.spec)
		defer resize.OnRaise(r.ctx, raise)()
		defer context.AfterFunc(r.ctx, func() {
			if r.fail(j.orig, context.Cause(r.ctx)) && waiting.Add(-1) == 0 {
				cancel(context.Cause(r.ctx))
			}
		})()
	}
	err = w.f.cfg.Resizer.Resize(ctx, resize.Job{
		Original: j.body, Early: j.early, Specs: specs, Optional: j.optional,
		Made: func(i int, img resize.Image) {
			if i >= len(requests) {
				j.optionalMade(i-len(requests), img)
				return
			}
			orig := j.orig
			if j.early != nil {
				orig = w.opened.orig
			}
			if requests[i].succeed(orig, img) {
				waiting.Add(-1)
			}
		},
	})
	if err == nil && waiting.Load() > 0 {
		err = fmt.Errorf("%w: %d images are missing", resize.ErrFailed, waiting.Load())
	}
	return err
}
