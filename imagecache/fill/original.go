package fill

import (
	"context"
	"errors"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// What a live original may be used for when its origin says nothing (CONTRACT 2).
const (
	silentWhileRevalidate = 24 * time.Hour
	silentIfError         = 7 * 24 * time.Hour
)

// fetch returns the original, from where it is kept if it is fresh there, else from its
// source; a kept one that is stale is asked for on condition. If the source says that
// what stale was made from still holds, the error is origin.ErrNotModified.
func (f *Filler) fetch(ctx context.Context, src origin.Source, ref imageurl.Ref, stale *imagecache.Image) (original, error) {
	now := f.cfg.Now()
	kept, haveKept := f.kept(ctx, ref)
	if haveKept && (kept.Fresh.Pinned() || now.Before(kept.Fresh.Until)) {
		return original{Image: kept, detail: imagecache.FromOriginal}, nil
	}
	cond, ofKept := condition(ref.Version(), kept, haveKept, stale)
	read, err := origin.ReadAll(ctx, src, ref.Name(), cond, f.cfg.Limits.MaxBytes)
	if ofKept {
		if renewed, ok := f.renew(err, kept, now); ok {
			return renewed, nil
		}
	}
	if err != nil {
		return original{}, err
	}
	if err := f.check(read.Body); err != nil {
		return original{status: 200}, err
	}
	return original{
		Image: imagecache.Image{
			Body:         read.Body,
			ContentType:  resize.KindOf(read.Body).ContentType(),
			LastModified: orElse(read.LastModified, now),
			Origin:       imagecache.Validator{ETag: read.ETag, LastModified: read.LastModified},
			Fresh:        f.freshnessOf(ref.Version(), read.Fresh, now),
		},
		detail: imagecache.FromOrigin,
		status: 200,
	}, nil
}

// condition pins what a pinned version promises; of a live one it asks whether what is
// held is still it: the kept original first, else what the stale variant was made from.
func condition(v imageurl.Version, kept imagecache.Image, haveKept bool, stale *imagecache.Image) (cond origin.Cond, ofKept bool) {
	switch v.Pin() {
	case imageurl.ETag:
		return origin.Cond{Match: v.Token()}, false
	case imageurl.VersionID:
		return origin.Cond{VersionID: v.Token()}, false
	case imageurl.Trusted:
		return origin.Cond{}, false
	}
	switch {
	case haveKept:
		return origin.Cond{NoneMatch: kept.Origin.ETag, ModifiedSince: kept.Origin.LastModified}, true
	case stale != nil:
		return origin.Cond{NoneMatch: stale.Origin.ETag, ModifiedSince: stale.Origin.LastModified}, false
	}
	return origin.Cond{}, false
}

// kept returns the original that the originals' tier holds. A tier that cannot read is
// as good as one that holds nothing.
func (f *Filler) kept(ctx context.Context, ref imageurl.Ref) (imagecache.Image, bool) {
	key, ok := f.originalKey(ref)
	if !ok {
		return imagecache.Image{}, false
	}
	img, err := f.cfg.Originals.Get(ctx, key)
	return img, err == nil
}

// keep stores an original that was fetched and has proved to decode. Of an orig Ref the
// Cache does it. A tier that cannot store costs a fetch later on, not this answer. What was
// fetched before a purge is not kept after it.
func (f *Filler) keep(ctx context.Context, ref imageurl.Ref, orig original, epoch uint64) {
	key, ok := f.originalKey(ref)
	if !ok || orig.status == 0 || orig.Fresh.NoStore || ref.Spec().Shape == resize.ShapeOriginal {
		return
	}
	done, ok := f.epochs.Store(key.Original(), epoch)
	if !ok {
		return
	}
	defer done()
	_ = f.cfg.Originals.Put(ctx, key, orig.Image)
}

// originalKey is what the original of ref is kept under: the key of its orig URL.
func (f *Filler) originalKey(ref imageurl.Ref) (imagecache.Key, bool) {
	if f.cfg.Originals == nil {
		return imagecache.Key{}, false
	}
	orig, err := imageurl.NewRef(ref.Source(), ref.Name(), ref.Version(), resize.Spec{Shape: resize.ShapeOriginal})
	return imagecache.KeyOf(orig), err == nil
}

// renew returns the kept original with the freshness of a 304.
func (f *Filler) renew(err error, kept imagecache.Image, now time.Time) (original, bool) {
	var same *origin.NotModified
	if !errors.As(err, &same) {
		return original{}, false
	}
	kept.Fresh = f.freshness(same.Fresh, now)
	return original{Image: kept, detail: imagecache.FromOriginal, status: 304}, true
}

// check refuses what no child should see, and what its structure shows to be cut short.
func (f *Filler) check(body []byte) error {
	header, err := resize.ReadHeader(body)
	if err != nil {
		return err
	}
	if err := f.cfg.Limits.Check(header, len(body)); err != nil {
		return err
	}
	return resize.CheckComplete(body, header)
}

func (f *Filler) freshnessOf(v imageurl.Version, said origin.Freshness, now time.Time) imagecache.Freshness {
	if v.Pin() != imageurl.Live {
		return imagecache.Freshness{}
	}
	return f.freshness(said, now)
}

// freshness puts an origin's word into absolute times, counted from before it was asked.
func (f *Filler) freshness(said origin.Freshness, now time.Time) imagecache.Freshness {
	if said.Silent {
		return imagecache.Freshness{
			Generated: now, Until: now.Add(f.cfg.LiveTTL),
			StaleWhileRevalidate: silentWhileRevalidate, StaleIfError: silentIfError,
		}
	}
	generated := now.Add(-said.Age)
	return imagecache.Freshness{
		Generated:            generated,
		Until:                generated.Add(said.Lifetime),
		StaleWhileRevalidate: said.StaleWhileRevalidate,
		StaleIfError:         said.StaleIfError,
		MustRevalidate:       said.MustRevalidate,
		NoStore:              said.NoStore,
	}
}

func orElse(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}
