package resize

// WebP: RFC 9649. RIFF chunks of type, length and data, padded to an even length.

// webpChunk returns the first chunk of b and the bytes after it. rest is nil at the end. cut is
// true if the chunk is longer than b; body is then the part that exists.
func webpChunk(b []byte) (typ, body, rest []byte, cut bool) {
	if len(b) < 8 {
		return nil, nil, nil, false // too short for a chunk: padding
	}
	length := le32(b[4:])
	typ, b = b[:4], b[8:]
	if length > len(b) {
		return typ, b, nil, true
	}
	return typ, b[:length], b[min(length+length&1, len(b)):], false
}

// webpBody returns the chunks of a file. They end where the RIFF header says, or later if that is
// within a chunk or before one of WebP's own: some encoders count wrong.
func webpBody(b []byte) []byte {
	end := min(8+le32(b[4:]), len(b))
	for at := 12; len(b)-at >= 8 && (at < end || webpOwn(b[at:at+4])); {
		length := le32(b[at+4:])
		at = min(at+8+length+length&1, len(b))
		end = max(end, at)
	}
	return b[12:max(end, 12)]
}

// webpOwn reports whether typ is a chunk of RFC 9649.
func webpOwn(typ []byte) bool {
	switch string(typ) {
	case "VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF", "ICCP", "EXIF", "XMP ":
		return true
	}
	return false
}

func (h *Header) readWebP(b []byte) error {
	var err error
	h.Channels, h.BitDepth = 3, 8
	typ, body, rest, _ := webpChunk(webpBody(b))
	switch string(typ) {
	case "VP8 ", "VP8L":
		h.Width, h.Height, h.Alpha, err = webpBitstream(typ, body)
	case "VP8X":
		err = h.readVP8X(body, rest)
	default:
		err = corrupt(KindWebP, "its first chunk is not an image")
	}
	if h.Alpha {
		h.Channels = 4
	}
	return err
}

// readVP8X reads the extended format: canvas and flags from body, the other chunks from rest.
func (h *Header) readVP8X(body, rest []byte) error {
	if len(body) < 10 {
		return corrupt(KindWebP, "its extended header is truncated")
	}
	const animation, alpha = 0x02, 0x10 // without the alpha flag, decoders still use the image's alpha
	h.Animated, h.Alpha = body[0]&animation != 0, body[0]&alpha != 0
	h.Width, h.Height = 1+le24(body[4:]), 1+le24(body[7:])
	h.Frames = 0
	for rest != nil {
		var typ []byte
		typ, body, rest, _ = webpChunk(rest)
		switch string(typ) {
		case "VP8 ", "VP8L":
			if h.Animated || h.Frames > 0 {
				continue // decoders skip them
			}
			width, height, transparent, err := webpBitstream(typ, body)
			if err != nil {
				return err
			}
			h.Alpha = h.Alpha || transparent
			if width != h.Width || height != h.Height {
				return corrupt(KindWebP, "the canvas is %dx%d but the image %dx%d", h.Width, h.Height, width, height)
			}
			h.Frames = 1
		case "ALPH":
			h.Alpha = h.Alpha || !h.Animated
		case "ANMF":
			if !h.Animated {
				continue
			}
			if err := h.addWebPFrame(body); err != nil {
				return err
			}
		case "ICCP":
			h.Profile = true
		case "EXIF":
			if len(body) > 6 && string(body[:6]) == "Exif\x00\x00" {
				body = body[6:] // some encoders add JPEG's prefix
			}
			h.Orientation = exifOrientation(body)
		}
	}
	if h.Frames == 0 {
		return corrupt(KindWebP, "it has no image")
	}
	return nil
}

// addWebPFrame reads an ANMF chunk: the position of the frame in the canvas, and its bitstream.
func (h *Header) addWebPFrame(body []byte) error {
	if len(body) < 16 {
		return corrupt(KindWebP, "frame %d is truncated", h.Frames+1)
	}
	left, top := 2*le24(body), 2*le24(body[3:])
	width, height := 1+le24(body[6:]), 1+le24(body[9:])
	if left+width > h.Width || top+height > h.Height {
		return corrupt(KindWebP, "frame %d is not within the canvas", h.Frames+1)
	}
	for rest := body[16:]; rest != nil; {
		var typ []byte
		typ, body, rest, _ = webpChunk(rest)
		if string(typ) != "VP8 " && string(typ) != "VP8L" {
			continue
		}
		w, ht, _, err := webpBitstream(typ, body)
		if err != nil {
			return err
		}
		if w != width || ht != height {
			return corrupt(KindWebP, "frame %d is declared as %dx%d but is %dx%d", h.Frames+1, width, height, w, ht)
		}
		h.Frames++
		return nil
	}
	return corrupt(KindWebP, "frame %d has no image", h.Frames+1)
}

// webpBitstream reads the size and alpha of a VP8 key frame (RFC 6386, 9.1) or of VP8L
// (RFC 9649, 3.4).
func webpBitstream(typ []byte, b []byte) (width, height int, alpha bool, err error) {
	if string(typ) == "VP8 " {
		if len(b) < 10 || b[0]&1 != 0 || string(b[3:6]) != "\x9d\x01\x2a" {
			return 0, 0, false, corrupt(KindWebP, "its VP8 stream does not begin with a key frame")
		}
		return le16(b[6:]) & 0x3fff, le16(b[8:]) & 0x3fff, false, nil
	}
	if len(b) < 5 || b[0] != 0x2f || b[4]>>5 != 0 {
		return 0, 0, false, corrupt(KindWebP, "its VP8L stream has no header")
	}
	bits := le32(b[1:])
	return 1 + bits&0x3fff, 1 + bits>>14&0x3fff, bits>>28&1 != 0, nil
}

// completeWebP checks that all chunks lie within the file. If the file is shorter than the RIFF header
// says, which some encoders miscount, a chunk may be missing: the frames of an animation and
// the orientation are then checked too.
func completeWebP(b []byte) error {
	const flagsAt, animationFlag, exifFlag = 12 + 8, 0x02, 0x08
	exif := false
	for rest := webpBody(b); rest != nil; {
		var cut bool
		var typ []byte
		if typ, _, rest, cut = webpChunk(rest); cut {
			return corrupt(KindWebP, "truncated within a chunk")
		}
		exif = exif || string(typ) == "EXIF"
	}
	missing := 8 + le32(b[4:]) - len(b)
	if missing <= 1 || len(b) <= flagsAt || string(b[12:16]) != "VP8X" { // 1: the padding
		return nil
	}
	if flags := b[flagsAt]; flags&animationFlag != 0 || flags&exifFlag != 0 && !exif {
		return corrupt(KindWebP, "it has %d of its %d bytes", len(b), len(b)+missing)
	}
	return nil
}
