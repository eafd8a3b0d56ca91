package vips

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// What savers write although nobody asked: libvips 8.14.1 gives every WebP that was a
// photo an EXIF block of its own making, strip or not, and every PNG a resolution.

var errLayout = errors.New("the encoder's output is not laid out as it should be")

// bareWebP returns file with nothing in it but the picture, or its frames, and their alpha: without the
// chunks EXIF, XMP and ICCP, and without the extended header (VP8X) where all that it
// would announce is gone. file is written over.
func bareWebP(file []byte) ([]byte, error) {
	const header, alphaFlag, animationFlag = 12, 0x10, 0x02
	if len(file) < header || string(file[:4]) != "RIFF" || string(file[8:12]) != "WEBP" {
		return nil, errLayout
	}
	out := file[:header]
	for rest := file[header:]; len(rest) > 0; {
		if len(rest) < 8 {
			return nil, errLayout
		}
		length := 8 + int(binary.LittleEndian.Uint32(rest[4:]))
		length += length & 1
		if length > len(rest) {
			return nil, errLayout
		}
		chunk := rest[:length]
		rest = rest[length:]
		switch string(chunk[:4]) {
		case "VP8X":
			if len(chunk) < 18 {
				return nil, errLayout
			}
			if chunk[8] &= alphaFlag | animationFlag; chunk[8] != 0 {
				out = append(out, chunk...)
			}
		case "ALPH", "VP8 ", "VP8L", "ANIM", "ANMF":
			out = append(out, chunk...) // never ahead of where it is read from
		}
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out, nil
}

// appendPNGChunk appends one chunk.
func appendPNGChunk(b []byte, name string, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	at := len(b)
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[at:]))
}

// barePNG returns file with nothing in it but the chunks that its pixels need. file is
// written over.
func barePNG(file []byte) ([]byte, error) {
	const magic = 8
	if len(file) < magic {
		return nil, errLayout
	}
	out := file[:magic]
	for rest := file[magic:]; len(rest) > 0; {
		if len(rest) < 12 {
			return nil, errLayout
		}
		length := 12 + int(binary.BigEndian.Uint32(rest))
		if length > len(rest) {
			return nil, errLayout
		}
		chunk := rest[:length]
		rest = rest[length:]
		switch string(chunk[4:8]) {
		case "IHDR", "PLTE", "tRNS", "IDAT", "IEND":
			out = append(out, chunk...)
		}
	}
	return out, nil
}
