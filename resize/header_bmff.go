package resize

import (
	"encoding/binary"
	"slices"
)

// AVIF and HEIC: box-structured files (ISO/IEC 14496-12) that contain items (ISO/IEC 23008-12,
// HEIF). The meta box lists the items, their properties and where their bytes are.

// nextBox returns the first box of b and the bytes after it. If the box is longer than b,
// body is the part that exists, and the error wraps ErrCorrupt.
func nextBox(kind Kind, b []byte) (typ, body, rest []byte, err error) {
	if len(b) < 8 {
		return nil, nil, nil, corrupt(kind, "truncated within a box")
	}
	typ = b[4:8]
	head, length := 8, uint64(be32(b))
	switch {
	case length == 0: // extends to the end
		length = uint64(len(b))
	case length == 1:
		if len(b) < 16 {
			return typ, nil, nil, corrupt(kind, "truncated within a box")
		}
		head, length = 16, binary.BigEndian.Uint64(b[8:])
	}
	if length < uint64(head) {
		return typ, nil, nil, corrupt(kind, "a box has the length %d", length)
	}
	if length > uint64(len(b)) {
		return typ, b[head:], nil, corrupt(kind, "truncated within a box")
	}
	return typ, b[head:length], b[length:], nil
}

// kindOfBrands distinguishes AVIF, HEIC and other box-structured files by the brands in ftyp.
func kindOfBrands(b []byte) Kind {
	_, body, _, _ := nextBox(NoKind, b)
	if len(body) < 4 {
		return NoKind
	}
	kind := kindOfBrand(string(body[:4]))
	for at := 8; at+4 <= len(body) && at < 8+4*64; at += 4 {
		if k := kindOfBrand(string(body[at : at+4])); k == KindAVIF || kind == NoKind {
			kind = k
		}
	}
	return kind
}

// kindOfBrand returns the kind that a brand declares. For the generic HEIF brands it returns
// HEIC; readBMFF corrects that when it has read the primary item.
func kindOfBrand(brand string) Kind {
	switch brand {
	case "avif", "avis":
		return KindAVIF
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1", "mif2":
		return KindHEIC
	}
	return NoKind
}

// bmff is the header of a box-structured file: the bodies of the boxes that list its items.
type bmff struct {
	kind                         Kind // for errors
	file                         []byte
	iinf, iloc, iref, iprp, idat []byte // starting with version and flags
	moov                         []byte // for sequences
	primary                      int    // ID of the primary item, or 0
}

// openBMFF finds the boxes of the header. It stops at a truncated box, or at appended data that is
// not a box.
func openBMFF(kind Kind, b []byte) (bmff, error) {
	f := bmff{kind: kind, file: b}
	var meta []byte
	for rest := b; len(rest) > 0; {
		typ, body, after, err := nextBox(kind, rest)
		if err != nil && meta == nil {
			return bmff{}, err
		}
		switch string(typ) {
		case "meta":
			if meta == nil {
				meta = body
			}
		case "moov":
			f.moov = body
		}
		if err != nil {
			break
		}
		rest = after
	}
	if meta == nil {
		return f, nil
	}
	if len(meta) < 4 {
		return bmff{}, corrupt(kind, "its meta box is empty")
	}
	for rest := meta[4:]; len(rest) > 0; {
		typ, body, after, err := nextBox(kind, rest)
		if err != nil {
			return bmff{}, err
		}
		switch string(typ) {
		case "pitm":
			c := cursor{b: body}
			if c.number(4)>>24 == 0 {
				f.primary = int(c.number(2))
			} else {
				f.primary = int(c.number(4))
			}
		case "iinf":
			f.iinf = body
		case "iloc":
			f.iloc = body
		case "iref":
			f.iref = body
		case "iprp":
			f.iprp = body
		case "idat":
			f.idat = body
		}
		rest = after
	}
	return f, nil
}

// completeBMFF checks that the bytes of every item lie within the file. Everything else in the
// file, such as appended data, is not needed.
func completeBMFF(kind Kind, b []byte) error {
	f, err := openBMFF(kind, b)
	if err != nil {
		return err
	}
	if err := f.checkAlpha(); err != nil {
		return err
	}
	return f.eachExtent(func(_ int, inIdat bool, offset, length uint64) error {
		size := uint64(len(b))
		if inIdat {
			size = uint64(len(f.idat))
		}
		if offset > size || length > size-offset {
			return corrupt(kind, "truncated within an image")
		}
		return nil
	})
}

// checkAlpha refuses an alpha image that is not listed, and one that has not the size or depth of the image:
// libheif does not convert it.
func (f bmff) checkAlpha() error {
	props, err := f.properties()
	if err != nil {
		return err
	}
	items, err := f.items()
	if err != nil || items[f.primary] == nil {
		return err
	}
	alpha := items[f.alphaOf(items, props, f.primary)]
	if alpha == nil {
		if f.itemType(f.primary) != "grid" && f.hasAuxiliary() && slices.ContainsFunc(props, property.alpha) {
			return corrupt(f.kind, "its alpha image is missing")
		}
		return nil
	}
	width, height := items[f.primary].codedSize(props)
	if w, h := alpha.codedSize(props); w != width || h != height {
		return unsupported(f.kind, "an alpha image of %dx%d pixels for %dx%d", w, h, width, height)
	}
	a, c := alpha.depth(props), items[f.primary].depth(props)
	if a != c && a > 0 && c > 0 {
		return unsupported(f.kind, "an alpha image of %d bits for %d", a, c)
	}
	return nil
}
