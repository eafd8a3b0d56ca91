package fill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
)

// overlap begins the job of the waiting requests while their original is fetched, so that a fill takes the longer of
// download and decode instead of their sum. It implements origin.Arrival; all of it runs in the goroutine that fetches.
//
// The job (resize.Job.Early) is begun when the rest is expected to arrive while the decoder works on it: an earlier
// start would gain nothing and keep a child waiting. Its images are made after the same checks of length, digest and
// structure as those of any other job (end). It is begun once for a work; if it is given up or fails, its requests
// are dispatched with all others when the original is there.
type overlap struct {
	w *work

	over     bool      // nothing more is begun
	began    time.Time // when the first bytes arrived
	first    int       // how many they were
	header   resize.Header
	original *resize.Arriving // nil until the job is begun
}

const (
	// minOverlap is the least that an overlap is expected to save.
	minOverlap = 5 * time.Millisecond
	// minSample is how long the rate is measured at least, and for a quarter of the original: bytes that wait
	// in the socket's buffer arrive at once.
	minSample = 10 * time.Millisecond
	// maxHeader is how many bytes may come before the first scan: EXIF with a preview, profiles.
	maxHeader = 1 << 20
)

// Arrived implements origin.Arrival.
func (o *overlap) Arrived(body []byte, size int64) {
	switch {
	case o.over:
	case o.original != nil:
		o.original.Add(body)
	case o.due(body, size):
		o.begin(body, size)
	}
}

// due reports whether it is time to begin the job.
func (o *overlap) due(body []byte, size int64) bool {
	now := o.w.f.cfg.Now()
	if o.began.IsZero() {
		o.began, o.first = now, len(body)
	}
	if o.header.Kind == resize.NoKind {
		h, err := resize.ReadHeader(body)
		if err != nil {
			o.over = len(body) > maxHeader
			return false
		}
		o.header = h
		o.over = h.Kind != resize.KindJPEG || o.w.f.cfg.Limits.Check(h, int(size)) != nil ||
			o.w.f.unsteady.is(o.w.id.source, now)
	}
	took, arrived := now.Sub(o.began), len(body)-o.first
	if o.over || took < minSample || int64(arrived) < size/4 {
		return false
	}
	rest := time.Duration(float64(took) / float64(arrived) * float64(size-int64(len(body))))
	return rest >= minOverlap && rest <= resize.DecodingCPU(o.header)
}

// begin begins the job, unless no request can use it.
func (o *overlap) begin(body []byte, size int64) {
	requests := o.w.takeEarly(o.header)
	if len(requests) == 0 {
		return
	}
	o.original = resize.NewArriving(int(size))
	o.original.Add(body)
	original, header, end := o.original, o.header, o.w.f.works.beginJob(o.w)
	go func() {
		defer end()
		guard(requests, func() { o.w.makeEarly(original, header, requests) })
	}()
}

// Failed implements origin.Arrival.
func (o *overlap) Failed() {
	if o.original == nil {
		*o = overlap{w: o.w, over: o.over}
		return
	}
	o.original.End(false)
	o.over = true
	o.w.f.unsteady.note(o.w.id.source, o.w.f.cfg.Now())
}

// end is called when the fetch has ended. The job may use the original if it is the very one, in the same memory, that
// was fetched and checked.
func (o *overlap) end() {
	o.over = true
	if o.original == nil {
		return
	}
	var checked []byte
	if o.w.opened.err == nil {
		checked = o.w.opened.orig.Body
	}
	sent := o.original.Progress().Bytes
	o.original.End(len(sent) > 0 && len(checked) == len(sent) && &checked[0] == &sent[0])
}

// takeEarly removes from the requests that wait for the original those that an early job can make.
func (w *work) takeEarly(h resize.Header) (taken []*request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var left []*request
	for _, r := range w.early {
		if len(taken) < maxBatch && r.stale == nil && r.spec.Shape != resize.ShapeOriginal &&
			resize.PriorityOf(r.ctx) != resize.PriorityWarm && r.ctx.Err() == nil &&
			!expensive(h, r.spec) && w.f.cfg.Limits.CheckVariant(h, r.spec) == nil {
			taken = append(taken, r)
		} else {
			left = append(left, r)
		}
	}
	w.early = left
	return taken
}

// Events that end an early job, for Config.EarlyJobs.
const (
	EarlyMade    = "made"
	EarlyLate    = "late"     // given up, because the rest of the original took too long
	EarlyBroken  = "broken"   // given up, because the fetch failed or the original did not pass its checks
	EarlyNotMade = "not_made" // no resize process was idle, or the job failed
)

// EarlyEvents are all of them.
var EarlyEvents = []string{EarlyMade, EarlyLate, EarlyBroken, EarlyNotMade}

// earlyEvent returns the event that ends a job with the error err.
func earlyEvent(original *resize.Arriving, err error) string {
	p := original.Progress()
	switch {
	case err == nil:
		return EarlyMade
	case errors.Is(err, resize.ErrNotEarly) && errors.Is(err, context.DeadlineExceeded):
		return EarlyLate
	case p.Ended && !p.Usable:
		return EarlyBroken
	}
	return EarlyNotMade
}

// makeEarly makes the variants of requests from an original that is still arriving. Those that are not made wait for
// the original again.
func (w *work) makeEarly(arriving *resize.Arriving, h resize.Header, requests []*request) {
	j := job{early: arriving, spec: asIs}
	extra := w.addMezzanine(&j, h, requests)
	err := w.run(j, requests)
	event := earlyEvent(arriving, err)
	if event == EarlyLate {
		w.f.unsteady.note(w.id.source, w.f.cfg.Now())
	}
	if w.f.cfg.EarlyJobs != nil {
		w.f.cfg.EarlyJobs(event)
	}
	made := false
	var left []*request
	for _, r := range requests {
		switch {
		case !r.hasEnded():
			left = append(left, r)
		case r.err == nil:
			made = true
		}
	}
	kept := false
	if made { // so the original is there
		kept = j.optional != nil && w.setMezzanine(w.opened.orig, *extra, err)
	} else if j.optional != nil {
		w.mu.Lock()
		w.making = false
		w.mu.Unlock()
	}
	w.add(left...)
	if made && !kept {
		w.keep(w.opened.orig)
	}
}

// unsteady has the sources whose originals arrived later than they began, or not at all. The zero value is ready.
type unsteady struct {
	mu   sync.Mutex
	seen map[string]time.Time // by source; guarded by mu
}

// unsteadyPause is how long nothing is begun early for such a source: a job that is given up has kept a child for
// some tenths of a second, and its decode is done again.
const unsteadyPause = 10 * time.Second

func (u *unsteady) note(source string, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = make(map[string]time.Time)
	}
	u.seen[source] = now
}

func (u *unsteady) is(source string, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	at, ok := u.seen[source]
	return ok && now.Sub(at) < unsteadyPause
}
