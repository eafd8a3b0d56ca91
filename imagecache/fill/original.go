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

// open returns the mezzanine if it is kept and fresh, else the original.
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
		m.of.Fresh = w.f.freshness(same.Fresh, now)
		w.f.keepMezzanine(w.ctx, w.ref, m, w.id.epoch)
		return m.original(imagecache.FromOriginal, 304), nil
	}
	return orig, err
}

// fetch returns the original, from where it is kept if it is fresh there, else from its
// source; a kept one that is stale is asked for on condition. If the source says that
// what the stale variant was made from still holds, the error is origin.ErrNotModified.
func (w *work) fetch() (original, error) {
	f, now := w.f, w.f.cfg.Now()
	kept, haveKept := f.kept(w.ctx, w.ref)
	if haveKept && (kept.Fresh.Pinned() || now.Before(kept.Fresh.Until)) {
		return kept, nil
	}
	held := imagecache.Image{Origin: w.id.held}
	cond, ofKept := condition(w.ref.Version(), kept.Image, haveKept, &held)
	orig, err := f.ask(w.ctx, w.src, w.ref, cond, now)
	var same *origin.NotModified
	if ofKept && errors.As(err, &same) {
		kept.Fresh, kept.status = f.freshness(same.Fresh, now), 304
		f.put(w.ctx, w.ref, kept.Image, w.id.epoch)
		return kept, nil
	}
	return orig, err
}

// ask fetches the original from its source.
func (f *Filler) ask(ctx context.Context, src origin.Source, ref imageurl.Ref, cond origin.Cond, now time.Time) (original, error) {
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
			LastModified: orElse(read.LastModified, now),
			Origin:       imagecache.Validator{ETag: read.ETag, LastModified: read.LastModified},
			Fresh:        f.freshnessOf(ref.Version(), read.Fresh, now),
		},
		header: header,
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
func (f *Filler) kept(ctx context.Context, ref imageurl.Ref) (original, bool) {
	key, err := originalKey(ref)
	if f.cfg.Originals == nil || err != nil || f.purging.has(key.Original()) {
		return original{}, false
	}
	img, err := f.cfg.Originals.Get(ctx, key)
	if err != nil {
		return original{}, false
	}
	header, err := resize.ReadHeader(img.Body)
	return original{Image: img, header: header, detail: imagecache.FromOriginal}, err == nil
}

// keptMezzanine returns the mezzanine that the originals' tier holds, nil if it holds none
// that is whole.
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

// keep stores an original that was fetched and has proved to decode, unless it has a
// mezzanine, which is kept in its stead. Of an orig Ref the Cache does it.
func (w *work) keep(orig original) {
	if orig.status != 200 || orig.mezz != nil || orig.header.HasMezzanine(w.f.cfg.Mezzanine) {
		return
	}
	w.mu.Lock()
	kept := w.kept
	w.kept = true
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

// store puts img into the originals' tier. A tier that cannot store costs a fetch later on,
// not this answer. What was fetched before a purge is not kept after it.
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

// originalKey is what the original of ref is kept under: the key of its orig URL.
func originalKey(ref imageurl.Ref) (imagecache.Key, error) {
	orig, err := ref.WithSpec(resize.Spec{Shape: resize.ShapeOriginal})
	return imagecache.KeyOf(orig), err
}

// check refuses what no child should see, and what its structure shows to be cut short.
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
