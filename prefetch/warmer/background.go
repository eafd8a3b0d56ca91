// Package warmer makes images before they are asked for: it plans which (Planner), makes those
// of one original with one fetch and one decode, behind whatever is asked live (Together,
// Lanes), works off a queue of Jobs (Worker), and watches whether anybody asks for
// what was made (Watch).
package warmer

import (
	"context"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// Lanes returns a Resizer that has what can wait done by background and all else by live, and
// makes what goes together (Together) in one job.
func Lanes(live, background resize.Resizer) resize.Resizer { return lanes{live, background} }

type lanes struct{ live, background resize.Resizer }

// Resize is resize.Resizer's.
func (l lanes) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	if resize.PriorityOf(ctx) == resize.PriorityLive {
		return l.live.Resize(ctx, original, specs...)
	}
	if b, ok := ctx.Value(batchKey{}).(*batch); ok && len(specs) == 1 && len(original) > 0 {
		return b.resize(ctx, l.background, original, specs[0])
	}
	return l.background.Resize(ctx, original, specs...)
}

type batchKey struct{}

// batch is some calls of Together. Those of them that come to the Resizer wait for the
// others, until each has come or has ended without, and then one job makes all their Specs.
//
// They do not wait long: a call may itself be waiting for a fill that another batch has
// begun, in which some call waits for a fill that was begun in this one.
type batch struct {
	mu      sync.Mutex
	pending int // calls that have neither come nor ended; guarded by mu, as all below
	waiting []*waiter
	late    *time.Timer // starts the jobs of those that wait; nil while none does
}

// patience is how long a call waits for the others. Those of one fetch get its bytes at the same
// moment, so all it has to bridge is a busy scheduler.
const patience = 100 * time.Millisecond

// waiter is a call that has come.
type waiter struct {
	ctx      context.Context
	to       resize.Resizer
	original []byte
	spec     resize.Spec
	done     chan struct{}
	img      []resize.Image
	err      error
}

// Together calls each with a context of its own, at the same time, and returns when all have
// returned. What they have made of one original, through a Resizer of Lanes, is made by
// one job: each may come to it once.
func Together(ctx context.Context, each ...func(context.Context)) {
	b := &batch{pending: len(each)}
	ctx = context.WithValue(resize.WithPriority(ctx, resize.PriorityWarm), batchKey{}, b)
	var all sync.WaitGroup
	for _, call := range each {
		all.Go(func() {
			mine := &place{}
			defer b.leave(mine)
			call(context.WithValue(ctx, placeKey{}, mine))
		})
	}
	all.Wait()
}

// place is one call's: it counts once, whether it comes or ends.
type place struct{ counted bool } // guarded by batch.mu

type placeKey struct{}

func (b *batch) leave(p *place) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(p)
}

// count notes that a call has come or has ended, and starts the jobs with the last of them.
func (b *batch) count(p *place) {
	if p.counted {
		return
	}
	p.counted = true
	if b.pending--; b.pending == 0 {
		b.start()
	}
}

// start starts the jobs of all that wait.
func (b *batch) start() {
	if b.late != nil {
		b.late.Stop()
		b.late = nil
	}
	ready := b.waiting
	b.waiting = nil
	for len(ready) > 0 {
		// Those of one fetch share its bytes: the same memory.
		var same, rest []*waiter
		for _, w := range ready {
			if &w.original[0] == &ready[0].original[0] && len(w.original) == len(ready[0].original) {
				same = append(same, w)
			} else {
				rest = append(rest, w)
			}
		}
		go makeAll(same)
		ready = rest
	}
}

func (b *batch) resize(ctx context.Context, to resize.Resizer, original []byte, spec resize.Spec) ([]resize.Image, error) {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok {
		return to.Resize(ctx, original, spec)
	}
	b.mu.Lock()
	if p.counted { // it comes for a second time: the others may wait for nobody any more
		b.mu.Unlock()
		return to.Resize(ctx, original, spec)
	}
	w := &waiter{ctx: ctx, to: to, original: original, spec: spec, done: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	if b.late == nil {
		b.late = time.AfterFunc(patience, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.start()
		})
	}
	b.count(p)
	b.mu.Unlock()
	select {
	case <-w.done:
		return w.img, w.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// makeAll makes the Specs of waiters in one job. Where that fails and they are several, each is
// made by itself: one that cannot be made takes no other with it.
func makeAll(waiters []*waiter) {
	defer func() {
		for _, w := range waiters {
			close(w.done)
		}
	}()
	first := waiters[0]
	specs := make([]resize.Spec, len(waiters))
	for i, w := range waiters {
		specs[i] = w.spec
	}
	images, err := first.to.Resize(first.ctx, first.original, specs...)
	if err == nil && len(images) == len(waiters) {
		for i, w := range waiters {
			w.img = images[i : i+1]
		}
		return
	}
	if len(waiters) == 1 || resizeBusy(err) {
		for _, w := range waiters {
			w.err = err
		}
		return
	}
	for _, w := range waiters {
		w.img, w.err = w.to.Resize(w.ctx, w.original, w.spec)
	}
}
