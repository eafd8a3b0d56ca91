// Package fill makes what no tier holds: it is the only place where origin and resize
// meet. Fills of one original that run at the same time share its bytes.
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
	// Originals keeps what was fetched; nil: nothing does.
	Originals imagecache.Tier
	// LiveTTL is the lifetime of a live original whose origin says nothing about it;
	// 0 is 24 h. It may be served stale for a day more while it is renewed, and for a
	// week when it cannot be.
	LiveTTL time.Duration
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Filler makes Images. It implements imagecache.Filler.
type Filler struct {
	cfg    Config
	shared shared
	epochs imagecache.Epochs
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

// original is one original in memory, as an Image whose ETag is the origin's own.
type original struct {
	imagecache.Image
	detail imagecache.Detail
	status int
}

// Fill makes the Image that ref names, as imagecache.Filler says. Of a live Ref the
// result is no fresher than its original.
func (f *Filler) Fill(ctx context.Context, ref imageurl.Ref, stale *imagecache.Image) (imagecache.Filled, error) {
	src, ok := f.cfg.Sources[ref.Source()]
	if !ok {
		return imagecache.Filled{}, fmt.Errorf("%w: %s", ErrSource, ref.Source())
	}
	spec := ref.Spec()
	epoch := f.epochs.Of(imagecache.KeyOf(ref).Original())
	id := originalRef{source: ref.Source(), name: ref.Name(), version: ref.Version()}
	if stale != nil {
		id.held = stale.Origin
	}
	orig, release, err := f.shared.get(ctx, id, func(ctx context.Context) (original, error) {
		return f.fetch(ctx, src, ref, stale)
	})
	filled := imagecache.Filled{Detail: orig.detail, Status: orig.status}
	if errors.Is(err, origin.ErrNotModified) && stale != nil {
		return f.stillHolds(err, stale)
	}
	if err != nil {
		return filled, err
	}
	defer release()
	if stale != nil && strong(orig.Origin.ETag) && orig.Origin.ETag == stale.Origin.ETag {
		// The original is the one that stale was made from, and good again. Only a strong
		// tag says so: two originals of one second have the same Last-Modified.
		f.keep(ctx, ref, orig, epoch)
		filled.Image, filled.NotModified = *stale, true
		filled.Image.Fresh = orig.Fresh
		return filled, nil
	}

	if spec.Shape == resize.ShapeOriginal {
		filled.Image, err = f.wholeOriginal(ctx, orig)
	} else {
		filled.Image, err = f.variant(ctx, orig, spec)
	}
	if err == nil {
		f.keep(ctx, ref, orig, epoch)
	}
	return filled, err
}

func strong(etag string) bool { return etag != "" && !strings.HasPrefix(etag, "W/") }

// Purge forgets the original in every version; fills that begin later fetch it again.
func (f *Filler) Purge(ctx context.Context, of imagecache.Original) (imagecache.Removed, error) {
	// In this order: a fill of the new epoch finds nothing that was fetched before it.
	f.shared.forget(of)
	f.epochs.Move(of)
	if f.cfg.Originals == nil {
		return imagecache.Removed{}, nil
	}
	return f.cfg.Originals.Purge(ctx, imagecache.Target{Original: of})
}

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

func (f *Filler) variant(ctx context.Context, orig original, spec resize.Spec) (imagecache.Image, error) {
	header, err := resize.ReadHeader(orig.Body)
	if err != nil {
		return imagecache.Image{}, err
	}
	if err := f.cfg.Limits.CheckVariant(header, spec); err != nil {
		return imagecache.Image{}, err
	}
	made, err := f.cfg.Resizer.Resize(ctx, orig.Body, spec)
	if err != nil {
		return imagecache.Image{}, err
	}
	img := orig.Image
	img.Body, img.ContentType = made[0].Body, made[0].Format.ContentType()
	img.ETag = etagOf(img.Body)
	return img, nil
}

// wholeOriginal lets an original pass that a decoder has seen whole. The smallest
// variant costs the least that proves it.
func (f *Filler) wholeOriginal(ctx context.Context, orig original) (imagecache.Image, error) {
	if orig.detail == imagecache.FromOrigin {
		if _, err := f.cfg.Resizer.Resize(ctx, orig.Body, resize.Spec{Width: 16, Height: 16, Format: resize.JPEG}); err != nil {
			return imagecache.Image{}, err
		}
	}
	img := orig.Image
	img.ETag = etagOf(img.Body)
	return img, nil
}

// etagOf returns a strong entity tag of the bytes: 128 bits of their SHA-256, so that
// equal bytes have equal tags on every node.
func etagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
