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

// mezzanine is what is kept of a large original: a picture to make variants of, and its
// facts, which tell which ones.
type mezzanine struct {
	jpeg          []byte
	info          []byte // JSON of a resize.Info
	width, height int    // of the original when upright
	header        resize.Header
	of            imagecache.Image // the original's, without its Body
	made          bool             // by running fills, of the original that they have
}

// A mezzanine is stored as
//
//	1  version, now 1
//	4  CRC32C of all that follows, little-endian
//	4  length of the info, little-endian
//	   info, JPEG
//
// The disk tier has checksums of its own; this one holds for every tier: a picture of
// damaged bytes would be served for a year.
const (
	mezzanineVersion = 1
	mezzaninePrefix  = 9
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errMezzanine = errors.New("not a mezzanine")

// newMezzanine puts together what a Resizer has made of an original.
func newMezzanine(jpeg, info []byte, of imagecache.Image) (*mezzanine, error) {
	var facts resize.Info
	if err := json.Unmarshal(info, &facts); err != nil || facts.Width < 1 || facts.Height < 1 {
		return nil, fmt.Errorf("%w: its info says %dx%d pixels", errMezzanine, facts.Width, facts.Height)
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

// image returns m as it is stored: the original's Image but for its body.
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

// parseMezzanine reads what image wrote. Its parts alias img.Body.
func parseMezzanine(img imagecache.Image) (*mezzanine, error) {
	b := img.Body
	if len(b) < mezzaninePrefix || b[0] != mezzanineVersion || binary.LittleEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli) {
		return nil, fmt.Errorf("%w: %d bytes", errMezzanine, len(b))
	}
	n := uint64(binary.LittleEndian.Uint32(b[5:]))
	rest := b[mezzaninePrefix:]
	if n > uint64(len(rest)) {
		return nil, fmt.Errorf("%w: its info has %d bytes of %d", errMezzanine, n, len(rest))
	}
	return newMezzanine(rest[n:], rest[:n:n], img)
}

// original returns m as what a fill begins with.
func (m *mezzanine) original(detail imagecache.Detail, status int) original {
	return original{Image: m.of, mezz: m, detail: detail, status: status}
}

// isOf reports whether m was made of orig for sure: they are of one version, which is pinned,
// or have the same strong tag.
func (m *mezzanine) isOf(orig original) bool {
	return orig.Fresh.Pinned() || strong(orig.Origin.ETag) && orig.Origin.ETag == m.of.Origin.ETag
}

// upright is the header of an original of which only the mezzanine is there, as far as
// limits of variants need it.
func (m *mezzanine) upright() resize.Header {
	return resize.Header{
		Kind: resize.KindJPEG, Width: m.width, Height: m.height, LargestWidth: m.width, LargestHeight: m.height,
		Orientation: 1, Frames: 1,
	}
}

// spec returns how s, which is made from m, is asked for. A box that is filled on one side
// only may come out a pixel off, because the sides of m were rounded: then the size that it
// has from the original is asked for.
func (m *mezzanine) spec(s resize.Spec) resize.Spec {
	width, height := s.OutputSize(m.width, m.height)
	if w, h := s.OutputSize(m.header.Upright()); s.Fit == resize.FitInside && (w != width || h != height) {
		s.Fit, s.Width, s.Height = resize.FitExact, width, height
	}
	return s
}
