package fill

import (
	"context"
	"fmt"
	"sync"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// originalRef names one original, in which epoch it was first wanted, and on which condition
// it is asked for: an answer "not modified" means something only to those who hold the same.
type originalRef struct {
	source, name string
	version      imageurl.Version
	held         imagecache.Validator
	epoch        uint64
}

// order is one Fill. What follows done is written before done is closed.
type order struct {
	ctx   context.Context
	spec  resize.Spec
	stale *imagecache.Image
	// needsMezzanine is an order of our own: it wants nothing but that the mezzanine is made.
	needsMezzanine bool

	ended     sync.Once
	done      chan struct{}
	of        original // what made was made of, or what is known of it on an error
	made      resize.Image
	unchanged bool // nothing was made: stale is as good as of
	err       error
}

func (o *order) end(set func()) {
	o.ended.Do(func() {
		set()
		close(o.done)
	})
}

func (o *order) fail(of original, err error) { o.end(func() { o.of, o.err = of, err }) }

func (o *order) succeed(of original, made resize.Image) {
	o.end(func() { o.of, o.made = of, made })
}

// guard calls do, which ends orders; a panic ends those that are left.
func guard(orders []*order, do func()) {
	defer func() {
		if p := recover(); p != nil {
			for _, o := range orders {
				o.fail(original{}, fmt.Errorf("%w: it panicked: %v", resize.ErrFailed, p))
			}
		}
	}()
	do()
}

// works are the originals that running fills make something of. The zero value is ready.
type works struct {
	mu   sync.Mutex
	byID map[originalRef]*work
}

// work is what running fills do with one original. It lives from the first order to the last:
// its bytes are fetched once, its mezzanine is made once, and orders that come while others
// are worked on wait for them and are then made together.
//
//	order → opened (kept mezzanine, kept original or fetch) → line fromMezzanine → made
//	                                                        ↘ line fromOriginal  → made
//
// Each priority has a pair of lines of its own: foreground requests never wait for background
// ones.
type work struct {
	f    *Filler
	src  origin.Source
	ref  imageurl.Ref // of the first order; its Spec means nothing here
	id   originalRef
	ctx  context.Context // ends when the last order has left
	stop context.CancelFunc

	orders int // that have not left; guarded by works.mu

	opened future // a mezzanine that is kept and fresh, or else the original
	whole  future // the original's bytes, where opened is a mezzanine and they are needed

	mu        sync.Mutex
	known     bool       // opened is done; guarded by mu, as all below
	gathering []*order   // until then
	mezz      *mezzanine // once it is there
	kept      bool       // the original was put into its tier
	lanes     [resize.NumPriorities]lane
}

// order hands o to the work on id, which begin makes if there is none. The caller calls
// leave when o is done or no longer wanted: with the last of them, the work ends.
func (ws *works) order(id originalRef, o *order, begin func() *work) (leave func()) {
	ws.mu.Lock()
	w := ws.byID[id]
	fresh := w == nil
	if fresh {
		w = begin()
		if ws.byID == nil {
			ws.byID = make(map[originalRef]*work)
		}
		ws.byID[id] = w
	}
	w.orders++
	ws.mu.Unlock()
	w.take(o)
	if fresh {
		w.opened.start(w.open, w.dispatchAll)
	}
	return func() {
		ws.mu.Lock()
		defer ws.mu.Unlock()
		if w.orders--; w.orders > 0 {
			return
		}
		w.stop()
		if ws.byID[id] == w {
			delete(ws.byID, id)
		}
	}
}

func newWork(f *Filler, src origin.Source, ref imageurl.Ref, id originalRef, first *order) *work {
	w := &work{f: f, src: src, ref: ref, id: id}
	w.ctx, w.stop = context.WithCancel(context.WithoutCancel(first.ctx))
	for i := range w.lanes {
		l := &w.lanes[i]
		l.fromOriginal = line{w: w, ready: w.readyOriginal, do: w.makeFromOriginal}
		l.fromMezzanine = line{w: w, ready: l.readyMezzanine, do: w.makeFromMezzanine}
	}
	return w
}

// take lets o wait until it is known what there is of the original, or dispatches it.
func (w *work) take(o *order) {
	w.mu.Lock()
	if !w.known {
		w.gathering = append(w.gathering, o)
		w.mu.Unlock()
		return
	}
	w.mu.Unlock()
	w.dispatch(o)
}

// dispatchAll is called once opened is done.
func (w *work) dispatchAll() {
	w.mu.Lock()
	w.known = true
	w.mezz = w.opened.orig.mezz
	orders := w.gathering
	w.gathering = nil
	w.mu.Unlock()
	guard(orders, func() { w.dispatch(orders...) })
}

// dispatch answers orders, or puts each into its line: those that come together are made
// together.
func (w *work) dispatch(orders ...*order) {
	into := make(map[*line][]*order)
	var lines []*line
	for _, o := range orders {
		l := w.place(o)
		if l == nil {
			continue
		}
		if into[l] == nil {
			lines = append(lines, l)
		}
		into[l] = append(into[l], o)
	}
	for _, l := range lines {
		l.add(into[l]...)
	}
}

// place returns the line of o, or nil: then o is done, or is being made by itself.
func (w *work) place(o *order) *line {
	orig, err := w.opened.orig, w.opened.err
	l := &w.lanes[resize.PriorityOf(o.ctx)]
	switch {
	case err != nil:
		o.fail(orig, err)
		return nil
	case unchanged(o.stale, orig):
		w.keep(orig)
		o.end(func() { o.of, o.unchanged = orig, true })
		return nil
	case o.spec.Shape == resize.ShapeOriginal:
		go guard([]*order{o}, func() { w.pass(o) })
		return nil
	case orig.mezz != nil && o.spec.Shape == resize.ShapeInfo:
		o.succeed(orig, infoOf(orig.mezz))
		return nil
	}
	h, side := orig.header, w.f.cfg.Mezzanine
	if orig.mezz != nil {
		h = orig.mezz.upright()
	}
	if err := w.f.cfg.Limits.CheckVariant(h, o.spec); err != nil {
		o.fail(orig, err)
		return nil
	}
	width, height := h.Upright()
	from := &l.fromOriginal
	if (orig.mezz != nil || h.HasMezzanine(side)) && o.spec.FromMezzanine(width, height, side) {
		from = &l.fromMezzanine
	}
	if dear(h, o.spec) {
		go guard([]*order{o}, func() { w.alone(l, from, o) })
		return nil
	}
	return from
}

// dear reports whether making s takes so long that others should not wait for it.
func dear(h resize.Header, s resize.Spec) bool {
	switch s.Format {
	case resize.AVIF, resize.HEIC, resize.JXL:
		return true
	}
	return h.Animated && s.KeepsAnimation()
}

func infoOf(m *mezzanine) resize.Image {
	return resize.Image{Body: m.info, Format: resize.JSON, Width: m.width, Height: m.height}
}

// lane is a pair of lines.
type lane struct{ fromOriginal, fromMezzanine line }

// line has orders made one job after the other, each of all that wait by then.
type line struct {
	w *work
	// ready returns once there is what do makes things of, with what is known of the
	// original. ctx is that of an order.
	ready func(ctx context.Context) (original, error)
	do    func([]*order)

	waiting []*order // guarded by w.mu
	running bool     // guarded by w.mu
}

// mostAtOnce bounds the orders of one job: those behind wait no longer than for so many.
const mostAtOnce = 16

func (l *line) add(orders ...*order) {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.waiting = append(l.waiting, orders...)
	if !l.running && len(l.waiting) > 0 {
		l.running = true
		go l.run()
	}
}

func (l *line) run() {
	for {
		l.w.mu.Lock()
		if len(l.waiting) == 0 {
			l.running = false
			l.w.mu.Unlock()
			return
		}
		ctx := l.waiting[0].ctx
		l.w.mu.Unlock()

		orig, err := l.ready(ctx)
		var orders []*order
		l.w.mu.Lock()
		for len(l.waiting) > 0 && (err != nil || len(orders) < mostAtOnce) { // all have waited for an error
			o := l.waiting[0]
			l.waiting = l.waiting[1:]
			switch {
			case err != nil:
				o.fail(orig, err)
			case o.ctx.Err() != nil && !o.needsMezzanine: // its caller has left
				o.fail(orig, context.Cause(o.ctx))
			default:
				orders = append(orders, o)
			}
		}
		l.w.mu.Unlock()
		if len(orders) > 0 {
			guard(orders, func() { l.do(orders) })
		}
	}
}

// future is an original that is being got.
type future struct {
	once sync.Once
	done chan struct{}
	orig original
	err  error
}

// start calls get on a goroutine of its own, and then, if the caller is the first; without
// waiting for either.
func (x *future) start(get func() (original, error), then func()) {
	x.once.Do(func() {
		x.done = make(chan struct{})
		go func() {
			func() {
				defer close(x.done)
				defer func() {
					if p := recover(); p != nil {
						x.orig, x.err = original{}, fmt.Errorf("%w: fetching panicked: %v", resize.ErrFailed, p)
					}
				}()
				x.orig, x.err = get()
			}()
			then()
		}()
	})
}
