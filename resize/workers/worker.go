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

// abandonGrace is how long an abandoned job may continue. Most jobs end within this time, and
// killing a child costs the start of another one.
const abandonGrace = 100 * time.Millisecond

// worker owns one child at a time. A worker for expensive jobs starts its child with its first job.
type worker struct {
	*Pool
	slot           *slot
	child          *child
	failures       int       // children in a row that did not start or died before their first answer
	noRecycleUntil time.Time // set when recycling has failed
}

// run takes jobs until ctx is done. It keeps its thread, because Linux sends the parent death
// signal (Pdeathsig) when the thread that started the child exits.
func (w *worker) run(ctx context.Context) {
	runtime.LockOSThread()
	for ctx.Err() == nil {
		if w.child == nil && !w.expensive() {
			w.pause(ctx)
			if err := w.start(ctx); err != nil {
				continue
			}
		}
		j := w.next(ctx)
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

func (w *worker) expensive() bool { return w.slot.kind == forExpensive }

// next waits for a job. It returns nil if ctx is done or the idle child has died.
func (w *worker) next(ctx context.Context) *job {
	var dead chan struct{}
	if w.child != nil {
		dead = w.child.dead
		w.idle.Add(1)
		defer w.idle.Add(-1)
	}
	w.queue.offer(w.slot)
	select {
	case j := <-w.slot.next:
		w.cfg.Waited(time.Since(j.queued))
		return j
	case <-dead:
		w.queue.withdraw(w.slot)
		if w.child.jobs == 0 {
			w.failures++
		}
		w.replace(Died, "idle resize process died")
	case <-ctx.Done():
		w.queue.withdraw(w.slot)
	}
	return nil
}

// do runs one job, on a second child if the first one dies.
func (w *worker) do(ctx context.Context, j *job) {
	deadline := time.Now().Add(w.cfg.Timeout)
	if w.child != nil && w.child.watermarks != w.watermarks.Load() {
		w.retire()
	}
	if w.child == nil {
		if err := w.startFor(j, deadline); err != nil {
			j.end(nil, err)
			return
		}
	}
	for try := 1; ; try++ {
		began := time.Now()
		images, err := w.exchange(j, deadline)
		reason, verdict := Died, resize.ErrCorrupt
		var jobErr *wire.JobError
		switch {
		case err == nil, errors.As(err, &jobErr):
			w.failures = 0
			if err == nil {
				w.queue.measured(j, time.Since(began))
			}
			j.end(images, err)
			w.recycle(ctx)
			return
		case errors.Is(err, errNotSent):
			j.end(nil, context.Cause(j.ctx))
			return
		case errors.Is(err, errDeadline):
			w.replace(Deadline, "resize job timed out")
			j.end(nil, w.timeoutError())
			return
		case errors.Is(err, errAbandoned):
			w.replace(Abandoned, "resize job abandoned by its caller")
			j.end(nil, context.Cause(j.ctx))
			return
		case errors.Is(err, wire.ErrProtocol):
			reason, verdict = InvalidAnswer, resize.ErrFailed
		}
		w.replace(reason, "resize process failed during a job", "try", try, "err", err)
		if try == 2 {
			j.end(nil, fmt.Errorf("%w: it failed in two processes", verdict))
			return
		}
		if err := w.startFor(j, deadline); err != nil {
			j.end(nil, err)
			return
		}
	}
}

// timeoutError is the error of a job that timed out.
func (w *worker) timeoutError() error {
	return fmt.Errorf("%w after %v", resize.ErrTimeout, w.cfg.Timeout)
}

var (
	errDeadline  = errors.New("job timed out")
	errAbandoned = errors.New("job abandoned")
	errNotSent   = errors.New("job abandoned before it was sent")
)

// exchange sends j to the child and reads its answer. It kills the child at the deadline, or when
// the caller has abandoned the job; either ends the exchange.
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
	stopLeaving := context.AfterFunc(j.ctx, func() { time.AfterFunc(abandonGrace, kill(errAbandoned)) })
	defer stopLeaving()

	c.limitCPU(2 * w.cfg.Timeout)
	images, err := c.exchange(j)
	done := errors.New("done")
	if !why.CompareAndSwap(nil, &done) {
		return nil, *why.Load() // killed, possibly during its answer
	}
	return images, err
}

// startFor starts a child for j: the first one for expensive jobs, or one for a second try.
func (w *worker) startFor(j *job, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(j.ctx, deadline, w.timeoutError())
	defer cancel()
	for range maxStartFailures {
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

// maxStartFailures is how many starts of a worker may fail in a row before jobs are refused
// instead of waiting. A single failure may just be a child that was killed while starting.
const maxStartFailures = 3

var errNoChild = fmt.Errorf("%w: no resize process can be started", resize.ErrFailed)

// pause waits after failed starts, longer with each failure.
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

// start gives w a child. If starting keeps failing and no other worker has a child, jobs are
// refused until a start succeeds.
func (w *worker) start(ctx context.Context) error {
	w.starting.Add(1)
	w.enable(1, nil)
	c, err := startChild(ctx, w.cfg, w.watermarks.Load())
	w.starting.Add(-1)
	if err == nil {
		w.enable(0, nil)
		if w.expensive() {
			c.nice(expensiveNice)
		}
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
	if w.failures < maxStartFailures {
		refusal = nil
	}
	w.enable(-1, refusal)
	w.count(Failed)
	w.cfg.Log.Error("resize process failed to start", "err", err, "failures", w.failures)
	return err
}

// enable adds to the number of usable children. At 0 jobs are refused with refusal, unless that is
// nil. A successful start (by is 0) ends the refusal.
func (p *Pool) enable(by int, refusal error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usable += by
	switch {
	case p.usable == 0 && refusal != nil:
		p.queue.refuse(refusal)
	case p.usable > 0 && by == 0:
		p.queue.refuse(nil)
	}
}

// recycle replaces a child that has done MaxJobs jobs or exceeds MaxRSS. The new child starts
// before the old one ends.
func (w *worker) recycle(ctx context.Context) {
	old := w.child
	rss := old.rss()
	if old.jobs < w.cfg.MaxJobs && rss <= w.cfg.MaxRSS || time.Now().Before(w.noRecycleUntil) {
		return
	}
	failures := w.failures
	if err := w.start(ctx); err != nil {
		// Keep the old child and do not try again right away.
		w.failures = failures
		w.noRecycleUntil = time.Now().Add(50 * w.cfg.Backoff)
		return
	}
	w.enable(-1, nil)
	w.count(Recycled)
	w.cfg.Log.Debug("resize process recycled", "pid", old.pid(), "jobs", old.jobs, "rss_bytes", rss)
	old.close()
}

// retire ends an idle child that has old watermarks. The worker then starts a new one.
func (w *worker) retire() {
	c := w.child
	w.child = nil
	w.enable(-1, nil)
	w.count(Recycled)
	w.cfg.Log.Debug("resize process recycled, watermarks have changed", "pid", c.pid(), "jobs", c.jobs)
	c.close()
}

// replace ends the child. The worker then starts a new one.
func (w *worker) replace(reason, text string, attrs ...any) {
	c := w.child
	w.child = nil
	w.enable(-1, nil)
	w.count(reason)
	w.cfg.Log.Warn(text, append(attrs, "reason", reason, "pid", c.pid(), "jobs", c.jobs, "exit_status", c.end())...)
}
