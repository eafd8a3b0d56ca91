package resize

import (
	"bytes"
	"encoding/binary"
)

// repairWebP ends the file after its last chunk, with that length in the RIFF header, and pads that
// chunk: libwebp refuses other lengths. It sets the flag of alpha where the image has alpha, because
// libvips looks only at the flag.
func repairWebP(b []byte, h Header) []byte {
	const flagsAt, alphaFlag = 12 + 8, 0x10
	b = endWebP(b)
	if h.Alpha && string(b[12:16]) == "VP8X" && b[flagsAt]&alphaFlag == 0 {
		b = bytes.Clone(b)
		b[flagsAt] |= alphaFlag
	}
	return b
}

// endWebP returns b with the right end and length.
func endWebP(b []byte) []byte {
	end := 12
	for rest := webpBody(b); len(rest) >= 8; {
		_, body, after, _ := webpChunk(rest)
		end += 8 + len(body)
		if after == nil {
			break
		}
		end += len(body) & 1
		rest = after
	}
	if 8+le32(b[4:]) == end+end&1 && end+end&1 <= len(b) {
		return b
	}
	out := append(make([]byte, 0, end+1), b[:min(end, len(b))]...)
	out = append(out, make([]byte, len(out)&1)...)
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

// firstWebPFrame returns an animation of one frame. libwebp takes time for the number of frames squared
// to open an animation: 56 s for 100,000 of one pixel.
func firstWebPFrame(b []byte) []byte {
	out := append([]byte(nil), b[:12]...)
	for rest := webpBody(b); len(rest) >= 8; {
		typ, body, after, _ := webpChunk(rest)
		if typ := string(typ); typ == "VP8X" || typ == "ICCP" || typ == "ANIM" || typ == "ANMF" {
			out = append(out, rest[:min(8+len(body)+len(body)&1, len(rest))]...)
			if typ == "ANMF" {
				break
			}
		}
		rest = after
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}
