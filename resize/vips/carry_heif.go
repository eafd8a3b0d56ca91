package vips

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// intoHEIF adds a profile to an AVIF or HEIC written by libheif, as one more item property (ISO/IEC
// 23008-12, 6.5.5). libvips would add an EXIF block of its own too.
func intoHEIF(file, profile []byte) ([]byte, error) {
	if len(profile) == 0 {
		return file, nil
	}
	return addProperty(file, "colr", append([]byte("prof"), profile...), false)
}

// cropHEIF adds a crop (clap, ISO/IEC 14496-12, 12.1.4) to a HEIC written by libheif, of coded size: what
// is left is the top left corner, of size to. An alpha image has the same crop.
func cropHEIF(file []byte, coded, to size) ([]byte, error) {
	var clap []byte
	for _, fraction := range [...][2]int{
		{to.width, 1}, {to.height, 1},
		{to.width - coded.width, 2}, {to.height - coded.height, 2}, // from centre to centre
	} {
		clap = binary.BigEndian.AppendUint32(clap, uint32(int32(fraction[0])))
		clap = binary.BigEndian.AppendUint32(clap, uint32(fraction[1]))
	}
	return addProperty(file, "clap", clap, true)
}

// addProperty adds a property to the picture of a file written by libheif and, if it is essential, to
// its alpha image.
func addProperty(file []byte, name string, body []byte, essential bool) ([]byte, error) {
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
	index := 1 // of the new property
	for b := (box{end: ipco.body}); b.end < ipco.end; index++ {
		if b = boxAt(file, b.end, ipco.end); b.end == 0 {
			return nil, errLayout
		}
	}
	items := [][]byte{file[pitm.body+4 : pitm.body+6]}
	if essential {
		items = append(items, auxiliaries(file, boxIn(file, inside, "iref"))...)
	}
	lists := associations(file, ipma, items)
	if len(lists) == 0 || index > 127 {
		return nil, errLayout
	}
	association := byte(index)
	if essential {
		association |= 0x80
	}
	out := append([]byte(nil), file[:ipco.end]...)
	out = append(append(binary.BigEndian.AppendUint32(out, uint32(8+len(body))), name...), body...)
	at := ipco.end
	for _, list := range lists {
		if file[list.count] == 255 {
			return nil, errLayout
		}
		count := len(out) + list.count - at
		out = append(append(out, file[at:list.end]...), association)
		out[count]++
		at = list.end
	}
	out = append(out, file[at:]...)
	grow := func(at, by int) {
		binary.BigEndian.PutUint32(out[at:], binary.BigEndian.Uint32(out[at:])+uint32(by))
	}
	property := 8 + len(body)
	grow(meta.start, property+len(lists))
	grow(iprp.start, property+len(lists))
	grow(ipco.start, property)
	grow(ipma.start+property, len(lists))
	if !moveItems(out[iloc.body:iloc.end], meta.end, property+len(lists)) {
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

// auxiliaries returns the IDs of the items that iref lists as auxiliary to another.
func auxiliaries(file []byte, iref box) (items [][]byte) {
	iref.body += 4 // version 0 and flags
	for b := boxAt(file, iref.body, iref.end); b.end > 0; b = boxAt(file, b.end, iref.end) {
		if string(file[b.start+4:b.body]) == "auxl" && b.end-b.body >= 2 {
			items = append(items, file[b.body:b.body+2])
		}
	}
	return items
}

// A list is the properties of an item in ipma: the offset of their number, and the end.
type list struct{ count, end int }

// associations returns the lists of items. It returns nil if one is cut, or has indices of two bytes.
func associations(file []byte, ipma box, items [][]byte) (lists []list) {
	if !bytes.Equal(file[ipma.body:ipma.body+4], []byte{0, 0, 0, 0}) {
		return nil
	}
	for at := ipma.body + 8; at+3 <= ipma.end; {
		next := at + 3 + int(file[at+2])
		if next > ipma.end {
			return nil
		}
		if slices.ContainsFunc(items, func(id []byte) bool { return bytes.Equal(file[at:at+2], id) }) {
			lists = append(lists, list{at + 2, next})
		}
		at = next
	}
	return lists
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
