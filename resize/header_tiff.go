package resize

func (h *Header) readTIFF(b []byte) error {
	t, entries, ok := openTIFF(b)
	if !ok {
		return corrupt(KindTIFF, "its directory is not within the file")
	}
	h.Channels, h.BitDepth = 1, 1
	tileWidth, tileHeight, extra := 0, 0, 0
	for i := range len(entries) / 12 {
		e := t.entry(entries, i)
		switch e.tag {
		case tagWidth:
			h.Width = t.first(e)
		case tagHeight:
			h.Height = t.first(e)
		case tagBits:
			list, size, ok := t.numbers(e)
			if !ok || len(list) == 0 {
				return corrupt(KindTIFF, "its bits per sample are missing")
			}
			h.BitDepth = 0
			for j := range min(len(list)/size, 8) {
				h.BitDepth = max(h.BitDepth, t.number(list, size, j))
			}
		case tagPhotometric:
			h.CMYK = t.first(e) == 5
		case tagOrientation:
			if n := t.first(e); n >= 1 && n <= 8 {
				h.Orientation = n
			}
		case tagSamples:
			h.Channels = t.first(e)
		case tagTileWidth:
			tileWidth = t.first(e)
		case tagTileHeight:
			tileHeight = t.first(e)
		case tagExtra:
			extra = e.count
		case tagICC:
			h.Profile = true
		case tagDNGVersion:
			return unsupported(KindTIFF, "a raw photo (DNG)")
		}
	}
	if h.Channels < 1 || h.Channels > 5 {
		return unsupported(KindTIFF, "%d samples per pixel", h.Channels)
	}
	if h.BitDepth < 1 || h.BitDepth > 32 {
		return unsupported(KindTIFF, "%d bits per sample", h.BitDepth)
	}
	h.Alpha = extra > 0
	// A tile is decoded completely, even if only part of it is in the image.
	h.widen(tileWidth, tileHeight)
	return nil
}

// tiffSizes are the sizes in bytes of one value of each entry type (TIFF 6.0, section 2).
var tiffSizes = [...]int{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

// completeTIFF checks that every value, strip and tile of the first page lies within the file.
func completeTIFF(b []byte) error {
	t, entries, ok := openTIFF(b)
	if !ok {
		return corrupt(KindTIFF, "its directory is not within the file")
	}
	var offsets, counts []byte
	var offsetSize, countSize int
	for i := range len(entries) / 12 {
		e, ok := t.entry(entries, i), true
		if e.typ < len(tiffSizes) {
			length := e.count * tiffSizes[e.typ]
			ok = length <= 4 || int(t.order.Uint32(e.value))+length <= len(b)
		}
		if !ok {
			return corrupt(KindTIFF, "truncated within its directory")
		}
		switch e.tag {
		case tagStrips, tagTiles:
			offsets, offsetSize, ok = t.numbers(e)
		case tagStripBytes, tagTileBytes:
			counts, countSize, ok = t.numbers(e)
		}
		if !ok {
			return corrupt(KindTIFF, "its list of strips is not within the file")
		}
	}
	if len(offsets) == 0 || len(counts) == 0 || len(offsets)/offsetSize != len(counts)/countSize {
		return corrupt(KindTIFF, "its strips or their sizes are missing")
	}
	for i := range len(offsets) / offsetSize {
		if t.number(offsets, offsetSize, i)+t.number(counts, countSize, i) > len(b) {
			return corrupt(KindTIFF, "truncated within its image")
		}
	}
	return nil
}
