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

// worker runs one job at a time, on its child for the job's family. It starts the child for common
// kinds at once, and each other child with its first job.
type worker struct {
	*Pool
	slot           *slot
	children       [numFamilies]*child
	failures       int       // children in a row that did not start or died before their first answer
	noRecycleUntil time.Time // set when recycling has failed
}

// run takes jobs until ctx is done. It keeps its thread, because Linux sends the parent death
// signal (Pdeathsig) when the thread that started the child exits.
func (w *worker) run(ctx context.Context) {
	runtime.LockOSThread()
	for ctx.Err() == nil {
		if w.children[common] == nil && !w.expensive() {
			w.pause(ctx)
			if err := w.start(ctx, common); err != nil {
				continue
			}
		}
		j := w.next(ctx)
		if j == nil {
			continue
		}
		w.busy.Add(1)
		if j.Early != nil {
			w.doEarly(ctx, j)
		} else {
			w.do(ctx, j)
		}
		w.queue.done(j)
		w.busy.Add(-1)
	}
	for _, c := range w.children {
		if c != nil {
			c.close()
		}
	}
}

func (w *worker) expensive() bool { return w.slot.kind == forExpensive }

// next waits for a job. It returns nil if ctx is done or an idle child has died.
func (w *worker) next(ctx context.Context) *job {
	var dead [numFamilies]chan struct{}
	for f, c := range w.children {
		if c != nil {
			dead[f] = c.dead
		}
	}
	if w.children != [numFamilies]*child{} {
		w.idle.Add(1)
		defer w.idle.Add(-1)
	}
	w.queue.offer(w.slot)
	select {
	case j := <-w.slot.next:
		w.cfg.Waited(time.Since(j.queued))
		return j
	case <-dead[common]:
		w.queue.withdraw(w.slot)
		w.buryIdle(common)
	case <-dead[rare]:
		w.queue.withdraw(w.slot)
		w.buryIdle(rare)
	case <-ctx.Done():
		w.queue.withdraw(w.slot)
	}
	return nil
}

// buryIdle replaces a child that has died between jobs.
func (w *worker) buryIdle(f family) {
	if w.children[f].jobs == 0 {
		w.failures++
	}
	w.replace(f, w.children[f].fate(), "idle resize process died")
}

// do runs one job, on a second child if the first one fails. See the package comment for the
// errors.
func (w *worker) do(ctx context.Context, j *job) {
	deadline := time.Now().Add(w.cfg.Timeout)
	if c := w.children[j.family]; c != nil && c.watermarks != w.watermarks.Load() {
		w.retire(j.family, "watermarks have changed")
	}
	if len(j.Optional) > 0 && !w.queue.spare(w.slot) {
		j.Optional = nil
	}
	var reasons [2]string // why each child failed
	for try := range reasons {
		if w.children[j.family] == nil {
			if err := w.startFor(j, deadline); err != nil {
				j.end(err)
				return
			}
		}
		began := time.Now()
		err := w.exchange(j, deadline)
		var jobErr *wire.JobError
		switch {
		case err == nil, errors.As(err, &jobErr):
			w.failures = 0
			if j.missing == 0 {
				w.queue.measured(j, j.answered.Sub(began))
			}
			j.end(err)
			w.recycle(ctx, j.family)
			return
		case errors.Is(err, errNotSent):
			j.end(context.Cause(j.ctx))
			return
		case errors.Is(err, errDeadline):
			w.replace(j.family, Deadline, "resize job timed out")
			j.end(w.timeoutError())
			return
		case errors.Is(err, errAbandoned):
			w.replace(j.family, Abandoned, "resize job abandoned by its caller")
			j.end(context.Cause(j.ctx))
			return
		case errors.Is(err, wire.ErrProtocol):
			reasons[try] = InvalidAnswer
		default:
			reasons[try] = w.children[j.family].fate()
		}
		attrs := []any{"try", try + 1, "err", err}
		if reasons[try] == OutOfMemory {
			attrs = append(attrs, "limit_bytes", w.cfg.Memory, "setting", memorySetting)
		}
		w.replace(j.family, reasons[try], "resize process failed during a job", attrs...)
		if j.missing == 0 {
			j.end(fmt.Errorf("%w: the resize process failed after it had made all images: %s", resize.ErrFailed, reasons[try]))
			return
		}
	}
	j.end(w.verdict(reasons))
}

// verdict is the error of a job on which two children have failed.
func (w *worker) verdict(reasons [2]string) error {
	switch reasons {
	case [2]string{Crashed, Crashed}:
		return fmt.Errorf("%w: it crashed two resize processes", resize.ErrCorrupt)
	case [2]string{OutOfMemory, OutOfMemory}:
		return fmt.Errorf("%w: two resize processes reached their limit of %d MiB of memory (%s)",
			resize.ErrFailed, w.cfg.Memory>>20, memorySetting)
	}
	return fmt.Errorf("%w: two resize processes failed during the job: %s, %s",
		resize.ErrFailed, reasons[0], reasons[1])
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

// exchange sends j to the child and delivers its answer. It kills the child at the deadline, or when
// the caller has abandoned the job; either ends the exchange.
func (w *worker) exchange(j *job, deadline time.Time) error {
	c := w.children[j.family]
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
	err := c.exchange(j, func() bool { return w.queue.spare(w.slot) })
	done := errors.New("done")
	if !why.CompareAndSwap(nil, &done) {
		return *why.Load() // killed, possibly during its answer
	}
	return err
}

// startFor starts a child for j: the first one of its family, or one for a second try.
func (w *worker) startFor(j *job, deadline time.Time) error {
	ctx, cancel := context.WithDeadlineCause(j.ctx, deadline, w.timeoutError())
	defer cancel()
	for range maxStartFailures {
		switch err := w.start(ctx, j.family); {
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

// start gives w a child for f. If starting keeps failing and no other worker has a child, jobs are
// refused until a start succeeds.
func (w *worker) start(ctx context.Context, f family) error {
	w.starting.Add(1)
	w.enable(1, nil)
	c, err := startChild(ctx, w.cfg, w.watermarks.Load())
	w.starting.Add(-1)
	if err == nil {
		w.enable(0, nil)
		if w.expensive() {
			c.nice(expensiveNice)
		}
		w.children[f] = c
		if w.hello.Swap(&c.hello) == nil && len(c.hello.Missing) > 0 {
			w.cfg.Log.Warn("resize processes run without a complete sandbox", "missing", c.hello.Missing)
		}
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

// recycle is called after a job of f. It ends the child for rare kinds if that has done enough
// jobs or if both children together exceed MaxRSS; the next such job starts another. It replaces
// the child for common kinds if that has done enough jobs or alone exceeds MaxRSS; the new one
// starts before the old one ends.
func (w *worker) recycle(ctx context.Context, f family) {
	var rss [numFamilies]int64
	for i, c := range w.children {
		if c != nil {
			rss[i] = c.rss()
		}
	}
	if c := w.children[rare]; c != nil &&
		(f == rare && c.jobs >= w.cfg.MaxRareJobs || rss[common]+rss[rare] > w.cfg.MaxRSS) {
		w.retire(rare, "jobs or memory")
	}
	old := w.children[common]
	if f == rare || old.jobs < w.cfg.MaxJobs && rss[common] <= w.cfg.MaxRSS || time.Now().Before(w.noRecycleUntil) {
		return
	}
	failures := w.failures
	if err := w.start(ctx, common); err != nil {
		// Keep the old child and do not try again right away.
		w.failures = failures
		w.noRecycleUntil = time.Now().Add(50 * w.cfg.Backoff)
		return
	}
	w.enable(-1, nil)
	w.count(Recycled)
	w.cfg.Log.Debug("resize process recycled", "why", "jobs or memory", "pid", old.pid(), "jobs", old.jobs,
		"rss_bytes", rss[common])
	old.close()
}

// retire ends the idle child of f. The worker starts a new one for the next job.
func (w *worker) retire(f family, why string) {
	c := w.children[f]
	w.children[f] = nil
	w.enable(-1, nil)
	w.count(Recycled)
	w.cfg.Log.Debug("resize process recycled", "why", why, "pid", c.pid(), "jobs", c.jobs)
	c.close()
}

// replace ends the child of f. The worker then starts a new one.
func (w *worker) replace(f family, reason, text string, attrs ...any) {
	c := w.children[f]
	w.children[f] = nil
	w.enable(-1, nil)
	w.count(reason)
	w.cfg.Log.Warn(text, append(attrs, "reason", reason, "pid", c.pid(), "jobs", c.jobs, "exit_status", c.end())...)
}
