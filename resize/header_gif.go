package resize

// GIF89a: a screen descriptor, then blocks. Images and extensions are chains of sub-blocks of
// at most 255 bytes, terminated by an empty one.

func (h *Header) readGIF(b []byte) error {
	// A file that is truncated within its frames still has a header.
	if _, err := h.walkGIF(b); err != nil && h.Frames == 0 {
		return err
	}
	if h.Frames == 0 {
		return corrupt(KindGIF, "it has no image")
	}
	h.Animated = h.Frames > 1
	if h.Alpha {
		h.Channels = 4
	}
	return nil
}

// completeGIF walks to the trailer.
func completeGIF(b []byte) error {
	h := Header{}
	trailer, err := h.walkGIF(b)
	switch {
	case err != nil:
		return err
	case !trailer:
		return corrupt(KindGIF, "it ends without a trailer")
	case h.Frames == 0:
		return corrupt(KindGIF, "it has no image")
	}
	return nil
}

// walkGIF reads the screen descriptor and counts the frames. trailer is false if b ends after
// a complete block without a trailer.
func (h *Header) walkGIF(b []byte) (trailer bool, err error) {
	h.Frames = 0
	h.BitDepth, h.Channels = 8, 3
	if len(b) < 13 {
		return false, corrupt(KindGIF, "truncated within its header")
	}
	h.Width, h.Height = le16(b[6:]), le16(b[8:])
	at := 13 + gifTable(b[10])
	for at < len(b) {
		block := b[at]
		at++
		switch block {
		case 0x00: // padding by some encoders
		case 0x3b:
			return true, nil
		case 0x21:
			if len(b)-at < 1 {
				return false, corrupt(KindGIF, "truncated within a block")
			}
			label := b[at]
			if label == 0xf9 && len(b)-at >= 6 && b[at+1] == 4 && b[at+2]&1 != 0 {
				h.Alpha = true
			}
			if at, err = gifSubBlocks(b, at+1); err != nil {
				return false, err
			}
		case 0x2c:
			if len(b)-at < 9 {
				return false, corrupt(KindGIF, "truncated within a block")
			}
			h.addGIFFrame(b[at : at+9])
			at += 9 + gifTable(b[at+8]) + 1 // and the LZW code size
			if at, err = gifSubBlocks(b, at); err != nil {
				return false, err
			}
		default:
			return false, corrupt(KindGIF, "it has a block of type %x", block)
		}
	}
	if at > len(b) {
		return false, corrupt(KindGIF, "truncated within its colour table")
	}
	return false, nil
}

// addGIFFrame reads an image descriptor: left, top, width, height, flags.
func (h *Header) addGIFFrame(d []byte) {
	right, bottom := le16(d)+le16(d[4:]), le16(d[2:])+le16(d[6:])
	if h.Frames == 0 {
		h.Progressive = d[8]&0x40 != 0
		if h.Width == 0 || h.Height == 0 { // without a screen size, decoders use the first frame's
			h.Width, h.Height = right, bottom
		}
	}
	h.widen(right, bottom)
	h.Frames++
}

// gifTable returns the length in bytes of the colour table that flags announce.
func gifTable(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

// gifSubBlocks returns the offset after the chain of sub-blocks at b[at].
func gifSubBlocks(b []byte, at int) (next int, err error) {
	for at < len(b) {
		n := int(b[at])
		at += 1 + n
		if n == 0 {
			return at, nil
		}
	}
	return 0, corrupt(KindGIF, "truncated within a block")
}
