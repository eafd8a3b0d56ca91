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
// libpng refuses, a missing IEND or checksum of the pixels, and a window of zlib that is too small.
func repairPNG(b []byte) []byte {
	if pngInOrder(b) {
		return b
	}
	var out, transparency, palette []byte
	first := true
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
			if first && narrowWindow(b, body) {
				chunk = pngChunkOf(typ, widestWindow(body))
			} else if len(chunk) < 12+be32(chunk) { // truncated, after the last pixel
				chunk = pngChunkOf(typ, body)
			}
			first = first && len(body) == 0
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

// narrowWindow reports whether the pixels, which begin with data, have a smaller window than zlib's largest and than
// they need if it is wrong. Some encoders wrote a window that is too small; libpng then refuses what other decoders
// read.
func narrowWindow(b, data []byte) bool {
	if len(data) < 2 || data[0]>>4 >= 7 {
		return false
	}
	return pngBytes(b) > 1<<(data[0]>>4+8)
}

// widestWindow returns a copy of zlib's data with its largest window, 32 KiB, in its header (RFC 1950, 2.2).
func widestWindow(data []byte) []byte {
	data = bytes.Clone(data)
	data[0] |= 7 << 4
	data[1] &^= 31
	data[1] += byte(31 - be16(data)%31)
	return data
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
	transparency, first := false, true
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
		case "IDAT":
			if first && narrowWindow(b, body) {
				return false
			}
			first = first && len(body) == 0
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
