package vips

import (
	"bytes"
	"encoding/binary"
)

// intoHEIF adds a profile to an AVIF or HEIC written by libheif, as one more item property (ISO/IEC
// 23008-12, 6.5.5). libvips would add an EXIF block of its own too.
func intoHEIF(file, profile []byte) ([]byte, error) {
	if len(profile) == 0 {
		return file, nil
	}
	meta := boxIn(file, box{body: 0, end: len(file)}, "meta")
	inside := meta
	inside.body += 4 // version and flags
	pitm, iloc, iprp := boxIn(file, inside, "pitm"), boxIn(file, inside, "iloc"), boxIn(file, inside, "iprp")
	ipco, ipma := boxIn(file, iprp, "ipco"), boxIn(file, iprp, "ipma")
	if pitm.end-pitm.body < 6 || file[pitm.body] != 0 || ipma.end-ipma.body < 8 || iloc.end-iloc.body < 8 {
		return nil, errLayout
	}
	if iloc.end > ipco.body || ipco.end > ipma.start { // libheif writes them in this order
		return nil, errLayout
	}
	picture := file[pitm.body+4 : pitm.body+6]

	properties := 0
	for b := (box{end: ipco.body}); b.end < ipco.end; properties++ {
		if b = boxAt(file, b.end, ipco.end); b.end == 0 {
			return nil, errLayout
		}
	}
	count, entry := associations(file, ipma, picture)
	if count == 0 || properties+1 > 127 || file[count] == 255 {
		return nil, errLayout
	}
	colr := append(binary.BigEndian.AppendUint32(nil, uint32(12+len(profile))), "colrprof"...)
	colr = append(colr, profile...)

	out := append([]byte(nil), file[:ipco.end]...)
	out = append(append(out, colr...), file[ipco.end:entry]...)
	out = append(append(out, byte(properties+1)), file[entry:]...)
	out[count+len(colr)]++
	for _, grown := range []struct{ at, by int }{
		{meta.start, len(colr) + 1}, {iprp.start, len(colr) + 1}, {ipco.start, len(colr)}, {ipma.start + len(colr), 1},
	} {
		size := out[grown.at : grown.at+4]
		binary.BigEndian.PutUint32(size, binary.BigEndian.Uint32(size)+uint32(grown.by))
	}
	if !moveItems(out[iloc.body:iloc.end], meta.end, len(colr)+1) {
		return nil, errLayout
	}
	return out, nil
}

// A box is the position of a box: from start to end, with its content from body. It is zero if the
// box does not exist.
type box struct{ start, body, end int }

// boxAt returns the box at an offset. It must end by limit.
func boxAt(file []byte, at, limit int) box {
	if limit-at < 8 {
		return box{}
	}
	size := int(binary.BigEndian.Uint32(file[at:]))
	if size < 8 || size > limit-at {
		return box{}
	}
	return box{at, at + 8, at + size}
}

// boxIn returns the first box of type name inside outer.
func boxIn(file []byte, outer box, name string) box {
	for b := boxAt(file, outer.body, outer.end); b.end > 0; b = boxAt(file, b.end, outer.end) {
		if string(file[b.start+4:b.body]) == name {
			return b
		}
	}
	return box{}
}

// associations returns the offset of the number of an item's properties in ipma, and the end of
// their list, or zeros without a list or with indices of two bytes.
func associations(file []byte, ipma box, item []byte) (count, end int) {
	if !bytes.Equal(file[ipma.body:ipma.body+4], []byte{0, 0, 0, 0}) {
		return 0, 0
	}
	for at := ipma.body + 8; at+3 <= ipma.end; {
		next := at + 3 + int(file[at+2])
		if next > ipma.end {
			return 0, 0
		}
		if bytes.Equal(file[at:at+2], item) {
			return at + 2, next
		}
		at = next
	}
	return 0, 0
}

// moveItems adds by to the offsets of items at or after the file offset from. list is the content
// of iloc, with integers of four bytes and version 0 or 1, as libheif writes them.
func moveItems(list []byte, from, by int) bool {
	const heads = 8
	version := list[0]
	if version > 1 || list[4] != 0x44 || list[5]&0xf0 != 0x40 || list[5]&0x0f != 0 {
		return false
	}
	at := heads
	for range binary.BigEndian.Uint16(list[6:]) {
		method := byte(0)
		at += 2 // item ID
		if version == 1 {
			if len(list) < at+2 {
				return false
			}
			method = list[at+1] & 15
			at += 2
		}
		at += 2 // data reference index
		if len(list) < at+6 {
			return false
		}
		base := binary.BigEndian.Uint32(list[at:])
		extents := list[at+4:]
		n := int(binary.BigEndian.Uint16(extents))
		if at += 6 + 8*n; len(list) < at {
			return false
		}
		if method != 0 {
			continue // stored in the meta box
		}
		for i := range n {
			if offset := binary.BigEndian.Uint32(extents[2+8*i:]); int(base+offset) < from {
				return false
			}
		}
		binary.BigEndian.PutUint32(list[at-6-8*n:], base+uint32(by))
	}
	return true
}
