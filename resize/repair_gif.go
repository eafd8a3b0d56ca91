package resize

import (
	"bufio"
	"bytes"
	"compress/lzw"
	"encoding/binary"
	"slices"
)

// repairGIF adds a missing trailer, a transparent colour where frames are cleared, and a transparent
// first frame where libnsgif would not use the canvas of the header, or where libvips would show the
// parts that no frame covers as black, because no colour is transparent.
func repairGIF(b []byte, h Header) Repaired {
	var walked Header
	last, err := walked.walkGIF(b)
	out := b
	switch {
	case last.trailer:
	case err != nil: // cut within the last image, after its last pixel
		out = append(append([]byte(nil), b[:last.cut]...), gifChain(gifData(b[last.cut:]))...)
		out = append(out, 0x3b)
	default:
		out = append(append([]byte(nil), b[:last.at]...), 0x3b)
	}
	if last.uncovered {
		out = clearableGIF(out)
	}
	if width, height := libnsgifCanvas(b, last); width == h.Width && height == h.Height &&
		(last.transparent || !last.uncovered) {
		return Repaired{Bytes: out}
	}
	head := 13 + gifTable(b[10])
	framed := append([]byte(nil), out[:head]...)
	framed = append(framed, blankGIFFrame(h.Width, h.Height)...)
	return Repaired{Bytes: append(framed, out[head:]...), Skip: 1}
}

// clearableGIF returns a copy of b, which must end with a trailer, in which every frame that is cleared
// after it was shown has a transparent colour, if one is left that no pixel has. Without one, libnsgif
// fills the frame with the background colour. Browsers always clear it, and optimizers rely on that.
func clearableGIF(b []byte) []byte {
	b = bytes.Clone(b)
	control := 0 // offset of the flags of the next frame, or 0
	restores := true
	for at := 13 + gifTable(b[10]); at < len(b); {
		var err error
		switch block := b[at:]; {
		case block[0] == 0x00:
			at++
		case block[0] == 0x21 && len(block) > 7:
			if block[1] == 0xf9 && block[2] == 4 {
				control = at + 3
			}
			at, err = gifSubBlocks(b, at+2)
		case block[0] == 0x2c && len(block) > 11:
			colours := gifTable(block[9]) / 3
			data := at + 10 + 3*colours
			if data >= len(b) {
				return b
			}
			if colours == 0 {
				colours = gifTable(b[10]) / 3
			}
			// libnsgif keeps a first frame that is to be replaced by what was before it.
			if restores = restores && control > 0 && b[control]&gifDisposal == gifRestore; restores {
				b[control] = b[control]&^gifDisposal | gifClear
			}
			const transparent = 1
			if control > 0 && b[control]&(gifDisposal|transparent) == gifClear {
				if free, ok := freeGIFColour(block[5:9], b[data:], colours); ok {
					b[control], b[control+3] = b[control]|transparent, free
				}
			}
			control = 0
			at, err = gifSubBlocks(b, data+1)
		default:
			return b
		}
		if err != nil {
			return b
		}
	}
	return b
}

// freeGIFColour returns the index of a colour that no pixel of a frame has. size is the frame's width
// and height, data its LZW code size and its sub-blocks.
func freeGIFColour(size, data []byte, colours int) (index byte, ok bool) {
	if colours < 256 {
		return 255, true
	}
	if data[0] < 2 || data[0] > 8 {
		return 0, false
	}
	var used [256]bool
	r := bufio.NewReader(lzw.NewReader(bytes.NewReader(gifData(data[1:])), lzw.LSB, int(data[0])))
	for range le16(size) * le16(size[2:]) {
		c, err := r.ReadByte()
		if err != nil {
			return 0, false
		}
		used[c] = true
	}
	free := slices.Index(used[:], false)
	return byte(max(free, 0)), free >= 0
}

// libnsgifCanvas returns the canvas that libnsgif uses. For some screen sizes, which it assumes to
// be the size of the display that the GIF was made on, libnsgif uses the first frame's size instead
// (nsgif_data_scan).
func libnsgifCanvas(b []byte, first gifEnd) (width, height int) {
	width, height = le16(b[6:]), le16(b[8:])
	switch [2]int{width, height} {
	case [2]int{640, 480}, [2]int{640, 512}, [2]int{800, 600},
		[2]int{1024, 768}, [2]int{1280, 1024}, [2]int{1600, 1200}:
		width, height = 1, 1
	}
	if width == 0 || height == 0 || width > 2048 || height > 2048 {
		width, height = 1, 1
	}
	return max(width, first.right), max(height, first.bottom)
}

// blankGIFFrame returns a frame of that size without a delay, all of whose pixels are transparent.
func blankGIFFrame(width, height int) []byte {
	var data bytes.Buffer
	w := lzw.NewWriter(&data, lzw.LSB, 2)
	row := make([]byte, width)
	for range height {
		w.Write(row) //nolint:errcheck // a bytes.Buffer never fails
	}
	w.Close()                                                   //nolint:errcheck
	b := []byte{0x21, 0xf9, 4, 1, 0, 0, 0, 0, 0x2c, 0, 0, 0, 0} // transparent index 0
	b = binary.LittleEndian.AppendUint16(b, uint16(width))
	b = binary.LittleEndian.AppendUint16(b, uint16(height))
	b = append(b, 0x81)                // four colours of its own
	b = append(b, make([]byte, 12)...) // all black
	return append(append(b, 2), gifChain(data.Bytes())...)
}

// gifChain splits data into sub-blocks.
func gifChain(data []byte) (chain []byte) {
	for len(data) > 0 {
		n := min(len(data), 255)
		chain = append(append(chain, byte(n)), data[:n]...)
		data = data[n:]
	}
	return append(chain, 0)
}
