package resize

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
	for {
		if typ, body, at, err = pngChunk(b, at); err != nil {
			return err
		}
		switch string(typ) {
		case "IDAT":
			return nil
		case "IEND":
			return corrupt(KindPNG, "it has no image")
		case "IHDR":
			return corrupt(KindPNG, "it has two headers")
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
			h.Profile = true
		case "eXIf":
			h.Orientation = exifOrientation(body)
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

// completePNG walks to IEND.
func completePNG(b []byte) error {
	picture := false
	for at := len(pngMagic); ; {
		typ, _, next, err := pngChunk(b, at)
		if err != nil {
			return err
		}
		at = next
		switch string(typ) {
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
