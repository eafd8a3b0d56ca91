package fill

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/resize"
)

// mezzanine is a reduced JPEG of a large original, from which smaller variants are made, and
// the original's info.
type mezzanine struct {
	jpeg          []byte
	info          []byte // JSON of a resize.Info
	width, height int    // of the upright original, in pixels
	header        resize.Header
	of            imagecache.Image // the original's Image, without its Body
	made          bool             // made by this work, so it matches its original
}

// A mezzanine is stored as
//
//	1  version, now 1
//	4  CRC32C of everything after it, little-endian
//	4  length of the info, little-endian
//	   info, JPEG
//
// The disk tier has its own checksums; this one protects it in any tier, since a variant
// made from damaged bytes would be served for a year.
const (
	mezzanineVersion = 1
	mezzaninePrefix  = 9
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errMezzanine = errors.New("not a mezzanine")

// newMezzanine returns the mezzanine of an original, from the JPEG and info that the Resizer
// made.
func newMezzanine(jpeg, info []byte, of imagecache.Image) (*mezzanine, error) {
	var facts resize.Info
	if err := json.Unmarshal(info, &facts); err != nil || facts.Width < 1 || facts.Height < 1 {
		return nil, fmt.Errorf("%w: info with %dx%d pixels", errMezzanine, facts.Width, facts.Height)
	}
	h, err := resize.ReadHeader(jpeg)
	if err == nil {
		err = resize.CheckComplete(jpeg, h)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMezzanine, err)
	}
	of.Body = nil
	return &mezzanine{jpeg: jpeg, info: info, width: facts.Width, height: facts.Height, header: h, of: of}, nil
}

// image returns m as it is stored: the original's Image with m as its body.
func (m *mezzanine) image() imagecache.Image {
	img := m.of
	img.Body = make([]byte, mezzaninePrefix, mezzaninePrefix+len(m.info)+len(m.jpeg))
	img.Body[0] = mezzanineVersion
	binary.LittleEndian.PutUint32(img.Body[5:], uint32(len(m.info)))
	img.Body = append(append(img.Body, m.info...), m.jpeg...)
	binary.LittleEndian.PutUint32(img.Body[1:], crc32.Checksum(img.Body[5:], castagnoli))
	img.ContentType = "application/octet-stream"
	return img
}

// parseMezzanine parses the result of image. The mezzanine aliases img.Body.
func parseMezzanine(img imagecache.Image) (*mezzanine, error) {
	b := img.Body
	if len(b) < mezzaninePrefix || b[0] != mezzanineVersion ||
		binary.LittleEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli) {
		return nil, fmt.Errorf("%w: %d bytes", errMezzanine, len(b))
	}
	n := uint64(binary.LittleEndian.Uint32(b[5:]))
	rest := b[mezzaninePrefix:]
	if n > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: info of %d bytes in %d", errMezzanine, n, len(rest))
	}
	return newMezzanine(rest[n:], rest[:n:n], img)
}

// wantsMezzanine reports whether the job of requests, the next one from orig with header h, is to make the
// mezzanine: if it does not exist yet, and other sizes of the original are requested or likely to be. Of an original
// that is still arriving only h is known.
func (w *work) wantsMezzanine(orig original, h resize.Header, requests []*request) bool {
	likely := w.noteRequests(requests)
	if !h.HasMezzanine(w.f.cfg.Mezzanine) || w.f.cfg.Originals == nil || orig.Fresh.NoStore {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.making || w.mezz != nil && (w.mezz.made || w.mezz.isOf(orig)) {
		return false
	}
	if !likely {
		w.f.countMezzanine(MezzanineUnlikely, 1)
	}
	w.making = likely
	return likely
}

// noteRequests records a job in the history, and reports whether more sizes of the original are likely.
func (w *work) noteRequests(requests []*request) (likely bool) {
	for _, r := range requests {
		if r.noted {
			return r.likely
		}
	}
	defer func() {
		for _, r := range requests {
			r.noted, r.likely = true, likely
		}
	}()
	specs := make([]resize.Spec, len(requests))
	for i, r := range requests {
		specs[i] = r.spec
	}
	of := imagecache.Original{Source: w.id.source, Name: w.id.name}
	return w.f.history.note(of, specs, w.f.cfg.Now())
}

// setMezzanine sets and stores the mezzanine that a job has made, and reports whether there is one. made
// are the mezzanine and the info, without bodies if they were not made, and err is the job's error.
func (w *work) setMezzanine(orig original, made [2]resize.Image, err error) bool {
	var m *mezzanine
	if made[0].Body != nil && made[1].Body != nil {
		m, err = newMezzanine(made[0].Body, made[1].Body, orig.Image)
	}
	event := MezzanineBusy
	switch {
	case err != nil:
		m, event = nil, MezzanineFailed
	case m != nil:
		m.made, event = true, MezzanineMade
	}
	w.f.countMezzanine(event, 1)
	w.mu.Lock()
	w.making = false
	if m != nil {
		w.mezz = m
	}
	w.mu.Unlock()
	if m != nil {
		w.f.keepMezzanine(w.ctx, w.ref, m, w.id.epoch)
	}
	return m != nil
}

// makes reports whether s can be made from m, a mezzanine of side pixels.
func (m *mezzanine) makes(s resize.Spec, side int) bool {
	return s.Shape == resize.ShapeInfo || s.FromMezzanine(m.width, m.height, side)
}

// Events of mezzanines, for Config.Mezzanines.
const (
	MezzanineMade     = "made"
	MezzanineUsed     = "used"     // a variant or info was made from one
	MezzanineUnlikely = "unlikely" // none was made, because no other size is likely to be requested
	MezzanineBusy     = "busy"     // none was made, because other jobs waited
	MezzanineFailed   = "failed"   // none was made, because of an error
)

// MezzanineEvents are all of them.
var MezzanineEvents = []string{MezzanineMade, MezzanineUsed, MezzanineUnlikely, MezzanineBusy, MezzanineFailed}

func (f *Filler) countMezzanine(event string, n int) {
	if f.cfg.Mezzanines != nil {
		f.cfg.Mezzanines(event, n)
	}
}

// original returns m as the original of a fill.
func (m *mezzanine) original(detail imagecache.Detail, status int) original {
	return original{Image: m.of, mezz: m, detail: detail, status: status}
}

// isOf reports whether m was certainly made from orig: their version is pinned, or they have
// the same strong tag.
func (m *mezzanine) isOf(orig original) bool {
	return orig.Fresh.Pinned() || strong(orig.Origin.ETag) && orig.Origin.ETag == m.of.Origin.ETag
}

// upright returns a header with the fields that the limits of variants need, for an original
// of which only the mezzanine is stored.
func (m *mezzanine) upright() resize.Header {
	return resize.Header{
		Kind: resize.KindJPEG, Width: m.width, Height: m.height, LargestWidth: m.width, LargestHeight: m.height,
		Orientation: 1, Frames: 1,
	}
}

// spec returns the Spec that makes s from m. If s fits inside a box, its size may be a pixel
// off, because the sides of m are rounded; then the result names the exact size of a variant
// made from the original.
func (m *mezzanine) spec(s resize.Spec) resize.Spec {
	width, height := s.OutputSize(m.width, m.height)
	if w, h := s.OutputSize(m.header.Upright()); s.Fit == resize.FitInside && (w != width || h != height) {
		s.Fit, s.Width, s.Height = resize.FitExact, width, height
	}
	return s
}
