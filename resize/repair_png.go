package resize

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"io"
)

// repairPNG returns b with only the chunks that its pixels need, in the order that decoders want, if
// libpng would stumble over another one: compressed texts, which libvips decompresses several
// times (200 texts of 8 MiB, which fit in a file of 1.6 MB, take it 12 s), tRNS before PLTE, which
// libpng refuses, and a missing IEND or checksum of the pixels.
func repairPNG(b []byte) []byte {
	if pngInOrder(b) {
		return b
	}
	var out, transparency, palette []byte
	out = append(make([]byte, 0, len(b)+12), pngMagic...)
	head := func() { // before the first IDAT
		out = append(append(out, palette...), transparency...)
		palette, transparency = nil, nil
	}
	for at := len(pngMagic); len(b)-at > 8; {
		length := min(be32(b[at:]), len(b)-at-8)
		body := b[at+8 : at+8+length]
		chunk := b[at:min(at+12+length, len(b))]
		typ := string(b[at+4 : at+8])
		at += len(chunk)
		switch typ {
		case "IHDR", "iCCP": // the palette must come after iCCP
			out = append(out, chunk...)
		case "PLTE":
			palette = chunk
		case "tRNS":
			transparency = chunk
		case "IDAT":
			head()
			if len(chunk) < 12+be32(chunk) { // truncated, after the last pixel
				chunk = pngChunkOf(typ, body)
			}
			out = append(out, chunk...)
		case "IEND":
			return append(out, pngEnd...)
		}
	}
	if sum := missingChecksum(b); len(sum) > 0 {
		out = append(out, pngChunkOf("IDAT", sum)...)
	}
	return append(out, pngEnd...)
}

// missingChecksum returns the missing end of the checksum that follows the compressed pixels of a
// truncated PNG.
func missingChecksum(b []byte) []byte {
	data := bufio.NewReader(&pngData{rest: b[len(pngMagic):]})
	if _, err := data.Discard(2); err != nil { // the header of zlib
		return nil
	}
	pixels, sum := flate.NewReader(data), adler32.New() // flate reads no byte too many from a bufio.Reader
	want := pngBytes(b)
	if n, err := io.CopyN(sum, pixels, want+1); n != want || err != io.EOF {
		return nil
	}
	there, _ := io.CopyN(io.Discard, data, 4)
	return sum.Sum(nil)[there:]
}

// pngInOrder reports whether libpng reads b as it is.
func pngInOrder(b []byte) bool {
	transparency := false
	for at := len(pngMagic); ; {
		typ, body, next, err := pngChunk(b, at)
		if err != nil {
			return false
		}
		at = next
		switch string(typ) {
		case "PLTE":
			if transparency {
				return false
			}
		case "tRNS":
			transparency = true
		case "zTXt":
			return false
		case "iTXt": // after the keyword and a zero, a byte says whether it is compressed
			if _, rest, _ := bytes.Cut(body, []byte{0}); len(rest) > 0 && rest[0] != 0 {
				return false
			}
		case "IEND":
			return bytes.Equal(b[next-len(pngEnd):next], pngEnd)
		}
	}
}

var pngEnd = pngChunkOf("IEND", nil)

// pngChunkOf returns a chunk.
func pngChunkOf(typ string, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, typ...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}
