package vips

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Savers write metadata even when asked not to: libvips 8.14.1 gives every WebP of a photo an EXIF
// block of its own, and every PNG a resolution. The functions here remove it.

var errLayout = errors.New("unexpected layout of the encoder's output")

// stripWebP returns file with only the image or its frames, and their alpha: without the chunks
// EXIF, XMP and ICCP, and without the extended header (VP8X) if nothing needs it. It overwrites
// file.
func stripWebP(file []byte) ([]byte, error) {
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
			out = append(out, chunk...) // never overtakes the read position
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

// stripPNG returns file with only the chunks that its pixels need. It overwrites file.
func stripPNG(file []byte) ([]byte, error) {
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
