package resize

import "slices"

// tiffKept are the tags of which decoders need the value as it is in the file: fill order, options of
// the fax compressions, predictor, colour map, inks, tables of JPEG and LERC, and what YCbCr
// and Lab are relative to.
var tiffKept = []int{
	266, 292, 293, 317, 320, 332, 333, 334, tagFormat, 347, 512, 513, 514, 515, 517, 518, 519,
	520, 521, 529, 530, 531, 532, tagICC, 50674,
}

// repairTIFF gives the picture a directory of what its pixels need, with the defaults for what is
// missing or broken. libtiff refuses a file for a broken tag that no pixel needs, and estimates
// missing lengths of strips differently in each version. Other pages are left out.
func repairTIFF(b []byte) []byte {
	p, err := openPage(b)
	if err != nil {
		return b
	}
	d := tiffDirectory{order: p.order, file: append(make([]byte, 0, len(b)+256), b...)}
	d.file = append(d.file, make([]byte, len(b)&1)...)
	bits := make([]int, p.samples)
	for i := range bits {
		bits[i] = p.bits
	}
	d.add(tagWidth, p.width)
	d.add(tagHeight, p.height)
	d.add(tagBits, bits...)
	d.add(tagCompression, p.compression)
	d.add(tagPhotometric, p.photometric)
	d.add(tagSamples, p.samples)
	d.add(tagPlanar, p.planar)
	if p.tileWidth > 0 && p.tileHeight > 0 {
		d.add(tagTileWidth, p.tileWidth)
		d.add(tagTileHeight, p.tileHeight)
		d.add(tagTiles, p.offsets...)
		d.add(tagTileBytes, p.counts...)
	} else {
		d.add(tagRows, p.rows)
		d.add(tagStrips, p.offsets...)
		d.add(tagStripBytes, p.counts...)
	}
	if len(p.extra) > 0 {
		// libvips 8.14 divides by an alpha of 8 or 16 bits only, so the caller divides by it.
		extra := slices.Clone(p.extra)
		if extra[0] == tiffPremultiplied {
			extra[0] = tiffAlpha
		}
		d.add(tagExtra, extra...)
	}
	for i := range len(p.entries) / 12 {
		e := p.entry(p.entries, i)
		if !slices.Contains(tiffKept, e.tag) || !p.within(e) || e.tag == tagICC && !p.icc {
			continue
		}
		d.entries = append(d.entries, p.entries[12*i:12*i+12])
	}
	return d.finish()
}

// within reports whether the value of e is within the file.
func (t tiff) within(e tiffEntry) bool {
	if e.typ < 1 || e.typ >= len(tiffSizes) || e.count < 1 {
		return false
	}
	length := e.count * tiffSizes[e.typ]
	at := int(t.order.Uint32(e.value))
	return length <= 4 || at <= len(t.b) && length <= len(t.b)-at
}

// tiffSizes are the sizes in bytes of one value of each entry type (TIFF 6.0, section 2).
var tiffSizes = [...]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

// A tiffDirectory is a directory that is appended to a file.
type tiffDirectory struct {
	order   byteOrder
	file    []byte
	entries [][]byte
}

// add adds an entry of integers: of type SHORT if there is more than one and all are small, as
// libtiff wants the bits per sample, otherwise of type LONG.
func (d *tiffDirectory) add(tag int, values ...int) {
	typ, size := uint16(4), 4
	if slices.Max(values) < 1<<16 {
		typ, size = 3, 2
	}
	e := d.order.AppendUint16(d.order.AppendUint16(nil, uint16(tag)), typ)
	e = d.order.AppendUint32(e, uint32(len(values)))
	var list []byte
	for _, v := range values {
		if size == 2 {
			list = d.order.AppendUint16(list, uint16(v))
		} else {
			list = d.order.AppendUint32(list, uint32(v))
		}
	}
	if len(list) > 4 {
		e = d.order.AppendUint32(e, uint32(len(d.file)))
		d.file = append(append(d.file, list...), make([]byte, len(list)&1)...)
	} else {
		e = append(append(e, list...), make([]byte, 4-len(list))...)
	}
	d.entries = append(d.entries, e)
}

// finish appends the directory, sorted by tag, and returns the file.
func (d *tiffDirectory) finish() []byte {
	slices.SortStableFunc(d.entries, func(a, b []byte) int {
		return int(d.order.Uint16(a)) - int(d.order.Uint16(b))
	})
	d.entries = slices.CompactFunc(d.entries, func(a, b []byte) bool { return d.order.Uint16(a) == d.order.Uint16(b) })
	d.order.PutUint32(d.file[4:], uint32(len(d.file)))
	d.file = d.order.AppendUint16(d.file, uint16(len(d.entries)))
	for _, e := range d.entries {
		d.file = append(d.file, e...)
	}
	return append(d.file, 0, 0, 0, 0) // no other page
}
