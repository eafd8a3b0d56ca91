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

// webpBody returns the chunks of a file, up to the length in the RIFF header or the end of b.
func webpBody(b []byte) (chunks []byte, err error) {
	length := le32(b[4:])
	if length < 12 {
		return nil, corrupt(KindWebP, "its length field is %d", length)
	}
	return b[12:min(8+length, len(b))], nil
}

func (h *Header) readWebP(b []byte) error {
	chunks, err := webpBody(b)
	if err != nil {
		return err
	}
	h.Channels, h.BitDepth = 3, 8
	typ, body, rest, _ := webpChunk(chunks)
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
	const animation, alpha = 0x02, 0x10
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
			width, height, _, err := webpBitstream(typ, body)
			if err != nil {
				return err
			}
			if width != h.Width || height != h.Height {
				return corrupt(KindWebP, "the canvas is %dx%d but the image %dx%d", h.Width, h.Height, width, height)
			}
			h.Frames = 1
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

// completeWebP checks that all chunks lie within the length in the RIFF header, and that within
// the file.
func completeWebP(b []byte) error {
	chunks, err := webpBody(b)
	if err != nil {
		return err
	}
	if 8+le32(b[4:]) > len(b) {
		return corrupt(KindWebP, "it has %d of its %d bytes", len(b), 8+le32(b[4:]))
	}
	for rest := chunks; rest != nil; {
		var cut bool
		if _, _, rest, cut = webpChunk(rest); cut {
			return corrupt(KindWebP, "truncated within a chunk")
		}
	}
	return nil
}
