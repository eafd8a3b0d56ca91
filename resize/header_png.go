package resize

import (
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// PNG: W3C PNG, third edition (2025), including APNG. Chunks of length, type, data and CRC.

const pngMagic = "\x89PNG\r\n\x1a\n"

// pngChunk returns the chunk at b[at] and the offset after it.
func pngChunk(b []byte, at int) (typ, body []byte, next int, err error) {
	if len(b)-at < 12 {
		return nil, nil, 0, corrupt(KindPNG, "truncated before IEND")
	}
	length := be32(b[at:])
	if length > 1<<31-1 {
		return nil, nil, 0, corrupt(KindPNG, "a chunk has the length %d", length)
	}
	if length > len(b)-at-12 {
		return nil, nil, 0, corrupt(KindPNG, "truncated within a chunk")
	}
	return b[at+4 : at+8], b[at+8 : at+8+length], at + 12 + length, nil
}

func (h *Header) readPNG(b []byte) error {
	typ, body, at, err := pngChunk(b, len(pngMagic))
	if err != nil {
		return err
	}
	if string(typ) == "CgBI" {
		return unsupported(KindPNG, "modified by Xcode for iOS (CgBI)")
	}
	if string(typ) != "IHDR" || len(body) != 13 {
		return corrupt(KindPNG, "it does not begin with IHDR")
	}
	if err := h.readIHDR(body); err != nil {
		return err
	}
	for picture := false; ; {
		// The image data may be truncated, and chunks after it missing: see completePNG.
		picture = picture || len(b)-at >= 8 && string(b[at+4:at+8]) == "IDAT"
		if typ, body, at, err = pngChunk(b, at); err != nil {
			if picture {
				return nil
			}
			return err
		}
		switch string(typ) {
		case "IEND":
			if !picture {
				return corrupt(KindPNG, "it has no image")
			}
			return nil
		case "IHDR":
			return corrupt(KindPNG, "it has two headers")
		case "eXIf":
			h.Orientation = exifOrientation(body)
		default:
			if !picture {
				err = h.readPNGChunk(string(typ), body)
			}
		}
		if err != nil {
			return err
		}
	}
}

// readPNGChunk reads a chunk that must come before the image data.
func (h *Header) readPNGChunk(typ string, body []byte) error {
	switch typ {
	case "acTL":
		if len(body) != 8 || be32(body) < 1 {
			return corrupt(KindPNG, "its animation has no frames")
		}
		h.Frames, h.Animated = be32(body), true
	case "tRNS":
		if !h.Alpha {
			h.Alpha = true
			h.Channels++
		}
	case "iCCP":
		h.Profile = !h.Colour.Coded
	case "cICP", "sRGB", "gAMA", "cHRM":
		h.readPNGColour(typ, body)
	}
	return nil
}

// readPNGColour reads a chunk about colours. cICP counts before all others, sRGB before gAMA and cHRM.
func (h *Header) readPNGColour(typ string, body []byte) {
	c := &h.Colour
	switch {
	case typ == "cICP" && len(body) == 4:
		*c, h.Profile = Colour{
			Primaries: int(body[0]), Transfer: int(body[1]), Identity: true, Narrow: body[3] == 0, Coded: true,
		}, false
	case typ == "sRGB" && c.Transfer == 0:
		*c = Colour{Primaries: 1, Transfer: 13}
	case typ == "gAMA" && len(body) == 4 && c.Transfer == 0:
		if n := be32(body); n >= 1_000 && n <= 1_000_000 { // exponents of 0.01 to 10
			c.Gamma = n
		}
	case typ == "cHRM" && len(body) == 32 && c.Transfer == 0:
		for i := range c.Chromaticities {
			c.Chromaticities[i] = be32(body[4*i:])
		}
	}
}

// readIHDR parses the header chunk (section 11.2.1).
func (h *Header) readIHDR(body []byte) error {
	h.Width, h.Height, h.BitDepth = be32(body), be32(body[4:]), int(body[8])
	if h.Width > 1<<31-1 || h.Height > 1<<31-1 {
		return corrupt(KindPNG, "it is %dx%d pixels", h.Width, h.Height)
	}
	const ( // sets of bit depths
		d1, d2, d4, d8, d16 = 1 << 1, 1 << 2, 1 << 4, 1 << 8, 1 << 16
	)
	allowed := 0
	switch body[9] {
	case 0: // greyscale
		h.Channels, allowed = 1, d1|d2|d4|d8|d16
	case 2: // colour
		h.Channels, allowed = 3, d8|d16
	case 3: // palette
		h.Channels, allowed = 3, d1|d2|d4|d8
	case 4: // greyscale and alpha
		h.Channels, h.Alpha, allowed = 2, true, d8|d16
	case 6: // colour and alpha
		h.Channels, h.Alpha, allowed = 4, true, d8|d16
	}
	if h.BitDepth > 16 || allowed&(1<<h.BitDepth) == 0 || body[10] != 0 || body[11] != 0 || body[12] > 1 {
		return corrupt(KindPNG, "colour type %d with %d bits, compression %d, filter %d, interlace %d",
			body[9], body[8], body[10], body[11], body[12])
	}
	h.Progressive = body[12] == 1
	return nil
}

// completePNG walks to IEND. Without it, the image data must be complete. libpng ignores a tRNS whose
// checksum is wrong, and would make the picture opaque.
func completePNG(b []byte) error {
	picture := false
	for at := len(pngMagic); ; {
		typ, _, next, err := pngChunk(b, at)
		if err != nil {
			if !pngPixels(b) {
				return corrupt(KindPNG, "truncated within its image")
			}
			return nil
		}
		chunk := b[at:next]
		at = next
		switch string(typ) {
		case "tRNS":
			if crc32.ChecksumIEEE(chunk[4:len(chunk)-4]) != binary.BigEndian.Uint32(chunk[len(chunk)-4:]) {
				return corrupt(KindPNG, "its transparency is damaged")
			}
		case "IDAT":
			picture = true
		case "IEND":
			if !picture {
				return corrupt(KindPNG, "it has no image")
			}
			return nil
		}
	}
}

// pngPixels reports whether the image data of a truncated PNG has all pixels. It decompresses
// them.
func pngPixels(b []byte) bool {
	var h Header
	if h.readPNG(b) != nil {
		return false
	}
	r, err := zlib.NewReader(&pngData{rest: b[len(pngMagic):]})
	if err != nil {
		return false
	}
	want := pngBytes(b)
	n, _ := io.CopyN(io.Discard, r, want)
	return n == want
}

// pngBytes returns the number of bytes of the decompressed image data: the rows of each pass, each
// with a byte for its filter.
func pngBytes(b []byte) (n int64) {
	ihdr := b[len(pngMagic)+8:]
	width, height, bits := int64(be32(ihdr)), int64(be32(ihdr[4:])), int64(ihdr[8])
	bits *= map[byte]int64{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[ihdr[9]]
	passes := [][4]int64{{0, 0, 1, 1}}
	if ihdr[12] == 1 { // Adam7: left, top, and the steps to the right and down
		passes = [][4]int64{
			{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
		}
	}
	for _, p := range passes {
		columns, rows := (width-p[0]+p[2]-1)/p[2], (height-p[1]+p[3]-1)/p[3]
		if columns > 0 && rows > 0 {
			n += rows * (1 + (columns*bits+7)/8)
		}
	}
	return n
}

// pngData reads the content of the IDAT chunks of a PNG that may be truncated.
type pngData struct {
	data, rest []byte // of the current chunk, and after it
}

func (d *pngData) Read(p []byte) (int, error) {
	for len(d.data) == 0 {
		if len(d.rest) <= 8 {
			return 0, io.EOF
		}
		length, typ := be32(d.rest), string(d.rest[4:8])
		body := d.rest[8:min(8+length, len(d.rest))]
		d.rest = d.rest[min(12+length, len(d.rest)):]
		switch typ {
		case "IDAT":
			d.data = body
		case "IEND":
			return 0, io.EOF
		}
	}
	n := copy(p, d.data)
	d.data = d.data[n:]
	return n, nil
}
