package resize

import "bytes"

// JPEG XL: ISO/IEC 18181-1 (codestream header) and -2 (container).

const jxlMagic = "\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"

// jxlHeaderBytes is more than SizeHeader and the parsed part of ImageMetadata take.
const jxlHeaderBytes = 64

func (h *Header) readJXL(b []byte) error {
	var buf [jxlHeaderBytes]byte
	stream := b
	if string(b[:2]) != "\xff\x0a" {
		var err error
		if stream, err = jxlStream(b, buf[:0]); err != nil {
			return err
		}
	}
	if !bytes.HasPrefix(stream, []byte("\xff\x0a")) {
		return corrupt(KindJXL, "its codestream has no header")
	}
	r := bitReader{b: stream[2:min(len(stream), jxlHeaderBytes)]}
	h.Width, h.Height = jxlSize(&r)
	h.Channels, h.BitDepth = 3, 8
	h.readJXLMetadata(&r)
	if r.short {
		return corrupt(KindJXL, "truncated within its header")
	}
	return nil
}

// jxlStream appends the first bytes of the codestream, which may be split, to buf.
func jxlStream(b, buf []byte) ([]byte, error) {
	for len(b) > 0 && len(buf) < cap(buf) {
		typ, body, rest, err := nextBox(KindJXL, b)
		switch string(typ) {
		case "jxlp":
			body = body[min(4, len(body)):] // skip the part number
			buf = append(buf, body[:min(len(body), cap(buf)-len(buf))]...)
		case "jxlc":
			buf = append(buf, body[:min(len(body), cap(buf)-len(buf))]...)
		}
		if err != nil { // truncated, but the header may be complete
			break
		}
		b = rest
	}
	return buf, nil
}

// readJXLMetadata parses ImageMetadata up to the colours, which it reads only if the extra channels are
// plain alpha.
func (h *Header) readJXLMetadata(r *bitReader) {
	if r.bits(1) == 1 { // all default
		return
	}
	if r.bits(1) == 1 { // extra fields
		h.Orientation = 1 + r.bits(3)
		if r.bits(1) == 1 { // intrinsic size: for display, not the stored size
			jxlSize(r)
		}
		if r.bits(1) == 1 {
			h.widen(jxlPreview(r))
		}
		if r.bits(1) == 1 {
			h.Animated = true
			r.choose([4]uint{0, 0, 10, 30}, [4]int{100, 1000, 1, 1}) // ticks per second
			r.choose([4]uint{0, 0, 8, 10}, [4]int{1, 1001, 1, 1})
			r.choose([4]uint{0, 3, 16, 32}, [4]int{}) // loops
			r.bits(1)                                 // timecodes
		}
	}
	h.BitDepth = jxlDepth(r)
	r.bits(1) // 16-bit buffers suffice
	extra := r.choose([4]uint{0, 0, 4, 12}, [4]int{0, 1, 2, 1})
	plain := extra <= 4
	for i := range extra {
		if i == 4 {
			break // the rest does not matter
		}
		if r.bits(1) == 1 { // all default: 8-bit alpha
			h.Alpha = true
			continue
		}
		kind := r.choose([4]uint{0, 0, 4, 6}, [4]int{0, 1, 2, 18})
		h.Alpha = h.Alpha || kind == 0
		h.CMYK = h.CMYK || kind == 4
		// The rest depends on the type; the other channels are not parsed.
		plain = false
		break
	}
	if h.Alpha {
		h.Channels++
	}
	if h.CMYK {
		h.Channels++
	}
	if plain {
		h.Colour = jxlColour(r)
	}
}

// jxlColour parses ColourEncoding, and returns it if it is PQ or HLG: of all others libjxl makes an ICC
// profile, but ICC has no tone mapping. Its numbers are those of H.273, except that 11 is Display P3.
func jxlColour(r *bitReader) (c Colour) {
	enum := func() int { return r.choose([4]uint{0, 0, 4, 6}, [4]int{0, 1, 2, 18}) }
	custom := func(n int) {
		for range n {
			r.choose([4]uint{19, 19, 20, 21}, [4]int{0, 524288, 1048576, 2097152})
		}
	}
	r.bits(1) // XYB
	if srgb := r.bits(1) == 1; srgb {
		return Colour{}
	}
	if icc := r.bits(1) == 1; icc {
		return Colour{}
	}
	const rgb, grey, ownNumbers, displayP3 = 0, 1, 2, 11
	space := enum()
	if space != rgb && space != grey {
		return Colour{}
	}
	if enum() == ownNumbers { // white
		custom(2)
	}
	c.Primaries = 1
	if space == rgb {
		switch c.Primaries = enum(); c.Primaries {
		case ownNumbers:
			custom(6)
		case displayP3:
			c.Primaries = 12
		}
	}
	if r.bits(1) == 1 { // a gamma
		return Colour{}
	}
	if c.Transfer = enum(); !c.HDR() {
		return Colour{}
	}
	return c
}

// jxlDepth parses BitDepth.
func jxlDepth(r *bitReader) int {
	if r.bits(1) == 0 {
		return r.choose([4]uint{0, 0, 0, 6}, [4]int{8, 10, 12, 1})
	}
	depth := r.choose([4]uint{0, 0, 0, 6}, [4]int{32, 16, 24, 1})
	r.bits(4) // exponent
	return depth
}

// jxlSize parses SizeHeader.
func jxlSize(r *bitReader) (width, height int) {
	small := r.bits(1) == 1
	side := func() int {
		if small {
			return 8 * (1 + r.bits(5))
		}
		return r.choose([4]uint{9, 13, 18, 30}, [4]int{1, 1, 1, 1})
	}
	height = side()
	if width = jxlRatio(r.bits(3), height); width == 0 {
		width = side()
	}
	return width, height
}

// jxlPreview parses PreviewHeader.
func jxlPreview(r *bitReader) (width, height int) {
	blocks := r.bits(1) == 1
	side := func() int {
		if blocks {
			return 8 * r.choose([4]uint{0, 0, 5, 9}, [4]int{16, 32, 1, 33})
		}
		return r.choose([4]uint{6, 8, 10, 12}, [4]int{1, 65, 321, 1345})
	}
	height = side()
	if width = jxlRatio(r.bits(3), height); width == 0 {
		width = side()
	}
	return width, height
}

// jxlRatio returns the width for a height and an aspect ratio code, or 0 if ratio is 0.
func jxlRatio(ratio, height int) int {
	switch ratio {
	case 1:
		return height
	case 2:
		return height * 12 / 10
	case 3:
		return height * 4 / 3
	case 4:
		return height * 3 / 2
	case 5:
		return height * 16 / 9
	case 6:
		return height * 5 / 4
	case 7:
		return height * 2
	}
	return 0
}

// bitReader reads bits, least significant first. At the end it returns zeros and sets short.
type bitReader struct {
	b     []byte
	at    int // in bits
	short bool
}

// bits returns the next n bits, at most 32.
func (r *bitReader) bits(n uint) (v int) {
	for i := range n {
		if r.at>>3 >= len(r.b) {
			r.short = true
			return 0
		}
		v |= int(r.b[r.at>>3]>>(r.at&7)&1) << i
		r.at++
	}
	return v
}

// choose parses a U32: two bits select the width of the value and the number added to it.
func (r *bitReader) choose(widths [4]uint, plus [4]int) int {
	i := r.bits(2)
	return r.bits(widths[i]) + plus[i]
}

// completeJXL checks that the codestream lies within the file.
func completeJXL(b []byte) error {
	_, err := jxlEnd(b)
	return err
}

// jxlEnd returns the end of the last box of the codestream. A bare codestream ends with the file,
// because only a decoder can find its end.
func jxlEnd(b []byte) (end int, err error) {
	if string(b[:2]) == "\xff\x0a" {
		return len(b), nil
	}
	for rest := b; len(rest) > 0; {
		typ, body, after, err := nextBox(KindJXL, rest)
		part := string(typ) == "jxlp"
		if err != nil { // after parts of which none is marked as the last
			return 0, err
		}
		rest = after
		if part || string(typ) == "jxlc" {
			end = len(b) - len(rest)
		}
		if string(typ) == "jxlc" || part && len(body) >= 4 && body[0]&0x80 != 0 { // the last part
			return end, nil
		}
	}
	if end == 0 {
		return 0, corrupt(KindJXL, "it has no codestream")
	}
	return end, nil
}

// repairJXL removes everything after the codestream: metadata and appended data.
func repairJXL(b []byte) []byte {
	end, err := jxlEnd(b)
	if err != nil {
		return b
	}
	return b[:end]
}
