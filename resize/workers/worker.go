package workers

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// leaveGrace is how long a job goes on that nobody waits for any more: a tenth of a
// second, in which most end. To kill a child costs what it takes to start one.
const leaveGrace = 100 * time.Millisecond

// worker owns one child at a time.
type worker struct {
	*Pool
	seat     *seat
	child    *child
	failures int       // children in a row that did not start, or died before they did anything
	patience time.Time // until then no child is recycled, because it has just failed
}

// run takes jobs until ctx is done. It keeps its thread: Linux ties the death of a child
// with its parent (Pdeathsig) to the thread that started it.
func (w *worker) run(ctx context.Context) {
	runtime.LockOSThread()
	for ctx.Err() == nil {
		if w.child == nil {
			w.pause(ctx)
			if err := w.start(ctx); err != nil {
				continue
			}
		}
		w.idle.Add(1)
		j := w.next(ctx)
		w.idle.Add(-1)
		if j == nil {
			continue
		}
		w.busy.Add(1)
		w.do(ctx, j)
		w.queue.done(j)
		w.busy.Add(-1)
	}
	if w.child != nil {
		w.child.close()
	}
}

// next waits for a job. nil: ctx is done, or the idle child has died.
func (w *worker) next(ctx context.Context) *job {
	w.queue.sit(w.seat)
	select {
	case j := <-w.seat.next:
		w.cfg.Waited(time.Since(j.queued))
		return j
	case <-w.child.dead:
		w.queue.rise(w.seat)
		if w.child.jobs == 0 {
			w.failures++
		}
		w.replace(Died, "an idle resize process died")
	case <-ctx.Done():
		w.queue.rise(w.seat)
	}
	return nil
}

// do does one job, on a second child if the first dies of it.
func (w *worker) do(ctx context.Context, j *job) {
	deadline := time.Now().Add(w.cfg.Timeout)
	for try := 1; ; try++ {
		if j.cost.dear() {
			w.child.nice(dearNice)
		}
		images, err := w.exchange(j, deadline)
		reason, verdict := Died, resize.ErrCorrupt
		var refused *wire.Refused
		switch {
		case err == nil, errors.As(err, &refused):
			w.failures = 0
			j.end(images, err)
			w.recycle(ctx)
			return
		case errors.Is(err, errUnsent):
			j.end(nil, context.Cause(j.ctx))
			return
		case errors.Is(err, errDeadline):
			w.replace(Deadline, "a job ran out of time")
			j.end(nil, w.late())
			return
		case errors.Is(err, errLeft):
			w.replace(Left, "nobody waits for a job any more")
			j.end(nil, context.Cause(j.ctx))
			return
		case errors.Is(err, wire.ErrNonsense):
			reason, verdict = Nonsense, resize.ErrFailed
		}
		w.replace(reason, "a resize process did not survive a job", "try", try, "err", err)
		if try == 2 {
			j.end(nil, fmt.Errorf("%w: two processes did not survive it", verdict))
			return
		}
		if err := w.startFor(j, deadline); err != nil {
			j.end(nil, err)
			return
		}
	}
}

// late is the error of a job that ran out of time.
func (w *worker) late() error { return fmt.Errorf("%w: %v are over", resize.ErrTimeout, w.cfg.Timeout) }

var (
	errDeadline = errors.New("out of time")
	errLeft     = errors.New("nobody waits")
	errUnsent   = errors.New("nobody waits, and nothing was sent")
)

// exchange sends j to the child and reads its answer. It kills the child when the time is
// up or the caller has left: that ends both.
func (w *worker) exchange(j *job, deadline time.Time) ([]resize.Image, error) {
	c := w.child
	var why atomic.Pointer[error]
	kill := func(err error) func() {
		return func() {
			if why.CompareAndSwap(nil, &err) {
				c.kill()
			}
		}
	}
	stopClock := time.AfterFunc(time.Until(deadline), kill(errDeadline)).Stop
	defer stopClock()
	stopLeaving := context.AfterFunc(j.ctx, func() { time.AfterFunc(leaveGrace, kill(errLeft)) })
	defer stopLeaving()

	images, err := c.exchange(j)
	done := errors.New("done")
	if !why.CompareAndSwap(nil, &done) {
		return nil, *why.Load() // killed, maybe with its answer half way
	}
	return images, err
}

// startFor starts a child for the second try of j.
func (w *worker) startFor(j *job, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(j.ctx, deadline, w.late())
	defer cancel()
	for range patience {
		switch err := w.start(ctx); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		w.pause(ctx)
	}
	return errNoChild
}

// patience is how many starts of a worker may fail in a row before jobs are refused
// instead of waiting: one that was killed while it started says nothing yet.
const patience = 3

var errNoChild = fmt.Errorf("%w: no process starts", resize.ErrFailed)

// pause waits after children that failed, longer with each.
func (w *worker) pause(ctx context.Context) {
	if w.failures == 0 {
		return
	}
	pause := min(w.cfg.Backoff<<min(w.failures-1, 10), 50*w.cfg.Backoff)
	over := time.NewTimer(pause/2 + rand.N(pause))
	defer over.Stop()
	select {
	case <-over.C:
	case <-ctx.Done():
	}
}

// start gives w a child. If none can be had and no other worker has one, jobs are refused
// until one has.
func (w *worker) start(ctx context.Context) error {
	w.starting.Add(1)
	w.enable(1, nil)
	c, err := startChild(ctx, w.cfg, w.marks)
	w.starting.Add(-1)
	if err == nil {
		w.enable(0, nil)
		w.child = c
		w.hello.Store(&c.hello)
		w.once.Do(func() { close(w.ready) })
		return nil
	}
	if ctx.Err() != nil {
		w.enable(-1, nil)
		return err
	}
	w.failures++
	refusal := errNoChild
	if w.failures < patience {
		refusal = nil
	}
	w.enable(-1, refusal)
	w.count(Failed)
	w.cfg.Log.Error("a resize process does not start", "err", err, "failures", w.failures)
	return err
}

// enable adds to the number of able children. Where none is left, jobs are refused with
// refusal, unless that is nil; when a start has succeeded (by is 0) they no longer are.
func (p *Pool) enable(by int, refusal error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.able += by
	switch {
	case p.able == 0 && refusal != nil:
		p.queue.refuse(refusal)
	case p.able > 0 && by == 0:
		p.queue.refuse(nil)
	}
}

// recycle replaces a child that has done its share or has grown: the next one has
// started before this one goes.
func (w *worker) recycle(ctx context.Context) {
	old := w.child
	rss := old.rss()
	if old.niced != 0 {
		old.nice(0)
	}
	if old.niced == 0 && old.jobs < w.cfg.MaxJobs && rss <= w.cfg.MaxRSS || time.Now().Before(w.patience) {
		return
	}
	failures := w.failures
	if err := w.start(ctx); err != nil {
		// The old one goes on. Its next job does not wait for another try at once.
		w.failures = failures
		w.patience = time.Now().Add(50 * w.cfg.Backoff)
		return
	}
	w.enable(-1, nil)
	w.count(Recycled)
	w.cfg.Log.Debug("a resize process was replaced", "pid", old.pid(), "jobs", old.jobs, "rss", rss)
	old.close()
}

// replace ends the child and takes it away.
func (w *worker) replace(reason, text string, attrs ...any) {
	c := w.child
	w.child = nil
	w.enable(-1, nil)
	w.count(reason)
	w.cfg.Log.Warn(text, append(attrs, "reason", reason, "pid", c.pid(), "jobs", c.jobs, "end", c.end())...)
}
