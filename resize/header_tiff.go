package resize

import "slices"

// Photometric interpretations (TIFF 6.0, section 8 and later).
const (
	tiffMinIsWhite = 0
	tiffMinIsBlack = 1
	tiffRGB        = 2
	tiffPalette    = 3
	tiffCMYK       = 5
	tiffYCbCr      = 6
	tiffLab        = 8
	tiffICCLab     = 9
	tiffITULab     = 10
)

// Compressions.
const (
	tiffOldJPEG = 6
	tiffJPEG    = 7
)

// Meanings of an extra sample (TIFF 6.0, section 18).
const (
	tiffPremultiplied = 1 // "associated" alpha
	tiffAlpha         = 2
)

// tiffPage is the first page of a TIFF that is not a preview of another. Missing and invalid tags have their defaults.
type tiffPage struct {
	tiff
	entries []byte
	width, height, bits, compression, photometric, samples,
	rows, planar, tileWidth, tileHeight, orientation int
	format        int   // 1 unsigned, 2 signed, 3 floating point
	extra         []int // the meaning of the samples after the colours
	offsets       []int // of strips or tiles
	counts        []int // their lengths in bytes
	icc, raw      bool
	missingCounts bool // counts is an estimate
}

// picture returns the entries of the first directory that is not a preview of another image, or else those of the
// first one.
func (t tiff) picture() (entries []byte, ok bool) {
	const most = 16 // directories; a chain may be a loop
	at := int(t.order.Uint32(t.b[4:]))
	first, _, ok := t.directory(at)
	for range most {
		entries, next, valid := t.directory(at)
		if !valid {
			break
		}
		if !t.preview(entries) {
			return entries, true
		}
		at = next
	}
	return first, ok
}

// preview reports whether a directory is that of an image in reduced resolution.
func (t tiff) preview(entries []byte) bool {
	for i := range len(entries) / 12 {
		if e := t.entry(entries, i); e.tag == tagSubfile {
			return t.first(e)&1 != 0
		}
	}
	return false
}

// openPage reads the directory of the picture. It fails only if strips or tiles are missing.
func openPage(b []byte) (p tiffPage, err error) {
	t, _, ok := openTIFF(b)
	if !ok {
		return p, corrupt(KindTIFF, "its directory is not within the file")
	}
	entries, _ := t.picture()
	p = tiffPage{tiff: t, entries: entries, compression: 1, photometric: -1, planar: 1, orientation: 1, format: 1}
	p.raw = len(b) > 10 && string(b[8:10]) == "CR" // Canon's CR2
	var bits, format []int
	readable := true
	for i := range len(entries) / 12 {
		e := t.entry(entries, i)
		set := func(to *int, least, most int) {
			if n := t.first(e); n >= least && n <= most {
				*to = n
			}
		}
		const most = 1 << 31
		switch e.tag {
		case tagWidth:
			set(&p.width, 1, most)
		case tagHeight:
			set(&p.height, 1, most)
		case tagBits:
			bits = t.list(e, 8)
			readable = readable && len(bits) > 0
		case tagCompression:
			set(&p.compression, 1, most)
		case tagPhotometric:
			set(&p.photometric, 0, most)
		case tagStrips, tagTiles:
			p.offsets = t.list(e, len(b))
		case tagStripBytes, tagTileBytes:
			p.counts = t.list(e, len(b))
		case tagOrientation:
			set(&p.orientation, 1, 8)
		case tagSamples:
			set(&p.samples, 1, most)
		case tagRows:
			set(&p.rows, 1, most)
		case tagPlanar:
			set(&p.planar, 1, 2)
		case tagTileWidth:
			set(&p.tileWidth, 1, most)
		case tagTileHeight:
			set(&p.tileHeight, 1, most)
		case tagExtra:
			p.extra = t.list(e, 8)
		case tagFormat:
			format = t.list(e, 8)
			readable = readable && len(format) > 0
		case tagICC:
			at := int(t.order.Uint32(e.value))
			p.icc = e.count > 128 && at <= len(b) && e.count <= len(b)-at
		case tagDNGVersion:
			p.raw = true
		case tagSubIFDs: // NEF and ARW have the photo there, and a preview here
			p.raw = p.raw || t.preview(entries)
		}
	}
	if !readable {
		return p, corrupt(KindTIFF, "truncated within its directory")
	}
	if len(format) > 0 && format[0] >= 1 && format[0] <= 3 {
		p.format = format[0]
	}
	p.setDefaults(bits)
	return p, p.setCounts()
}

// list returns at most n numbers of e, or nil.
func (t tiff) list(e tiffEntry, n int) (numbers []int) {
	list, size, ok := t.numbers(e)
	if !ok {
		return nil
	}
	n = min(n, len(list)/size)
	numbers = make([]int, n)
	for i := range numbers {
		numbers[i] = t.number(list, size, i)
	}
	return numbers
}

// setDefaults completes the description of a pixel.
func (p *tiffPage) setDefaults(bits []int) {
	if p.samples == 0 {
		p.samples = max(p.colours(), len(bits), 1)
	}
	if p.samples == 1 {
		p.planar = 1 // a single plane, even if the file declares several
	}
	if p.photometric < 0 {
		p.photometric = tiffMinIsBlack
		if p.samples >= 3 {
			p.photometric = tiffRGB
		}
	}
	if len(bits) > 0 {
		p.bits = slices.Max(bits)
	} else if p.bits = 1; p.colours() > 1 {
		p.bits = 8
	}
	if p.rows == 0 {
		p.rows = max(p.height, 1)
		if strips := len(p.offsets); p.planar == 1 && strips > 1 {
			p.rows = (p.height + strips - 1) / strips
		}
	}
	p.rows = max(min(p.rows, p.height), 1)
}

// colours returns the number of samples that are not extra samples.
func (p *tiffPage) colours() int {
	switch p.photometric {
	case tiffRGB, tiffYCbCr, tiffLab, tiffICCLab, tiffITULab:
		return 3
	case tiffCMYK:
		return 4
	}
	return 1
}

// setCounts checks where the strips or tiles are, and estimates their lengths if the file does not
// contain them.
func (p *tiffPage) setCounts() error {
	if len(p.offsets) == 0 {
		return corrupt(KindTIFF, "its strips are missing")
	}
	if len(p.counts) >= len(p.offsets) && !slices.Contains(p.counts[:len(p.offsets)], 0) {
		p.counts = p.counts[:len(p.offsets)]
	} else {
		p.missingCounts = true
		p.counts = make([]int, len(p.offsets))
		sorted := append(slices.Clone(p.offsets), len(p.b))
		slices.Sort(sorted)
		for i, at := range p.offsets {
			next, _ := slices.BinarySearch(sorted, at+1)
			p.counts[i] = max(sorted[min(next, len(sorted)-1)]-at, 0)
		}
	}
	for i, at := range p.offsets {
		length := p.counts[i]
		if p.compression == 1 && p.photometric != tiffYCbCr {
			if raw := p.rawBytes(i); p.missingCounts || at+length > len(p.b) {
				length = raw
			}
		}
		if at+length > len(p.b) {
			return corrupt(KindTIFF, "truncated within its image")
		}
		p.missingCounts = p.missingCounts || length != p.counts[i]
		p.counts[i] = length
	}
	return nil
}

// rawBytes returns the length of an uncompressed strip or tile.
func (p *tiffPage) rawBytes(i int) int {
	samples := p.samples
	if p.planar == 2 {
		samples = 1
	}
	if p.tileWidth > 0 {
		return p.tileHeight * ((p.tileWidth*samples*p.bits + 7) / 8)
	}
	strips := (p.height + p.rows - 1) / p.rows
	rows := max(min(p.rows, p.height-(i%max(strips, 1))*p.rows), 0)
	return rows * ((p.width*samples*p.bits + 7) / 8)
}

func (h *Header) readTIFF(b []byte) error {
	p, err := openPage(b)
	if p.bits == 0 { // missing strips are an error of completeTIFF
		return err
	}
	if p.raw {
		return unsupported(KindTIFF, "a raw photo (DNG, NEF, ARW, CR2)")
	}
	if p.samples < 1 || p.samples > 5 {
		return unsupported(KindTIFF, "%d samples per pixel", p.samples)
	}
	if p.planar == 2 && p.tileWidth > 0 {
		return unsupported(KindTIFF, "tiles of separate planes")
	}
	if !slices.Contains([]int{1, 2, 4, 8, 16, 32}, p.bits) { // libvips reads no others
		return unsupported(KindTIFF, "%d bits per sample", p.bits)
	}
	if p.format == 3 && p.bits != 32 {
		return unsupported(KindTIFF, "floating-point numbers of %d bits", p.bits)
	}
	switch p.photometric {
	case tiffMinIsWhite, tiffMinIsBlack, tiffRGB, tiffPalette, tiffYCbCr:
	case tiffCMYK, tiffLab:
		if p.samples < p.colours() {
			return corrupt(KindTIFF, "%d of %d samples per pixel", p.samples, p.colours())
		}
	default: // libvips takes other kinds of Lab for RGB, sensor data and logarithms for grey
		return unsupported(KindTIFF, "photometric interpretation %d", p.photometric)
	}
	if p.photometric == tiffYCbCr && p.compression != tiffOldJPEG && p.compression != tiffJPEG {
		return unsupported(KindTIFF, "YCbCr that is not compressed as JPEG") // libvips takes it for RGB
	}
	h.Width, h.Height, h.Orientation, h.Channels, h.BitDepth = p.width, p.height, p.orientation, p.samples, p.bits
	h.CMYK, h.Profile = p.photometric == tiffCMYK, p.icc
	h.Alpha = p.samples > p.colours()
	h.Premultiplied = h.Alpha && len(p.extra) > 0 && p.extra[0] == tiffPremultiplied
	// A tile is decoded completely, even if only part of it is in the image.
	h.widen(p.tileWidth, p.tileHeight)
	return nil
}

// completeTIFF checks that every strip and tile of the first page lies within the file.
func completeTIFF(b []byte) error {
	_, err := openPage(b)
	return err
}
