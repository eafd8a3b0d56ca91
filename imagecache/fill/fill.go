// Package fill fetches originals and makes variants of them: it connects origin and resize.
// The path of a request is Filler.Fill, then work.go and make.go.
//
// Concurrent fills of one original share its bytes and its decode, and each is answered when its
// variant is encoded. After the answers either the original is stored for later Specs or, if they
// are likely enough (history.go) and no other job waits, a mezzanine (resize.Mezzanine) is made
// from the same decode and stored instead: later Specs need neither a fetch nor a full decode
// then. So the bytes of a variant depend on what was stored when it was made.
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
	"github.com/novasocial/imagetier/internal/inflight"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// ErrSource means that the Ref names a source that is not configured.
var ErrSource = errors.New("no such source")

// Config configures a Filler.
type Config struct {
	Sources map[string]origin.Source // by alias, with the wrappers of package origin
	// Digests has the sources, by alias, whose entity tags are digests of the bytes as
	// dirorigin makes them: stored originals of these are verified before they are used.
	Digests map[string]bool
	Resizer resize.Resizer
	Limits  resize.Limits // zero fields have the default limits
	// Originals stores fetched originals or their mezzanines. If nil, they are not stored.
	Originals imagecache.Tier
	// Mezzanine is the long side of the mezzanine of a large original in pixels, 1 to
	// resize.MaxBox. 0 disables mezzanines: originals are stored as they are.
	Mezzanine int
	// Mezzanines, if not nil, is called with each event of a mezzanine (MezzanineMade and so on)
	// and how many variants it concerns.
	Mezzanines func(event string, n int)
	// EarlyJobs, if not nil, is called with the event that ends each job that was begun while its original arrived
	// (EarlyMade and so on).
	EarlyJobs func(event string)
	// LiveTTL is the lifetime of a live original if the origin sets none. After that it may
	// be served stale for a day while it is revalidated. 0 means that it is always
	// revalidated first.
	LiveTTL time.Duration
	// StaleIfError is how long such an original may be served stale while the origin fails.
	StaleIfError time.Duration
	// InFlight bounds the bytes of originals in memory. If nil, they are not bounded.
	InFlight *inflight.Budget
	// Now is the clock. If nil, time.Now is used.
	Now func() time.Time
}

// Filler makes Images. It implements imagecache.Filler.
type Filler struct {
	cfg     Config
	works   workTable
	history history

	unsteady unsteady

	epochs  imagecache.Epochs
	purging purging
}

// New returns a Filler.
func New(cfg Config) *Filler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Limits.MaxBytes == 0 {
		cfg.Limits.MaxBytes = resize.DefaultLimits().MaxBytes
	}
	return &Filler{cfg: cfg}
}

// original is an original in memory: its bytes and metadata, or only its mezzanine.
type original struct {
	imagecache.Image               // without Body where mezz is set
	header           resize.Header // of Body
	mezz             *mezzanine
	detail           imagecache.Detail
	status           int
}

// Fill implements imagecache.Filler. The Image of a live Ref is no fresher than its original.
func (f *Filler) Fill(ctx context.Context, ref imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
	src, ok := f.cfg.Sources[ref.Source()]
	if !ok {
		return imagecache.Filled{}, fmt.Errorf("%w: %s", ErrSource, ref.Source())
	}
	id := originalRef{
		source: ref.Source(), name: ref.Name(), version: ref.Version(),
		epoch: f.epochs.Of(imagecache.KeyOf(ref).Original()),
	}
	if stale != nil {
		id.held = stale.Origin
	}
	r := &request{ctx: ctx, spec: ref.Spec(), stale: stale, done: make(chan struct{})}
	leave := f.works.add(id, r, func() *work { return newWork(f, src, ref, id, r) })
	defer leave()
	select {
	case <-r.done:
	case <-ctx.Done():
		return imagecache.Filled{}, context.Cause(ctx)
	}
	filled := imagecache.Filled{Detail: r.of.detail, Status: r.of.status}
	if r.late {
		filled.Detail, filled.Status = imagecache.FromOriginal, 0
	}
	switch {
	case errors.Is(r.err, origin.ErrNotModified) && stale != nil:
		return f.revalidated(r.err, stale)
	case r.err != nil:
		return filled, r.err
	case r.unchanged:
		filled.Image, filled.NotModified = *stale, true
		filled.Image.Fresh = r.of.Fresh
		return filled, nil
	}
	filled.Image = r.of.Image
	filled.Image.Body = r.made.Body
	if r.spec.Shape != resize.ShapeOriginal {
		filled.Image.ContentType = r.made.Format.ContentType()
	}
	if r.spec.Shape != resize.ShapeOriginal || filled.Image.ETag == "" {
		filled.Image.ETag = etagOf(r.made.Body)
	}
	return filled, nil
}

// unchanged reports whether stale was made from this original. Only a strong tag proves it:
// two originals of the same second have the same Last-Modified.
func unchanged(stale *imagecache.Image, orig original) bool {
	return stale != nil && strong(orig.Origin.ETag) && orig.Origin.ETag == stale.Origin.ETag
}

func strong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// revalidated returns stale with the freshness of the origin's 304.
func (f *Filler) revalidated(err error, stale *imagecache.Image) (imagecache.Filled, error) {
	img := *stale
	same := &origin.NotModified{Fresh: origin.Freshness{Silent: true}}
	errors.As(err, &same)
	img.Fresh = f.renewed(img.Fresh, same, f.cfg.Now())
	return imagecache.Filled{Image: img, Detail: imagecache.FromOrigin, Status: 304, NotModified: true}, nil
}

// etagOf returns a strong entity tag of the bytes: 128 bits of their SHA-256, so that equal
// bytes have equal tags on every node.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
