package resize

import "encoding/binary"

// AVIF and HEIC: files of boxes (ISO/IEC 14496-12) that hold items (ISO/IEC 23008-12,
// HEIF). The meta box lists items, their properties and where their bytes are.

// nextBox returns the first box of b and what follows it. If the box says that it is
// longer than b, body is what there is of it, and the error wraps ErrCorrupt.
func nextBox(kind Kind, b []byte) (typ, body, rest []byte, err error) {
	if len(b) < 8 {
		return nil, nil, nil, corrupt(kind, "it ends within a box")
	}
	typ = b[4:8]
	head, length := 8, uint64(be32(b))
	switch {
	case length == 0: // to the end
		length = uint64(len(b))
	case length == 1:
		if len(b) < 16 {
			return typ, nil, nil, corrupt(kind, "it ends within a box")
		}
		head, length = 16, binary.BigEndian.Uint64(b[8:])
	}
	if length < uint64(head) {
		return typ, nil, nil, corrupt(kind, "a box has the length %d", length)
	}
	if length > uint64(len(b)) {
		return typ, b[head:], nil, corrupt(kind, "it ends within a box")
	}
	return typ, b[head:length], b[length:], nil
}

// kindOfBrands tells AVIF and HEIC from other files of boxes by the brands in ftyp.
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

// kindOfBrand returns what a brand promises. Of the two brands of HEIF at large it is HEIC,
// until readBMFF has seen the item.
func kindOfBrand(brand string) Kind {
	switch brand {
	case "avif", "avis":
		return KindAVIF
	case "heic", "heix", "heim", "heis", "hevc", "hevx", "hevm", "hevs", "mif1", "msf1", "mif2":
		return KindHEIC
	}
	return NoKind
}

// bmff is a file of boxes, as far as its header goes: the bodies of the boxes that list
// its items, without version and flags where they are in the way.
type bmff struct {
	kind                         Kind // for errors
	file                         []byte
	iinf, iloc, iref, iprp, idat []byte // from version and flags on
	moov                         []byte // of a sequence
	primary                      int    // id of the item that is the picture; 0 is none
}

// openBMFF finds the boxes of the header. A box that is cut short ends the search.
func openBMFF(kind Kind, b []byte) (bmff, error) {
	f := bmff{kind: kind, file: b}
	var meta []byte
	for rest := b; len(rest) > 0; {
		typ, body, after, err := nextBox(kind, rest)
		if err != nil && (meta == nil || string(typ) == "moov") {
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

// completeBoxes looks whether every box of the file is within it. Bytes after the last
// box whose name is not one are no box but something appended.
func completeBoxes(kind Kind, b []byte) error {
	for len(b) > 0 {
		typ, _, rest, err := nextBox(kind, b)
		if !boxName(typ) {
			return nil
		}
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

func boxName(typ []byte) bool {
	for _, c := range typ {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return len(typ) == 4
}

// completeBMFF looks whether every box and every item's bytes are within the file.
func completeBMFF(kind Kind, b []byte) error {
	if err := completeBoxes(kind, b); err != nil {
		return err
	}
	f, err := openBMFF(kind, b)
	if err != nil {
		return err
	}
	return f.eachExtent(func(_ int, inIdat bool, offset, length uint64) error {
		size := uint64(len(b))
		if inIdat {
			size = uint64(len(f.idat))
		}
		if offset > size || length > size-offset {
			return corrupt(kind, "it ends before its pictures do")
		}
		return nil
	})
}
