package resize

import (
	"bytes"
	"compress/lzw"
	"io"
)

// GIF89a: a screen descriptor, then blocks. Images and extensions are chains of sub-blocks of
// at most 255 bytes, terminated by an empty one.

func (h *Header) readGIF(b []byte) error {
	// A file that is truncated within its frames still has a header.
	last, err := h.walkGIF(b)
	if err != nil && h.Frames == 0 {
		return err
	}
	if h.Frames == 0 {
		return corrupt(KindGIF, "it has no image")
	}
	h.Animated = h.Frames > 1
	if h.Alpha = last.transparent || last.uncovered; h.Alpha {
		h.Channels = 4
	}
	return nil
}

// completeGIF walks to the trailer, or to the end of the last frame if the trailer is missing.
func completeGIF(b []byte) error {
	var h Header
	last, err := h.walkGIF(b)
	if err != nil && !last.complete(b) {
		return err
	}
	if h.Frames == 0 {
		return corrupt(KindGIF, "it has no image")
	}
	return nil
}

// gifEnd describes the end of a GIF.
type gifEnd struct {
	at      int  // offset after the last complete block
	trailer bool // the trailer is at this offset
	// cut is the offset of the sub-blocks of an image that is cut within them, or 0, and pixels
	// is the number of its pixels.
	cut, pixels int
	code        int  // the LZW code size of that image
	pending     bool // the properties of an image have been read, but not yet the image
	transparent bool // a colour is transparent
	uncovered   bool // parts of the canvas are, because no frame covers them, or one is removed
	disposal    byte // of the next image
	restores    bool // all images restore what was before them: a transparent canvas
	removed     bool // the last image is removed before the next one
	// right and bottom are the extent of the first frame.
	right, bottom int
}

// The disposal of a frame, in the flags of its control: what happens to its area before the next frame.
const (
	gifDisposal = 7 << 2
	gifClear    = 2 << 2 // it becomes transparent
	gifRestore  = 3 << 2 // it becomes what it was before the frame
)

// walkGIF reads the screen descriptor and counts the frames. Without an error b ends after a
// complete block, with or without a trailer.
func (h *Header) walkGIF(b []byte) (last gifEnd, err error) {
	h.Frames = 0
	last.restores = true
	h.BitDepth, h.Channels = 8, 3
	if len(b) < 13 {
		return last, corrupt(KindGIF, "truncated within its header")
	}
	h.Width, h.Height = le16(b[6:]), le16(b[8:])
	at := 13 + gifTable(b[10])
	for at < len(b) {
		last.at = at
		block := b[at]
		at++
		switch block {
		case 0x00: // padding by some encoders
		case 0x3b:
			last.trailer = true
			return last, nil
		case 0x21:
			if len(b)-at < 1 {
				return last, corrupt(KindGIF, "truncated within a block")
			}
			label := b[at]
			if label == 0xf9 { // the next image's control
				last.pending = true
			}
			if label == 0xf9 && len(b)-at >= 6 && b[at+1] == 4 {
				last.transparent = last.transparent || b[at+2]&1 != 0
				last.disposal = b[at+2] & gifDisposal
			}
			if at, err = gifSubBlocks(b, at+1); err != nil {
				return last, err
			}
		case 0x2c:
			if len(b)-at < 9 {
				return last, corrupt(KindGIF, "truncated within a block")
			}
			d := b[at : at+9]
			last.pending = false
			last.uncovered = last.uncovered || last.removed
			last.restores = last.restores && last.disposal == gifRestore
			last.removed = last.restores || last.disposal == gifClear
			last.disposal = 0
			if h.Frames == 0 {
				last.right, last.bottom = le16(d)+le16(d[4:]), le16(d[2:])+le16(d[6:])
			}
			if h.addGIFFrame(d); h.Frames == 1 {
				covered := le16(d) == 0 && le16(d[2:]) == 0 && last.right == h.Width && last.bottom == h.Height
				last.uncovered = last.uncovered || !covered
			}
			at += 9 + gifTable(d[8]) + 1 // and the LZW code size
			data := at
			if at, err = gifSubBlocks(b, at); err != nil {
				if data < len(b) {
					last.cut, last.pixels, last.code = data, le16(d[4:])*le16(d[6:]), int(b[data-1])
				}
				return last, err
			}
		default:
			if h.Frames > 0 && !gifFrameIn(b[at:], *h) {
				return last, nil // appended data in place of the trailer
			}
			return last, corrupt(KindGIF, "it has a block of type %x", block)
		}
	}
	if at > len(b) {
		return last, corrupt(KindGIF, "truncated within its colour table")
	}
	if last.pending {
		return last, corrupt(KindGIF, "truncated before an image")
	}
	last.at = at
	return last, nil
}

// gifFrameIn reports whether a complete frame within the canvas begins anywhere in b.
func gifFrameIn(b []byte, h Header) bool {
	for ; len(b) > 11; b = b[1:] {
		if b[0] != 0x2c {
			continue
		}
		d := b[1:10]
		width, height := le16(d[4:]), le16(d[6:])
		if width < 1 || height < 1 || le16(d)+width > h.LargestWidth || le16(d[2:])+height > h.LargestHeight {
			continue
		}
		if data := 10 + gifTable(d[8]); data < len(b)-1 && b[data] >= 2 && b[data] <= 8 && b[data+1] > 0 {
			return true
		}
	}
	return false
}

// complete reports whether all pixels of the image that is cut are in b.
func (e gifEnd) complete(b []byte) bool {
	if e.cut == 0 || e.code < 2 || e.code > 8 {
		return false
	}
	r := lzw.NewReader(bytes.NewReader(gifData(b[e.cut:])), lzw.LSB, e.code)
	n, _ := io.CopyN(io.Discard, r, int64(e.pixels))
	return n == int64(e.pixels)
}

// gifData returns the content of a chain of sub-blocks that may be truncated.
func gifData(b []byte) (data []byte) {
	for len(b) > 1 && b[0] > 0 {
		end := min(1+int(b[0]), len(b))
		data, b = append(data, b[1:end]...), b[end:]
	}
	return data
}

// addGIFFrame reads an image descriptor: left, top, width, height, flags. The canvas is the screen,
// or the size that the first frame needs if that is larger, as in Firefox and libnsgif.
func (h *Header) addGIFFrame(d []byte) {
	right, bottom := le16(d)+le16(d[4:]), le16(d[2:])+le16(d[6:])
	if h.Frames == 0 {
		h.Progressive = d[8]&0x40 != 0
		if h.Width == 0 || h.Height == 0 { // no screen
			h.Width, h.Height = 0, 0
		}
		h.Width, h.Height = max(h.Width, right), max(h.Height, bottom)
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
