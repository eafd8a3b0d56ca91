package resize

import (
	"encoding/binary"
	"strings"
)

// Parts of small synthetic files. Numbers are big-endian (u) or little-endian (l), of 16, 24 or 32 bits.

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func u32(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func l16(n int) string { return string(binary.LittleEndian.AppendUint16(nil, uint16(n))) }

func l24(n int) string { return l32(n)[:3] }

func l32(n int) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(n))) }

func jpegPart(marker byte, body string) string {
	return "\xff" + string([]byte{marker}) + u16(2+len(body)) + body
}

func jpegSOF(marker byte, width, height, components int) string {
	return jpegPart(
		marker,
		"\x08"+u16(height)+u16(width)+string([]byte{byte(components)})+strings.Repeat("\x01\x11\x00", components),
	)
}

const jpegScan = "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + "data\xff\x00data\xff\xd0data"

func pngPart(typ, body string) string { return u32(len(body)) + typ + body + "\x00\x00\x00\x00" }

func pngIHDR(width, height int, rest string) string {
	return pngPart("IHDR", u32(width)+u32(height)+rest)
}

func riff(chunks string) string { return "RIFF" + l32(4+len(chunks)) + "WEBP" + chunks }

func webpPart(typ, body string) string { return typ + l32(len(body)) + body + "\x00"[:len(body)&1] }

func vp8(width, height int) string { return "\x00\x00\x00\x9d\x01\x2a" + l16(width) + l16(height) }

func box(typ string, body string) string { return u32(8+len(body)) + typ + body }

func vp8x(flags byte, width, height int) string {
	return webpPart("VP8X", string([]byte{flags, 0, 0, 0})+l24(width-1)+l24(height-1))
}

func anmf(left, top, width, height int, chunks string) string {
	return webpPart("ANMF", l24(left/2)+l24(top/2)+l24(width-1)+l24(height-1)+"\x00\x00\x00\x00"+chunks)
}

func vp8l(width, height int) string { return "\x2f" + l32(width-1|(height-1)<<14) }

func gif(width, height int, blocks string) string {
	return "GIF89a" + l16(width) + l16(height) + "\x00\x00\x00" + blocks
}

func gifFrame(left, top, width, height int) string {
	return "\x2c" + l16(left) + l16(top) + l16(width) + l16(height) + "\x00" + "\x02" + "\x02\x4c\x01\x00"
}

// tiffFile returns a TIFF with one directory, whose entries have one LONG each, and a strip of 4
// bytes.
func tiffFile(entries ...[2]int) string { return tiffPages(entries) }

// tiffPages returns a TIFF with several directories.
func tiffPages(pages ...[][2]int) string {
	s := "II*\x00" + l32(12) + "data"
	for i, entries := range pages {
		entries = append(entries, [2]int{tagStrips, 8}, [2]int{tagStripBytes, 4})
		s += l16(len(entries))
		for _, e := range entries {
			s += l16(e[0]) + l16(4) + l32(1) + l32(e[1])
		}
		if i < len(pages)-1 {
			s += l32(len(s) + 4)
		}
	}
	return s + l32(0)
}

// heif returns a file with one item and its properties, associated in order. If itemType is
// "grid", the tiles are item 2, and the last property belongs to that item.
func heif(brand, itemType string, extraMeta string, itemBytes string, properties ...string) string {
	own := len(properties)
	if itemType == "grid" {
		own--
	}
	ipma := u32(0) + u32(2) + u16(1) + string([]byte{byte(own)})
	for i := range own {
		ipma += string([]byte{byte(i + 1)})
	}
	ipma += u16(2) + "\x01" + string([]byte{byte(len(properties))})
	meta := func(at int) string {
		return box("meta", "\x00\x00\x00\x00"+
			box("hdlr", u32(0)+u32(0)+"pict"+strings.Repeat("\x00", 13))+
			box("pitm", u32(0)+u16(1))+
			box("iinf", u32(0)+u16(2)+
				box("infe", "\x02\x00\x00\x00"+u16(1)+u16(0)+itemType+"\x00")+
				box("infe", "\x02\x00\x00\x00"+u16(2)+u16(0)+"hvc1"+"\x00"))+
			box("iloc", u32(0)+"\x44\x00"+u16(1)+u16(1)+u16(0)+u16(1)+u32(at)+u32(len(itemBytes)))+
			box("iprp", box("ipco", strings.Join(properties, ""))+box("ipma", ipma))+
			extraMeta)
	}
	ftyp := box("ftyp", brand+u32(0)+"mif1"+brand)
	return ftyp + meta(len(ftyp)+len(meta(0))+8) + box("mdat", itemBytes)
}

// wideAVIF returns an AVIF with one property and the widest encoding of every integer.
func wideAVIF(itemType, property string) string {
	meta := func(at int) string {
		return box("meta", u32(0)+
			box("pitm", u32(1<<24)+u32(70_000))+
			box("iinf", u32(1<<24)+u32(1)+box("infe", u32(3<<24)+u32(70_000)+u16(0)+itemType))+
			box("iloc", u32(2<<24)+"\x88\x88"+u32(1)+u32(70_000)+u16(0)+u16(0)+u32(0)+u32(at)+u16(1)+
				u32(0)+u32(0)+u32(0)+u32(0)+u32(0)+u32(4))+
			box("iprp", box("ipco", property)+box("ipma", u32(1<<24|1)+u32(1)+u32(70_000)+"\x01"+u16(1<<15|1))))
	}
	ftyp := box("ftyp", "avif"+u32(0))
	return ftyp + meta(len(ftyp)+len(meta(0))+16) + u32(1) + "mdat" + u32(0) + u32(20) + "data"
}

// sequence returns a moov box with an image track.
func sequence(frames, width, height int) string {
	return box("moov", box("trak",
		box("tkhd", strings.Repeat("\x00", 76)+u32(width<<16)+u32(height<<16))+
			box(
				"mdia",
				box("hdlr", u32(0)+u32(0)+"pict")+box("minf", box("stbl", box("stsz", u32(0)+u32(0)+u32(frames)))),
			)))
}

// jxlFile returns a bare codestream. numbers alternate between a value and its size in bits.
func jxlFile(numbers ...int) []byte {
	b, at := []byte("\xff\x0a"), 0
	for i := 0; i < len(numbers); i += 2 {
		for bit := range numbers[i+1] {
			if at%8 == 0 {
				b = append(b, 0)
			}
			b[len(b)-1] |= byte(numbers[i]>>bit&1) << (at % 8)
			at++
		}
	}
	return append(b, make([]byte, 8)...)
}

// tiles returns an iref box in which item 1 refers to item 2 n times.
func tiles(n int) string {
	return box("iref", u32(0)+box("dimg", u16(1)+u16(n)+strings.Repeat(u16(2), n)))
}

func ispe(width, height int) string { return box("ispe", u32(0)+u32(width)+u32(height)) }
