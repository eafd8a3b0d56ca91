package imagecache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// A Filler makes Images that no tier holds. Package fill implements it.
type Filler interface {
	// Fill makes the Image that ref names. stale is nil, or the stored Image that
	// may no longer be served: then Fill may find that it still holds, and return it with
	// new freshness and NotModified set. The error wraps a sentinel of origin or resize.
	Fill(ctx context.Context, ref imageurl.Ref, stale *Image) (Filled, error)
	// Purge removes kept originals and returns which: every Fill that begins later asks the origin.
	// Running fills may still use the originals that they have.
	Purge(ctx context.Context, of Original) (Removed, error)
}

// Filled is what a Filler made.
type Filled struct {
	Image       Image
	Detail      Detail // FromOrigin or FromOriginal
	Status      int    // status of the origin's answer, 0 if it was not asked
	NotModified bool   // Image is that of stale, with new freshness
}

// Layer is one tier of a Cache and the name of its hits.
type Layer struct {
	Tier Tier
	Name Detail
	// Far is a tier over a network: it is read within a flight, once for all its callers, and
	// its images are copied into the faster tiers at once.
	Far bool
}

// Config configures a Cache.
type Config struct {
	Layers []Layer // fastest first
	// Originals keeps Images of ShapeOriginal. If it is nil, they are not kept.
	Originals Tier
	// InFlight bounds the bytes of originals that are read from Originals to be sent. If nil,
	// they are not bounded.
	InFlight *inflight.Budget
	Filler   Filler
	// FillTimeout bounds one fill from start to end, waiting included; 0 is 20 s.
	FillTimeout time.Duration
	// StaleIfError is how long a live Image is served after its freshness has ended while its
	// origin fails, if the origin neither states that (RFC 5861) nor forbids it; 0 disables it.
	StaleIfError time.Duration
	// NegativeTTL is how long a refusal (no such original, a broken one) is remembered; 0 disables
	// that.
	NegativeTTL time.Duration
	// TakenDown reports whether an original was taken down: Get then returns ErrTakenDown and
	// makes nothing. It is called for every Get. If it is nil, no original is taken down.
	TakenDown func(Original) bool
	// Watermarks are the configured watermarks; nil means none.
	Watermarks *Watermarks
	// Observe is called at the start of each Get, which uses the context that it returns and calls
	// done with its result. It may be nil.
	Observe func(ctx context.Context, ref imageurl.Ref) (_ context.Context, done func(Image, Outcome, error))
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Log receives faults that no caller sees: those of a tier, and panics of a fill. If nil,
	// slog's default is used.
	Log *slog.Logger
}

// Cache serves Images from its tiers, fastest first, and makes each missing one only once for any
// number of concurrent callers.
type Cache struct {
	layers    []Layer
	originals []Layer
	sending   originals
	filler    Filler
	timeout   time.Duration
	onError   time.Duration // Config.StaleIfError
	takenDown func(Original) bool
	marks     *Watermarks
	observe   func(context.Context, imageurl.Ref) (context.Context, func(Image, Outcome, error))
	now       func() time.Time
	log       *slog.Logger
	epochs    Epochs
	flights   flights
	negatives negatives
	softs     softs
	door      doorkeeper
	copying   sync.Mutex // held while an image is copied to a faster tier
}

// New returns a Cache. It starts nothing: fills run on goroutines that end by themselves,
// FillTimeout after they began at the latest.
func New(cfg Config) *Cache {
	c := &Cache{
		layers:  cfg.Layers,
		sending: originals{budget: cfg.InFlight},
		filler:  cfg.Filler,
		timeout: cfg.FillTimeout,
		onError: cfg.StaleIfError,

		takenDown: cfg.TakenDown,
		marks:     cfg.Watermarks,
		observe:   cfg.Observe,
		now:       cfg.Now,
		log:       cfg.Log,
	}
	if c.takenDown == nil {
		c.takenDown = func(Original) bool { return false }
	}
	if cfg.Originals != nil {
		c.originals = []Layer{{Tier: cfg.Originals, Name: Disk}}
	}
	if c.timeout == 0 {
		c.timeout = 20 * time.Second
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	c.negatives.ttl = cfg.NegativeTTL
	return c
}

// Get returns the image that ref names, making it if no tier holds it. ref is a variant,
// an original or info; its Spec is of a concrete format (resize.Spec.Resolve).
//
// The error wraps a sentinel of origin or resize, or ctx's error if the caller left
// first; Outcome is valid with an error too.
func (c *Cache) Get(ctx context.Context, ref imageurl.Ref) (Image, Outcome, error) {
	if c.observe == nil {
		return c.get(ctx, ref)
	}
	ctx, done := c.observe(ctx, ref)
	img, out, err := c.get(ctx, ref)
	done(img, out, err)
	return img, out, err
}

func (c *Cache) get(ctx context.Context, ref imageurl.Ref) (Image, Outcome, error) {
	key := c.marked(KeyOf(ref))
	if c.takenDown(key.original) {
		return Image{}, Outcome{}, ErrTakenDown
	}
	held, at, err := c.lookup(ctx, ref, key, false)
	if errors.Is(err, inflight.ErrFull) {
		return Image{}, Outcome{}, fmt.Errorf("read %s: %w", key.path, err)
	}
	if err != nil {
		if refused, ok := c.refusal(key); ok {
			return Image{}, Outcome{Detail: Negative, TTL: refused.left}, refused.err
		}
		return c.fill(ctx, ref, key, nil, None)
	}
	left, state := PinnedTTL, fresh
	if !held.Fresh.Pinned() {
		left, state = held.Fresh.at(c.now())
	}
	stored := held.Fresh
	if since, soft := c.softs.stale(key); soft && state == fresh {
		if left, state = since.Sub(c.now()), staleUsable; held.Fresh.MustRevalidate {
			state = staleUnusable
		}
		if !held.Fresh.Pinned() {
			held.Fresh.Until = since // so that caches in front do not keep it either
		}
	}
	if state == fresh {
		return held, Outcome{Detail: at, TTL: left}, nil
	}
	held.Buffer = nil // a fill may share the body
	// A remembered refusal is answered like one of a fill.
	stale := held
	stale.Fresh = stored
	refused, remembered := c.refusal(key)
	if state == staleUsable && (!remembered || isFault(refused.err)) {
		if !remembered {
			c.refresh(ctx, ref, key, &stale, at)
		}
		return held, Outcome{Detail: Stale, TTL: left}, nil
	}
	img, out, err := Image{}, Outcome{Detail: Negative, TTL: refused.left}, refused.err
	if !remembered {
		img, out, err = c.fill(ctx, ref, key, &stale, at)
	}
	if err != nil && isFault(err) && held.Fresh.usableOnError(c.now(), c.onError) {
		return held, Outcome{Detail: Stale, TTL: left, Status: out.Status}, nil
	}
	return img, out, err
}

// refusal returns the remembered refusal of key, if any.
func (c *Cache) refusal(key Key) (negative, bool) {
	return c.negatives.get(key, c.epochs.Of(key.original), c.now())
}

// lookup asks the tiers in turn. A hit in a slower tier is copied into the faster ones at its
// eighth read: cold images would evict hot ones, and a copy costs as much as several reads
// from the page cache. The caller does not wait for the copy; reads beside one are not counted.
// Far tiers are asked only if far is set. The error is ErrMiss, or wraps
// inflight.ErrFull for an original that has no room in memory.
func (c *Cache) lookup(ctx context.Context, ref imageurl.Ref, key Key, far bool) (Image, Detail, error) {
	layers := c.layersOf(ref)
	epoch := c.epochs.Of(key.original)
	for i, layer := range layers {
		if layer.Far && !far {
			continue
		}
		var img Image
		var err error
		if ref.Spec().Shape == resize.ShapeOriginal {
			img, err = c.sending.get(ctx, layer.Tier, key, epoch)
		} else {
			img, err = layer.Tier.Get(ctx, key)
		}
		if errors.Is(err, inflight.ErrFull) {
			return Image{}, None, err
		}
		if err == nil {
			switch {
			case i > 0 && layer.Far:
				c.storeIn(ctx, layers[:i], key, img, epoch)
			case i > 0 && c.copying.TryLock():
				if !c.door.letsIn(key) {
					c.copying.Unlock()
					break
				}
				img.Buffer = nil // read by the copy
				go func() {
					defer c.copying.Unlock()
					c.storeIn(context.WithoutCancel(ctx), layers[:i], key, img, epoch)
				}()
			}
			return img, layer.Name, nil
		}
		if err != ErrMiss && ctx.Err() == nil {
			c.log.Warn("tier read failed", "tier", layer.Name.String(), "key", key.path, "err", err)
		}
	}
	return Image{}, None, ErrMiss
}

// Originals are large and rarely requested, so they stay out of the variants' tiers.
func (c *Cache) layersOf(ref imageurl.Ref) []Layer {
	if ref.Spec().Shape == resize.ShapeOriginal {
		return c.originals
	}
	return c.layers
}

// storeIn keeps img in the layers unless a purge of its original has begun since epoch, or its
// watermark has been replaced.
// It reports whether at least one tier took it.
func (c *Cache) storeIn(ctx context.Context, layers []Layer, key Key, img Image, epoch uint64) bool {
	done, ok := c.epochs.Store(key.original, epoch)
	if !ok {
		return false
	}
	defer done()
	if !c.current(key) {
		return false
	}
	stored := false
	for _, layer := range layers {
		if err := layer.Tier.Put(ctx, key, img); err != nil {
			c.log.Warn("tier write failed", "tier", layer.Name.String(), "key", key.path, "err", err)
			continue
		}
		stored = true
	}
	return stored
}

// fill joins the running flight of key, or starts one, and waits for it or for ctx.
func (c *Cache) fill(ctx context.Context, ref imageurl.Ref, key Key, stale *Image, at Detail) (Image, Outcome, error) {
	f, joined := c.takeOff(ctx, ref, key, stale, at)
	if joined {
		defer resize.OnRaise(ctx, f.raise)() // when that of this caller is raised
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		c.flights.leave(f)
		out := Outcome{Detail: None, Forward: URIMiss, Collapsed: joined}
		return Image{}, out, fmt.Errorf("wait for %s: %w", key.path, ctx.Err())
	}
	out := f.out
	if joined {
		out.Collapsed, out.Stored = true, false
	}
	tooLow := errors.Is(f.err, resize.ErrBusy) || errors.Is(f.err, errFillTimeout)
	if tooLow && f.priority > resize.FirstPriorityOf(ctx) {
		return c.fill(ctx, ref, key, stale, at) // there may be room, or time, for this caller
	}
	if c.takenDown(key.original) { // taken down while this caller waited
		return Image{}, out, ErrTakenDown
	}
	img := f.img
	img.Buffer = nil // all callers share the body
	return img, out, f.err
}

// refresh renews a stale image in the background, once however many ask.
func (c *Cache) refresh(ctx context.Context, ref imageurl.Ref, key Key, stale *Image, at Detail) {
	// The flight counts this call as a waiter that never leaves.
	c.takeOff(ctx, ref, key, stale, at)
}

func (c *Cache) takeOff(
	ctx context.Context,
	ref imageurl.Ref,
	key Key,
	stale *Image,
	at Detail,
) (f *flight, joined bool) {
	epoch := c.epochs.Of(key.original)
	return c.flights.join(ctx, key, epoch, c.timeout, func(ctx context.Context, f *flight) {
		f.img, f.out, f.err = c.run(ctx, ref, key, stale, at, epoch)
	})
}

// run is one flight: look again, make, store.
func (c *Cache) run(
	ctx context.Context, ref imageurl.Ref, key Key, stale *Image, at Detail, epoch uint64,
) (img Image, out Outcome, err error) {
	out = Outcome{Detail: FromOrigin, Forward: URIMiss}
	marks := c.marks.version()
	if stale != nil {
		out.Forward = FwdStale
	}
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("fill panicked", "key", key.path, "panic", p, "stack", stack())
			img, err = Image{}, fmt.Errorf("fill %s: %w", key.path, resize.ErrFailed)
		}
	}()

	// Another flight of this key may have ended between the caller's look and this one.
	if held, name, err := c.lookup(ctx, ref, key, true); err == nil {
		_, soft := c.softs.stale(key)
		if left, state := held.Fresh.at(c.now()); state == fresh && !soft {
			return held, Outcome{Detail: name, TTL: left}, nil
		}
	}
	filled, err := c.filler.Fill(ctx, ref, stale)
	out.Status = filled.Status
	if err != nil {
		if isRefusal(err) {
			if stale != nil && !isFault(err) {
				epoch += c.removeStale(ctx, ref, key)
			}
			c.negatives.put(key, epoch, err, c.now())
		}
		return Image{}, out, fmt.Errorf("fill %s: %w", key.path, err)
	}
	out.Detail = filled.Detail
	if filled.NotModified {
		out.Detail = at
	}
	switch left, _ := filled.Image.Fresh.at(c.now()); {
	case !filled.Image.Fresh.NoStore:
		c.sending.share(key, epoch, filled.Image)
		out.TTL = left
		if watermarkOf(key) != "" && (!c.current(key) || marks != c.marks.version()) {
			break
		}
		if out.Stored = c.storeIn(context.WithoutCancel(ctx), c.layersOf(ref), key, filled.Image, epoch); out.Stored {
			c.softs.renew(key, epoch)
		}
	case stale != nil:
		c.removeStale(ctx, ref, key)
	}
	return filled.Image, out, nil
}

// removeStale removes a stored image that would otherwise be served stale again. A copy to a faster
// tier must not bring it back, so the epoch moves; the number of its moves is returned.
func (c *Cache) removeStale(ctx context.Context, ref imageurl.Ref, key Key) (moves uint64) {
	layers := c.layersOf(ref)
	target := Target{Key: key, Original: key.original}
	if _, err := c.purge(context.WithoutCancel(ctx), target, layers); err != nil {
		c.log.Warn("removal of a stale image failed", "key", key.path, "err", err)
	}
	return uint64(len(layers)) + 1 // before each layer, and behind the last one
}

// isRefusal reports whether err says something lasting about the original. ErrDenied does unless it
// is about the credentials, which affect all originals.
func isRefusal(err error) bool {
	for _, credentials := range []error{
		origin.ErrNoCredentials, origin.ErrExpired, origin.ErrCredentials, origin.ErrClock,
	} {
		if errors.Is(err, credentials) {
			return false
		}
	}
	for _, refusal := range []error{
		origin.ErrNotFound, origin.ErrChanged, origin.ErrTooLarge, origin.ErrDenied, origin.ErrRejected,
		resize.ErrCorrupt, resize.ErrUnsupported, resize.ErrTooLarge, resize.ErrSpec,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// isFault reports whether a stale image may be served instead of err (RFC 5861, 4): for every
// error but those that say that the original is gone or has changed, and a client that left.
func isFault(err error) bool {
	for _, no := range []error{origin.ErrNotFound, origin.ErrChanged, origin.ErrTooLarge,
		resize.ErrTooLarge, resize.ErrSpec, context.Canceled} {
		if errors.Is(err, no) {
			return false
		}
	}
	return true
}
