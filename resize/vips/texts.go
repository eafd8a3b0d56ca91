package vips

import (
	"bytes"
	"encoding/binary"

	"github.com/novasocial/imagetier/resize"
)

// withoutCompressedTexts returns original, or a copy without compressed texts if it is a PNG that
// has them. libvips decompresses each of them several times: 200 texts of 8 MiB, which fit in a
// file of 1.6 MB, take it 12 s, and no variant contains them. Other kinds and broken files are
// returned unchanged.
func withoutCompressedTexts(original []byte) []byte {
	const magic, frame = 8, 12 // frame: length, name and checksum of a chunk
	if resize.KindOf(original) != resize.KindPNG {
		return original
	}
	var kept []byte
	for rest := original[magic:]; len(rest) > 0; {
		if len(rest) < frame {
			return original
		}
		length := frame + int(binary.BigEndian.Uint32(rest))
		if length > len(rest) {
			return original
		}
		switch name := string(rest[4:8]); {
		case compressedText(name, rest[8:length-4]):
			if kept == nil {
				kept = append(make([]byte, 0, len(original)), original[:len(original)-len(rest)]...)
			}
		case kept != nil:
			kept = append(kept, rest[:length]...)
			if name == "IEND" {
				return kept
			}
		case name == "IEND":
			return original
		}
		rest = rest[length:]
	}
	return original
}

// compressedText reports whether a PNG chunk is a compressed text. In an iTXt, the byte after the
// keyword and a zero says whether it is compressed.
func compressedText(name string, body []byte) bool {
	switch name {
	case "zTXt":
		return true
	case "iTXt":
		_, rest, _ := bytes.Cut(body, []byte{0})
		return len(rest) > 0 && rest[0] != 0
	}
	return false
}
