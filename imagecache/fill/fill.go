// Package fill makes what no tier holds: it is the only place where origin and resize meet.
//
// Fills of one original that run at the same time share its bytes and its decode: the first
// job makes its mezzanine (resize.Mezzanine) and whatever has to be made from the original
// itself, a second one all that is made from the mezzanine. The mezzanine is what is kept of
// a large original, so that Specs that are asked for later cost no fetch and no full decode.
package fill

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// ErrSource: the Ref names a source that is not configured.
var ErrSource = errors.New("no such source")

// Config of a Filler.
type Config struct {
	Sources map[string]origin.Source // by alias, wrapped against faults as package origin says
	Resizer resize.Resizer
	Limits  resize.Limits // zero fields: its defaults
	// Originals keeps what was fetched, or its mezzanine; nil: nothing does.
	Originals imagecache.Tier
	// Mezzanine is the long side, in pixels, of what a large original is kept as, 1 to
	// resize.MaxBox; 0: originals are kept as they are, and everything is made from them.
	// It decides the bytes of variants, so nodes of a fleet have the same.
	Mezzanine int
	// LiveTTL is the lifetime of a live original whose origin says nothing about it;
	// 0 is 24 h. It may be served stale for a day more while it is renewed, and for a
	// week when it cannot be.
	LiveTTL time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Filler makes Images. It implements imagecache.Filler.
type Filler struct {
	cfg   Config
	works works

	epochs  imagecache.Epochs
	purging purging
}

// New returns a Filler. It starts nothing.
func New(cfg Config) *Filler {
	if cfg.LiveTTL == 0 {
		cfg.LiveTTL = 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limits.MaxBytes == 0 {
		cfg.Limits.MaxBytes = resize.DefaultLimits().MaxBytes
	}
	return &Filler{cfg: cfg}
}

// original is what there is of one original, in memory: its bytes, as an Image whose ETag is
// the origin's own, or its mezzanine alone.
type original struct {
	imagecache.Image               // without Body where mezz is set
	header           resize.Header // of Body
	mezz             *mezzanine
	detail           imagecache.Detail
	status           int
}

// Fill makes the Image that ref names, as imagecache.Filler says. Of a live Ref the
// result is no fresher than its original.
func (f *Filler) Fill(ctx context.Context, ref imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
	src, ok := f.cfg.Sources[ref.Source()]
	if !ok {
		return imagecache.Filled{}, fmt.Errorf("%w: %s", ErrSource, ref.Source())
	}
	id := originalRef{source: ref.Source(), name: ref.Name(), version: ref.Version(), epoch: f.epochs.Of(imagecache.KeyOf(ref).Original())}
	if stale != nil {
		id.held = stale.Origin
	}
	o := &order{ctx: ctx, spec: ref.Spec(), stale: stale, done: make(chan struct{})}
	leave := f.works.order(id, o, func() *work { return newWork(f, src, ref, id, o) })
	defer leave()
	select {
	case <-o.done:
	case <-ctx.Done():
		return imagecache.Filled{}, context.Cause(ctx)
	}
	filled := imagecache.Filled{Detail: o.of.detail, Status: o.of.status}
	switch {
	case errors.Is(o.err, origin.ErrNotModified) && stale != nil:
		return f.stillHolds(o.err, stale)
	case o.err != nil:
		return filled, o.err
	case o.unchanged:
		filled.Image, filled.NotModified = *stale, true
		filled.Image.Fresh = o.of.Fresh
		return filled, nil
	}
	filled.Image = o.of.Image
	filled.Image.Body = o.made.Body
	if o.spec.Shape != resize.ShapeOriginal {
		filled.Image.ContentType = o.made.Format.ContentType()
	}
	filled.Image.ETag = etagOf(o.made.Body)
	return filled, nil
}

// unchanged reports whether the original is the one that stale was made from, and good
// again. Only a strong tag says so: two originals of one second have the same Last-Modified.
func unchanged(stale *imagecache.Image, orig original) bool {
	return stale != nil && strong(orig.Origin.ETag) && orig.Origin.ETag == stale.Origin.ETag
}

func strong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// stillHolds answers with what the cache had, as fresh as the origin's 304 made it
// (RFC 9111, 4.3.4).
func (f *Filler) stillHolds(err error, stale *imagecache.Image) (imagecache.Filled, error) {
	img := *stale
	fresh := origin.Freshness{Silent: true}
	var same *origin.NotModified
	if errors.As(err, &same) {
		fresh = same.Fresh
	}
	img.Fresh = f.freshness(fresh, f.cfg.Now())
	return imagecache.Filled{Image: img, Detail: imagecache.FromOrigin, Status: 304, NotModified: true}, nil
}

// etagOf returns a strong entity tag of the bytes: 128 bits of their SHA-256, so that
// equal bytes have equal tags on every node.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
