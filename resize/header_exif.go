package resize

import "encoding/binary"

// TIFF 6.0: a header, then directories (IFD) of 12-byte entries. EXIF is a TIFF without image
// data.

const (
	tagSubfile     = 254
	tagWidth       = 256
	tagHeight      = 257
	tagBits        = 258
	tagCompression = 259
	tagPhotometric = 262
	tagStrips      = 273
	tagOrientation = 274
	tagSamples     = 277
	tagRows        = 278
	tagStripBytes  = 279
	tagPlanar      = 284
	tagTileWidth   = 322
	tagTileHeight  = 323
	tagTiles       = 324
	tagTileBytes   = 325
	tagSubIFDs     = 330
	tagExtra       = 338
	tagFormat      = 339
	tagICC         = 34675
	tagDNGVersion  = 50706
)

// tiff is a TIFF file or an EXIF block, with its byte order.
type tiff struct {
	b     []byte
	order byteOrder
}

type byteOrder interface {
	binary.ByteOrder
	binary.AppendByteOrder
}

// tiffEntry is one entry of a directory.
type tiffEntry struct {
	tag, typ, count int
	value           []byte // the four bytes of value or offset
}

// openTIFF returns the file and the 12-byte entries of its first directory.
func openTIFF(b []byte) (t tiff, entries []byte, ok bool) {
	if len(b) < 8 {
		return tiff{}, nil, false
	}
	switch string(b[:4]) {
	case "II*\x00":
		t = tiff{b, binary.LittleEndian}
	case "MM\x00*":
		t = tiff{b, binary.BigEndian}
	default:
		return tiff{}, nil, false
	}
	entries, _, ok = t.directory(int(t.order.Uint32(b[4:])))
	if !ok {
		return tiff{}, nil, false
	}
	return t, entries, true
}

// directory returns the entries of the directory at an offset, and the offset of the next one, 0 after the last one.
func (t tiff) directory(at int) (entries []byte, next int, ok bool) {
	if at < 8 || at > len(t.b)-2 {
		return nil, 0, false
	}
	count := int(t.order.Uint16(t.b[at:]))
	at += 2
	if count > (len(t.b)-at)/12 {
		return nil, 0, false
	}
	entries = t.b[at : at+12*count]
	if rest := t.b[at+12*count:]; len(rest) >= 4 {
		next = int(t.order.Uint32(rest))
	}
	return entries, next, true
}

// entry decodes the i-th entry.
func (t tiff) entry(entries []byte, i int) tiffEntry {
	e := entries[12*i : 12*i+12]
	return tiffEntry{int(t.order.Uint16(e)), int(t.order.Uint16(e[2:])), int(t.order.Uint32(e[4:])), e[8:12]}
}

// numbers returns the value of e as a list of unsigned integers of size bytes (1, 2 or 4). ok is
// false if e has another type or points outside the file.
func (t tiff) numbers(e tiffEntry) (list []byte, size int, ok bool) {
	switch e.typ {
	case 1:
		size = 1
	case 3:
		size = 2
	case 4:
		size = 4
	default:
		return nil, 0, false
	}
	if length := e.count * size; length <= 4 {
		return e.value[:length], size, true
	} else if at := int(t.order.Uint32(e.value)); at <= len(t.b) && length <= len(t.b)-at {
		return t.b[at : at+length], size, true
	}
	return nil, 0, false
}

// number returns the i-th integer of a list.
func (t tiff) number(list []byte, size, i int) int {
	switch size {
	case 1:
		return int(list[i])
	case 2:
		return int(t.order.Uint16(list[2*i:]))
	}
	return int(t.order.Uint32(list[4*i:]))
}

// first returns the first integer of e, or 0.
func (t tiff) first(e tiffEntry) int {
	list, size, ok := t.numbers(e)
	if !ok || len(list) == 0 {
		return 0
	}
	return t.number(list, size, 0)
}

// exifOrientation returns the orientation of an EXIF block, 1-8. Like all decoders it returns 1
// if the block has none or is broken.
func exifOrientation(b []byte) int {
	t, entries, ok := openTIFF(b)
	if !ok {
		return 1
	}
	for i := range len(entries) / 12 {
		e := t.entry(entries, i)
		if e.tag != tagOrientation {
			continue
		}
		if n := t.first(e); n >= 1 && n <= 8 {
			return n
		}
		return 1
	}
	return 1
}
