package resize

import (
	"bytes"
	"compress/lzw"
	"encoding/binary"
)

// repairGIF adds a missing trailer, and a transparent first frame where libnsgif would not use the
// canvas of the header, or where libvips would show the parts that no frame covers as black,
// because no colour is transparent.
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
	if width, height := libnsgifCanvas(b, last); width == h.Width && height == h.Height &&
		(last.transparent || !last.uncovered) {
		return Repaired{Bytes: out}
	}
	head := 13 + gifTable(b[10])
	framed := append([]byte(nil), out[:head]...)
	framed = append(framed, blankGIFFrame(h.Width, h.Height)...)
	return Repaired{Bytes: append(framed, out[head:]...), Skip: 1}
}

// libnsgifCanvas returns the canvas that libnsgif uses. It takes some screen sizes for those of the
// screen that the GIF was made on, and uses the first frame's size instead (nsgif_data_scan).
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
