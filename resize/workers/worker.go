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

// leaveGrace is how long a job goes on that nobody waits for any more.
const leaveGrace = 100 * time.Millisecond

// worker owns one child at a time.
type worker struct {
	*Pool
	child    *child
	failures int // starts that failed in a row
}

// run takes jobs until ctx is done. It keeps its thread: Linux ties the death of a child
// with its parent (Pdeathsig) to the thread that started it.
func (w *worker) run(ctx context.Context) {
	runtime.LockOSThread()
	defer func() { w.drop() }()
	for ctx.Err() == nil {
		if w.child == nil && !w.start(ctx) {
			continue
		}
		w.idle.Add(1)
		j := w.next(ctx)
		w.idle.Add(-1)
		if j == nil {
			continue
		}
		w.busy.Add(1)
		w.do(j)
		w.busy.Add(-1)
	}
}

// next waits for a job, live ones first. nil: ctx is done, or the idle child has died.
func (w *worker) next(ctx context.Context) *job {
	for {
		var j *job
		select {
		case j = <-w.live:
		default:
			select {
			case j = <-w.live:
			case j = <-w.warm:
			case <-w.child.dead:
				w.replace(Died, "an idle resize process died")
				return nil
			case <-ctx.Done():
				return nil
			}
		}
		if j.taken.CompareAndSwap(false, true) {
			w.cfg.Waited(time.Since(j.queued))
			return j
		}
	}
}

// do does one job, on a second child if the first dies of it.
func (w *worker) do(j *job) {
	for try := 1; ; try++ {
		images, err := w.exchange(j)
		var refused *wire.Refused
		switch {
		case err == nil:
			j.end(images, nil)
		case errors.As(err, &refused):
			j.end(nil, fmt.Errorf("%w: %w", refused.Sentinel, refused))
		case errors.Is(err, errDeadline):
			w.replace(Deadline, "a job ran out of time")
			j.end(nil, fmt.Errorf("%w: %s", resize.ErrTimeout, w.cfg.Timeout))
			return
		case errors.Is(err, errLeft):
			w.replace(Left, "nobody waits for its job")
			j.end(nil, context.Cause(j.ctx))
			return
		case try == 1:
			w.replace(Died, "a resize process died of a job")
			if w.startNow(j.ctx) == nil {
				continue
			}
			j.end(nil, fmt.Errorf("%w: no process to try again", resize.ErrFailed))
			return
		default:
			w.replace(Died, "a second resize process died of the same job")
			j.end(nil, fmt.Errorf("%w: two processes died of it", resize.ErrCorrupt))
			return
		}
		w.recycle()
		return
	}
}

var (
	errDeadline = errors.New("deadline")
	errLeft     = errors.New("left")
)

// exchange sends j to the child and reads its answer. It kills the child when the time
// is up: that ends both.
func (w *worker) exchange(j *job) ([]resize.Image, error) {
	c := w.child
	var why atomic.Pointer[error]
	kill := func(err error) func() {
		return func() {
			if why.CompareAndSwap(nil, &err) {
				c.kill()
			}
		}
	}
	deadline := time.AfterFunc(w.cfg.Timeout, kill(errDeadline))
	defer deadline.Stop()
	stop := context.AfterFunc(j.ctx, func() { time.AfterFunc(leaveGrace, kill(errLeft)) })
	defer stop()

	images, err := c.exchange(j.original, j.specs)
	done := errors.New("done")
	if !why.CompareAndSwap(nil, &done) {
		return nil, *why.Load() // killed, maybe with its answer half way
	}
	return images, err
}

// start tries to start a child, and pauses where it could not; then it answers whoever
// waits, unless other workers can.
func (w *worker) start(ctx context.Context) bool {
	err := w.startNow(ctx)
	if err == nil {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	w.count(Failed)
	w.cfg.Log.Error("a resize process does not start", "err", err, "failures", w.failures)
	pause := w.cfg.Backoff << min(w.failures-1, 5)
	late := time.NewTimer(pause/2 + rand.N(pause))
	defer late.Stop()
	for {
		lane, warm := w.live, w.warm
		if w.idle.Load()+w.busy.Load() > 0 {
			lane, warm = nil, nil // others work
		}
		select {
		case j := <-lane:
			w.refuse(j)
		case j := <-warm:
			w.refuse(j)
		case <-late.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (w *worker) refuse(j *job) {
	if j.taken.CompareAndSwap(false, true) {
		j.end(nil, fmt.Errorf("%w: no process starts", resize.ErrFailed))
	}
}

func (w *worker) startNow(ctx context.Context) error {
	w.starting.Add(1)
	defer w.starting.Add(-1)
	c, err := startChild(ctx, w.cfg)
	if err != nil {
		w.failures++
		return err
	}
	w.failures = 0
	w.child = c
	w.hello.Store(&c.hello)
	w.once.Do(func() { close(w.ready) })
	return nil
}

// recycle replaces a child that has done its share or has grown: the next one has
// started before this one goes.
func (w *worker) recycle() {
	old := w.child
	if old.jobs < w.cfg.MaxJobs && old.rss() <= w.cfg.MaxRSS {
		return
	}
	if err := w.startNow(context.Background()); err != nil {
		w.cfg.Log.Warn("a resize process cannot be recycled", "err", err)
		return
	}
	w.count(Recycled)
	old.close()
}

// replace takes the child away.
func (w *worker) replace(reason, text string) {
	w.count(reason)
	w.cfg.Log.Warn(text, "pid", w.child.pid(), "reason", reason, "end", w.child.end())
	w.child = nil
}

func (w *worker) drop() {
	if w.child != nil {
		w.child.close()
		w.child = nil
	}
}
