package resize

import (
	"encoding/binary"
	"slices"
)

// repairJPEG adds EOI where it is missing, and the height where only DNL gives it. Decoders take the end of the
// file for a truncation, and zeros or appended data for the rest of a scan; they do not read DNL.
func repairJPEG(b []byte, h Header) []byte {
	end, eoi, err := jpegEnd(b)
	if err != nil {
		return b
	}
	frame := jpegFrameAt(b)
	height := b[frame+1 : frame+3]
	if eoi && be16(height) != 0 {
		return b
	}
	b = slices.Concat(b[:end], []byte{0xff, jpegEOI})
	binary.BigEndian.PutUint16(b[frame+1:], uint16(h.Height))
	return b
}

// jpegFrameAt returns the offset of the body of the frame header.
func jpegFrameAt(b []byte) int {
	for at := 2; ; {
		marker, body, next, err := jpegSegment(b, at)
		if err != nil {
			return 0
		}
		if at = next; jpegFrame(marker) {
			return next - len(body)
		}
	}
}
