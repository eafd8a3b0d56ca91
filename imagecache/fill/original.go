package fill

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/imagecache/imageurl"
	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/resize"
)

// silentWhileRevalidate is how long a live original may be served stale while it is
// revalidated if its origin sets neither a lifetime nor stale-while-revalidate.
const silentWhileRevalidate = 24 * time.Hour

// open returns the stored mezzanine if it is fresh, else the original.
func (w *work) open() (original, error) {
	now := w.f.cfg.Now()
	m := w.f.keptMezzanine(w.ctx, w.ref)
	switch {
	case m == nil:
		return w.fetch()
	case m.of.Fresh.Pinned() || now.Before(m.of.Fresh.Until):
		return m.original(imagecache.FromOriginal, 0), nil
	}
	cond, ofKept := condition(w.ref.Version(), m.of, true, nil)
	orig, err := w.f.ask(w.ctx, w.src, w.ref, cond, now)
	var same *origin.NotModified
	if ofKept && errors.As(err, &same) {
		m.of.Fresh = w.f.renewed(m.of.Fresh, same, now)
		w.f.keepMezzanine(w.ctx, w.ref, m, w.id.epoch)
		return m.original(imagecache.FromOriginal, 304), nil
	}
	return orig, err
}

// fetch returns the original, from the originals' tier if it is fresh there, else from its
// source. A stored one that is stale is revalidated. If instead the source confirms the
// original of the stale variant, the error is origin.ErrNotModified.
func (w *work) fetch() (original, error) {
	f, now := w.f, w.f.cfg.Now()
	kept, haveKept := f.kept(w.ctx, w.ref)
	if haveKept && (kept.Fresh.Pinned() || now.Before(kept.Fresh.Until)) {
		return kept, nil
	}
	held := imagecache.Image{Origin: w.id.held}
	cond, ofKept := condition(w.ref.Version(), kept.Image, haveKept, &held)
	orig, err := f.ask(origin.WithArrival(w.ctx, &w.overlap), w.src, w.ref, cond, now)
	var same *origin.NotModified
	if ofKept && errors.As(err, &same) {
		kept.Fresh, kept.status = f.renewed(kept.Fresh, same, now), 304
		f.put(w.ctx, w.ref, kept.Image, w.id.epoch)
		return kept, nil
	}
	return orig, err
}

// ask fetches the original from its source.
func (f *Filler) ask(
	ctx context.Context, src origin.Source, ref imageurl.Ref, cond origin.Cond, now time.Time,
) (original, error) {
	read, err := origin.ReadAll(ctx, src, ref.Name(), cond, f.cfg.Limits.MaxBytes)
	if err != nil {
		return original{}, err
	}
	header, err := f.check(read.Body)
	if err != nil {
		return original{status: 200}, err
	}
	return original{
		Image: imagecache.Image{
			Body:         read.Body,
			ContentType:  resize.KindOf(read.Body).ContentType(),
			ETag:         tagOf(read),
			LastModified: orElse(read.LastModified, now),
			Origin:       imagecache.Validator{ETag: read.ETag, LastModified: read.LastModified},
			Fresh:        f.freshnessOf(ref.Version(), read.Metadata, now),
		},
		header: header,
		detail: imagecache.FromOrigin,
		status: 200,
	}, nil
}

// condition pins a pinned version, and revalidates a live one: the stored original if there
// is one (ofKept is true then), else the original of the stale variant.
func condition(
	v imageurl.Version, kept imagecache.Image, haveKept bool, stale *imagecache.Image,
) (cond origin.Cond, ofKept bool) {
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

// kept returns the original from the originals' tier. An error of the tier counts as a miss,
// and so do bytes that are not those of their digest.
func (f *Filler) kept(ctx context.Context, ref imageurl.Ref) (original, bool) {
	key, err := originalKey(ref)
	if f.cfg.Originals == nil || err != nil || f.purging.has(key.Original()) {
		return original{}, false
	}
	img, err := f.cfg.Originals.Get(ctx, key)
	if err != nil || f.cfg.Digests[ref.Source()] && img.Origin.ETag != etagOf(img.Body) {
		return original{}, false
	}
	header, err := resize.ReadHeader(img.Body)
	return original{Image: img, header: header, detail: imagecache.FromOriginal}, err == nil
}

// keptMezzanine returns the mezzanine from the originals' tier, or nil if it is not there or
// damaged.
func (f *Filler) keptMezzanine(ctx context.Context, ref imageurl.Ref) *mezzanine {
	if f.cfg.Mezzanine == 0 || f.cfg.Originals == nil {
		return nil
	}
	key, err := imagecache.MezzanineKey(ref, f.cfg.Mezzanine)
	if err != nil || f.purging.has(key.Original()) {
		return nil
	}
	img, err := f.cfg.Originals.Get(ctx, key)
	if err != nil {
		return nil
	}
	m, err := parseMezzanine(img)
	if err != nil {
		return nil
	}
	return m
}

// keep stores an original that was fetched and that could be decoded, unless its mezzanine is stored
// instead.
func (w *work) keep(orig original) {
	if orig.status != 200 || orig.mezz != nil {
		return
	}
	w.mu.Lock()
	kept := w.kept || w.mezz != nil && (w.mezz.made || w.mezz.isOf(orig))
	w.kept = w.kept || !kept
	w.mu.Unlock()
	if !kept {
		w.f.put(w.ctx, w.ref, orig.Image, w.id.epoch)
	}
}

func (f *Filler) put(ctx context.Context, ref imageurl.Ref, orig imagecache.Image, epoch uint64) {
	if key, err := originalKey(ref); err == nil {
		f.store(ctx, key, orig, epoch)
	}
}

func (f *Filler) keepMezzanine(ctx context.Context, ref imageurl.Ref, m *mezzanine, epoch uint64) {
	if key, err := imagecache.MezzanineKey(ref, f.cfg.Mezzanine); err == nil {
		f.store(ctx, key, m.image(), epoch)
	}
}

// store puts img into the originals' tier. Errors of the tier are ignored: the cost is a
// later fetch. An original that was fetched before a purge is not stored after it.
func (f *Filler) store(ctx context.Context, key imagecache.Key, img imagecache.Image, epoch uint64) {
	if f.cfg.Originals == nil || img.Fresh.NoStore {
		return
	}
	done, ok := f.epochs.Store(key.Original(), epoch)
	if !ok {
		return
	}
	defer done()
	if !f.purging.has(key.Original()) {
		_ = f.cfg.Originals.Put(context.WithoutCancel(ctx), key, img)
	}
}

// originalKey returns the key of ref's original: that of its orig URL.
func originalKey(ref imageurl.Ref) (imagecache.Key, error) {
	orig, err := ref.WithSpec(resize.Spec{Shape: resize.ShapeOriginal})
	return imagecache.KeyOf(orig), err
}

// check refuses originals that are over the limits or truncated before a decoder sees them.
func (f *Filler) check(body []byte) (resize.Header, error) {
	header, err := resize.ReadHeader(body)
	if err == nil {
		err = f.cfg.Limits.Check(header, len(body))
	}
	if err == nil {
		err = resize.CheckComplete(body, header)
	}
	return header, err
}

// tagOf returns the tag with which the original itself is served: that of its origin if it
// is strong, and of the bytes as they are.
func tagOf(o origin.Original) string {
	if strong(o.ETag) && !o.Decoded {
		return o.ETag
	}
	return etagOf(o.Body)
}

func (f *Filler) freshnessOf(v imageurl.Version, m origin.Metadata, now time.Time) imagecache.Freshness {
	if v.Pin() != imageurl.Live {
		return imagecache.Freshness{}
	}
	return f.freshness(m.Fresh, m.Date, now)
}

// freshness converts an origin's Freshness to absolute times. now is when the request was
// sent, for origins that do not say when they answered, and date the Date of the answer.
func (f *Filler) freshness(fresh origin.Freshness, date, now time.Time) imagecache.Freshness {
	if fresh.Silent {
		fresh.Lifetime, fresh.StaleIfError = f.cfg.LiveTTL, cmp.Or(fresh.StaleIfError, f.cfg.StaleIfError)
		fresh.StaleWhileRevalidate = cmp.Or(fresh.StaleWhileRevalidate, silentWhileRevalidate)
		if f.cfg.LiveTTL == 0 {
			fresh.StaleWhileRevalidate = 0
		}
	}
	generated := orElse(fresh.Received, now).Add(-fresh.Age)
	return imagecache.Freshness{
		Generated:            generated,
		Date:                 date,
		Until:                generated.Add(fresh.Lifetime),
		StaleWhileRevalidate: fresh.StaleWhileRevalidate,
		StaleIfError:         fresh.StaleIfError,
		MustRevalidate:       fresh.MustRevalidate,
		NoStore:              fresh.NoStore,
	}
}

// renewed returns the freshness of something stored after a 304. If the 304 states no
// lifetime, all that was stored of it holds again, from its arrival less the Age of the 304
// (RFC 9111, 4.3.4).
func (f *Filler) renewed(stored imagecache.Freshness, same *origin.NotModified, now time.Time) imagecache.Freshness {
	if !same.Fresh.Silent || stored.Pinned() {
		return f.freshness(same.Fresh, same.Date, now)
	}
	generated := orElse(same.Fresh.Received, now).Add(-same.Fresh.Age)
	stored.Until = generated.Add(stored.Until.Sub(stored.Generated))
	stored.Generated, stored.Date = generated, same.Date
	return stored
}

func orElse(t, other time.Time) time.Time {
	if t.IsZero() {
		return other
	}
	return t
}
