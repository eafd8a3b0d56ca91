package resizetest

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// Metadata of cameras and editors, inserted into files that have none.

// segment is one JPEG segment.
func segment(marker byte, parts ...string) []byte {
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	b := append([]byte{0xff, marker}, byte((len(body)+2)>>8), byte(len(body)+2))
	return append(b, body...)
}

// inJPEG inserts segments after SOI.
func inJPEG(file []byte, segments ...[]byte) []byte {
	out := append([]byte(nil), file[:2]...)
	for _, s := range segments {
		out = append(out, s...)
	}
	return append(out, file[2:]...)
}

// oriented returns a JPEG with only an EXIF orientation inserted.
func oriented(file []byte, o int) []byte {
	return inJPEG(file, segment(0xe1, "Exif\x00\x00", string(exif(o, "", ""))))
}

// exif is a TIFF block with an orientation, an artist and a GPS directory, each if given.
func exif(orientation int, artist, gps string) []byte {
	fields := []exifField{{tag: 0x112, kind: 3, data: []byte{byte(orientation), 0}}}
	if artist != "" {
		fields = append(fields, exifField{tag: 0x13b, kind: 2, data: []byte(artist + "\x00")})
	}
	if gps != "" {
		fields = append(fields, exifField{tag: 0x8825, sub: []exifField{
			{tag: 1, kind: 2, data: []byte("N\x00")},
			{tag: 0x1b, kind: 7, data: []byte("ASCII\x00\x00\x00" + gps)},
		}})
	}
	return exifOf(fields)
}

// exifField is one entry of a directory. Entries must be sorted by tag.
type exifField struct {
	tag, kind uint16
	data      []byte      // 2 bytes for a number of type 3, or bytes
	sub       []exifField // instead of data: a directory
}

// exifOf is a TIFF block of one directory.
func exifOf(fields []exifField) []byte {
	return append([]byte("II*\x00\x08\x00\x00\x00"), exifDirectory(8, fields)...)
}

// exifDirectory is a directory at that offset, with everything that it refers to.
func exifDirectory(at int, fields []exifField) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, uint16(len(fields)))
	room := at + 2 + 12*len(fields) + 4
	var after []byte
	for _, f := range fields {
		where := uint32(room + len(after))
		if f.sub != nil {
			b = le.AppendUint32(le.AppendUint32(le.AppendUint16(le.AppendUint16(b, f.tag), 4), 1), where)
			after = append(after, exifDirectory(int(where), f.sub)...)
			continue
		}
		b = le.AppendUint16(le.AppendUint16(b, f.tag), f.kind)
		switch {
		case f.kind == 3:
			b = append(le.AppendUint32(b, 1), f.data[0], f.data[1], 0, 0)
		case len(f.data) <= 4:
			b = append(le.AppendUint32(b, uint32(len(f.data))), append(bytes.Clone(f.data), 0, 0, 0, 0)[:4]...)
		default:
			b = le.AppendUint32(le.AppendUint32(b, uint32(len(f.data))), where)
			after = append(after, f.data...)
		}
	}
	return append(append(b, 0, 0, 0, 0), after...)
}

// xmp is a packet whose author is name.
func xmp(name string) string {
	return `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq><rdf:li>` +
		name + `</rdf:li></rdf:Seq></dc:creator></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`
}

// iptc is a Photoshop resource with a caption.
func iptc(caption string) string {
	data := "\x1c\x02\x78" + string([]byte{byte(len(caption) >> 8), byte(len(caption))}) + caption
	if len(data)%2 == 1 {
		data += "\x00"
	}
	return "Photoshop 3.0\x008BIM\x04\x04\x00\x00" + string(be32(uint32(len(data)))) + data
}

// withProfile is a JPEG with that ICC profile, split into segments.
func withProfile(file, icc []byte) []byte {
	var parts [][]byte
	for rest := icc; len(rest) > 0; {
		n := min(len(rest), 65_000)
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	var segments [][]byte
	for i, p := range parts {
		number := string([]byte{byte(i + 1), byte(len(parts))})
		segments = append(segments, segment(0xe2, "ICC_PROFILE\x00", number, string(p)))
	}
	return inJPEG(file, segments...)
}

// profileOf returns the ICC profile of a JPEG, joined from its segments.
func profileOf(file []byte) (icc []byte) {
	for at := 2; at+4 <= len(file) && file[at] == 0xff && file[at+1] != 0xda; {
		n := int(binary.BigEndian.Uint16(file[at+2:]))
		body := file[at+4 : at+2+n]
		if file[at+1] == 0xe2 && bytes.HasPrefix(body, []byte("ICC_PROFILE\x00")) {
			icc = append(icc, body[14:]...)
		}
		at += 2 + n
	}
	return icc
}

func pngChunk(name string, body []byte) []byte {
	b := append(append(be32(uint32(len(body))), name...), body...)
	return append(b, be32(crc32.ChecksumIEEE(b[4:]))...)
}

// inPNG inserts chunks after IHDR.
func inPNG(file []byte, chunks ...[]byte) []byte {
	const header = 8 + 12 + 13
	out := append([]byte(nil), file[:header]...)
	for _, c := range chunks {
		out = append(out, c...)
	}
	return append(out, file[header:]...)
}

func riffChunk(name string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// inWebP converts a simple file of that size to an extended one with a profile, EXIF and XMP.
func inWebP(file []byte, width, height int, icc, exif, xmp []byte) []byte {
	le24 := func(n int) []byte { return []byte{byte(n), byte(n >> 8), byte(n >> 16)} }
	header := append([]byte{0x20 | 0x08 | 0x04, 0, 0, 0}, le24(width-1)...)
	header = append(header, le24(height-1)...)
	body := []byte("WEBP")
	for _, c := range [][]byte{
		riffChunk("VP8X", header), riffChunk("ICCP", icc), file[12:],
		riffChunk("EXIF", exif), riffChunk("XMP ", xmp),
	} {
		body = append(body, c...)
	}
	return riffChunk("RIFF", body)
}

// inGIF inserts a comment and an XMP application block after the global colour table.
func inGIF(file []byte, comment, xmp string) []byte {
	at := 13
	if flags := file[10]; flags&0x80 != 0 {
		at += 3 << (flags&7 + 1)
	}
	block := append([]byte{0x21, 0xfe, byte(len(comment))}, comment...)
	block = append(block, 0, 0x21, 0xff, 11)
	block = append(block, "XMP DataXMP"...)
	for rest := xmp; rest != ""; {
		n := min(len(rest), 255)
		block = append(append(block, byte(n)), rest[:n]...)
		rest = rest[n:]
	}
	block = append(block, 0)
	return append(append(append([]byte(nil), file[:at]...), block...), file[at:]...)
}
