package fill

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// originalRef identifies the requests that can share one fetch of an original: the same
// version, the same epoch, and the same validator to revalidate with.
type originalRef struct {
	source, name string
	version      imageurl.Version
	held         imagecache.Validator
	epoch        uint64
}

// request is one Fill.
type request struct {
	ctx   context.Context
	spec  resize.Spec
	stale *imagecache.Image
	late  bool // the requests for which the original was fetched are answered
	// noted is set by an early job that was given up: it has recorded this request in the history,
	// and likely is the result.
	noted, likely bool

	ended sync.Once
	done  chan struct{}
	// The fields below are written before done is closed.
	of        original // the original of made, as far as known if there is an error
	made      resize.Image
	unchanged bool // nothing was made: stale was made from the same original
	err       error
}

// end ends r and reports whether it had not ended before.
func (r *request) end(set func()) (now bool) {
	r.ended.Do(func() {
		set()
		close(r.done)
		now = true
	})
	return now
}

func (r *request) fail(of original, err error) bool {
	return r.end(func() { r.of, r.err = of, err })
}

func (r *request) succeed(of original, made resize.Image) bool {
	return r.end(func() { r.of, r.made = of, made })
}

func (r *request) hasEnded() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// guard calls do, which ends the requests. If it panics, guard ends the rest with an error.
func guard(requests []*request, do func()) {
	defer func() {
		if p := recover(); p != nil {
			for _, r := range requests {
				r.fail(original{}, fmt.Errorf("%w: panic: %v", resize.ErrFailed, p))
			}
		}
	}()
	do()
}

// workTable has the running work of each original. The zero value is ready.
type workTable struct {
	mu   sync.Mutex
	byID map[originalRef]*work
}

// work makes variants of one original for concurrent requests. It lives from the first
// request to the last, and as long as a job runs. The original is fetched once: requests that arrive
// while it is fetched, or later while it is fresh, share it. Those that arrive while a job runs are
// batched into the next job.
//
//	request → opened (stored mezzanine, stored original or fetch) → queue fromMezzanine → job
//	                 ↘ early job, while the fetch reads           ↘ queue fromOriginal  → job
//
// Each request is answered as soon as its variant is encoded. Each priority has its own pair of
// queues: foreground requests never wait for background ones, and one whose priority is raised moves.
type work struct {
	f    *Filler
	src  origin.Source
	ref  imageurl.Ref // of the first request; its Spec is not used
	id   originalRef
	ctx  context.Context // ends when the last request has left
	stop context.CancelFunc
	hold *inflight.Hold // of the original's bytes, in ctx

	requests int // that have not left; guarded by workTable.mu
	jobs     int // that run; guarded by workTable.mu

	opened  future  // the stored mezzanine if it is fresh, else the original
	fetched future  // the original's bytes, if opened is a mezzanine and they are needed too
	overlap overlap // the early job

	mu     sync.Mutex
	known  bool       // opened is done; guarded by mu, like all fields below
	early  []*request // requests that arrived before that
	mezz   *mezzanine // nil until it is made or found
	making bool       // a job may make the mezzanine
	kept   bool       // the original was stored in its tier
	queues [resize.NumPriorities]queuePair
}

// add adds r to the work on id, which begin makes if it is new. The caller must call
// leave when r is done or no longer wanted; the work ends with the last request.
func (ws *workTable) add(id originalRef, r *request, begin func() *work) (leave func()) {
	ws.mu.Lock()
	w := ws.byID[id]
	isNew := w == nil || !w.takes(w.requests > 0)
	if isNew {
		w = begin()
		if ws.byID == nil {
			ws.byID = make(map[originalRef]*work)
		}
		ws.byID[id] = w
	}
	r.late = !isNew && w.requests == 0
	w.requests++
	ws.mu.Unlock()
	priority := resize.PriorityOf(r.ctx)
	w.add(r)
	if isNew {
		w.opened.start(w.open, w.dispatchAll)
	}
	stop := resize.OnRaise(r.ctx, func(to resize.Priority) {
		if to < priority {
			go guard([]*request{r}, func() { w.moveUp(r) })
		}
	})
	return func() {
		stop()
		ws.leave(w, &w.requests)
	}
}

// beginJob keeps w alive until end is called.
func (ws *workTable) beginJob(w *work) (end func()) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.jobs++
	return func() { ws.leave(w, &w.jobs) }
}

// leave decrements one of w's counts, and ends w if both are 0.
func (ws *workTable) leave(w *work, count *int) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if *count--; w.requests > 0 || w.jobs > 0 {
		return
	}
	w.stop()
	w.hold.Release()
	if ws.byID[w.id] == w {
		delete(ws.byID, w.id)
	}
}

func newWork(f *Filler, src origin.Source, ref imageurl.Ref, id originalRef, first *request) *work {
	w := &work{f: f, src: src, ref: ref, id: id, hold: f.cfg.InFlight.Hold()}
	w.overlap.w = w
	w.ctx, w.stop = context.WithCancel(inflight.With(context.WithoutCancel(first.ctx), w.hold))
	for i := range w.queues {
		p := &w.queues[i]
		p.fromOriginal = queue{w: w, ready: w.bytes, do: w.makeFromOriginal}
		p.fromMezzanine = queue{w: w, ready: w.openedMezzanine, do: w.makeFromMezzanine}
	}
	return w
}

// takes reports whether a new request may use w's original: while it is fetched for other requests,
// and later only while it is fresh.
func (w *work) takes(wanted bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		return wanted
	}
	if w.opened.err != nil {
		return false
	}
	fresh := w.opened.orig.Fresh
	return fresh.Pinned() || !fresh.NoStore && w.f.cfg.Now().Before(fresh.Until)
}

// add dispatches requests, or lets them wait until opened is done.
func (w *work) add(requests ...*request) {
	w.mu.Lock()
	if !w.known {
		w.early = append(w.early, requests...)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.dispatch(requests...)
}

// dispatchAll is called once opened is done.
func (w *work) dispatchAll() {
	w.mu.Lock()
	w.known = true
	w.mezz = w.opened.orig.mezz
	requests := w.early
	w.early = nil
	w.mu.Unlock()
	w.overlap.end()
	guard(requests, func() { w.dispatch(requests...) })
}

// dispatch answers each request, adds it to its queue or starts its own job. The requests of
// one queue are added together, so that they share a job.
func (w *work) dispatch(requests ...*request) {
	byQueue := make(map[*queue][]*request)
	var own []func()
	for _, r := range requests {
		switch q, alone := w.route(r); {
		case q == nil:
		case alone:
			own = append(own, func() { w.makeAlone(r, q) })
		default:
			byQueue[q] = append(byQueue[q], r)
		}
	}
	for i := range w.queues {
		p := &w.queues[i]
		p.fromOriginal.add(byQueue[&p.fromOriginal]...)
		p.fromMezzanine.add(byQueue[&p.fromMezzanine]...)
	}
	for _, do := range own {
		go do()
	}
	for _, r := range requests {
		w.moveUp(r) // it may have been raised before it was in its queue
	}
}

// moveUp moves r to the queue of its priority, if it waits in one of a lower priority.
func (w *work) moveUp(r *request) {
	priority := resize.PriorityOf(r.ctx)
	found := false
	w.mu.Lock()
	for lower := priority + 1; lower < resize.NumPriorities && !found; lower++ {
		p := &w.queues[lower]
		found = p.fromOriginal.removeLocked(r) || p.fromMezzanine.removeLocked(r)
	}
	w.mu.Unlock()
	if found {
		w.dispatch(r)
	}
}

// route returns the queue of r, and whether r should have a job of its own, with the input of
// that queue. It returns nil if r is done.
func (w *work) route(r *request) (q *queue, alone bool) {
	orig, err := w.opened.orig, w.opened.err
	pair := &w.queues[resize.PriorityOf(r.ctx)]
	switch {
	case err != nil:
		r.fail(orig, err)
		return nil, false
	case unchanged(r.stale, orig):
		w.keep(orig)
		r.end(func() { r.of, r.unchanged = orig, true })
		return nil, false
	case r.spec.Shape == resize.ShapeOriginal:
		go guard([]*request{r}, func() { w.serveOriginal(r) })
		return nil, false
	}
	m := w.mezzanine()
	if m != nil && r.spec.Shape == resize.ShapeInfo {
		w.f.countMezzanine(MezzanineUsed, 1)
		r.succeed(w.originalOf(m), infoOf(m))
		return nil, false
	}
	h := orig.header
	if orig.mezz != nil {
		h = orig.mezz.upright()
	}
	if err := w.f.cfg.Limits.CheckVariant(h, r.spec); err != nil {
		r.fail(orig, err)
		return nil, false
	}
	q = &pair.fromOriginal
	if m != nil && m.makes(r.spec, w.f.cfg.Mezzanine) {
		q = &pair.fromMezzanine
	}
	return q, expensive(h, r.spec)
}

// expensive reports whether making s takes so long that other requests should not wait for it.
func expensive(h resize.Header, s resize.Spec) bool {
	switch s.Format {
	case resize.AVIF, resize.HEIC, resize.JXL:
		return true
	}
	return h.Animated && s.KeepsAnimation()
}

func infoOf(m *mezzanine) resize.Image {
	return resize.Image{Body: m.info, Format: resize.JSON, Width: m.width, Height: m.height}
}

// queuePair has the two queues of one priority.
type queuePair struct{ fromOriginal, fromMezzanine queue }

// queue runs one job at a time, each for all requests that are waiting when it starts.
type queue struct {
	w     *work
	ready func() (original, error) // waits for the input of do and returns the original
	do    func([]*request)

	waiting []*request // guarded by w.mu
	running bool       // guarded by w.mu
}

// maxBatch is the maximum number of requests in one job. It bounds how long later ones wait.
const maxBatch = 16

func (q *queue) add(requests ...*request) {
	q.w.mu.Lock()
	defer q.w.mu.Unlock()
	q.waiting = append(q.waiting, requests...)
	if !q.running && len(q.waiting) > 0 {
		q.running = true
		go q.run()
	}
}

// removeLocked removes r, and reports whether it was waiting.
func (q *queue) removeLocked(r *request) bool {
	i := slices.Index(q.waiting, r)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	return i >= 0
}

func (q *queue) run() {
	for {
		q.w.mu.Lock()
		if len(q.waiting) == 0 {
			q.running = false
			q.w.mu.Unlock()
			return
		}
		q.w.mu.Unlock()

		orig, err := q.ready()
		var requests []*request
		q.w.mu.Lock()
		for len(q.waiting) > 0 && (err != nil || len(requests) < maxBatch) { // an error ends all of them
			r := q.waiting[0]
			q.waiting = q.waiting[1:]
			switch {
			case err != nil:
				r.fail(orig, err)
			case r.ctx.Err() != nil: // its caller has left
				r.fail(orig, context.Cause(r.ctx))
			default:
				requests = append(requests, r)
			}
		}
		q.w.mu.Unlock()
		if len(requests) > 0 {
			guard(requests, func() { q.do(requests) })
		}
	}
}

// future is an original that is being read or fetched.
type future struct {
	once sync.Once
	done chan struct{}
	orig original
	err  error
}

// start calls get and then then, in a new goroutine. Only the first call has an effect.
func (x *future) start(get func() (original, error), then func()) {
	x.once.Do(func() {
		x.done = make(chan struct{})
		go func() {
			func() {
				defer close(x.done)
				defer func() {
					if p := recover(); p != nil {
						x.orig, x.err = original{}, fmt.Errorf("%w: panic while fetching: %v", resize.ErrFailed, p)
					}
				}()
				x.orig, x.err = get()
			}()
			then()
		}()
	})
}
