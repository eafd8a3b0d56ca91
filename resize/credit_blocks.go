package resize

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"io"
	"slices"
	"strings"
)

// The three blocks that can name an author: EXIF (CIPA DC-008), IPTC's IIM 4.2 in a Photoshop
// resource, and XMP (ISO 16684-1).

const (
	tagArtist    = 0x013b
	tagXMP       = 700
	tagIPTC      = 33723
	tagPhotoshop = 34377
	tagCopyright = 0x8298

	xmpNamespace  = "http://ns.adobe.com/xap/1.0/\x00" // before the packet, in a JPEG
	photoshopName = "Photoshop 3.0\x00"
)

// text returns the bytes of e, or nil if e has another type or points outside the file.
func (t tiff) text(e tiffEntry) []byte {
	size := 1
	switch e.typ {
	case 1, 2, 7, 129: // bytes, ASCII, undefined, UTF-8
	case 4: // some programs write IPTC like this
		size = 4
	default:
		return nil
	}
	length := e.count * size
	if length <= 4 {
		return e.value[:length]
	}
	if at := int(t.order.Uint32(e.value)); at <= len(t.b) && length <= len(t.b)-at {
		return t.b[at : at+length]
	}
	return nil
}

// readEXIF reads the first directory of an EXIF block.
func (f *creditFinder) readEXIF(b []byte) {
	t, entries, ok := openTIFF(b)
	if !ok || f.sawEXIF {
		return
	}
	f.sawEXIF = true
	for i := range len(entries) / 12 {
		switch e := t.entry(entries, i); {
		case e.tag == tagArtist && f.exif.Author == "":
			f.exif.Author = creditText(t.text(e))
		case e.tag == tagCopyright && f.exif.Copyright == "":
			f.exif.Copyright = creditText(t.text(e))
		}
	}
}

// readOffsetEXIF reads an EXIF block from a box, where it is preceded by the offset of its TIFF
// header.
func (f *creditFinder) readOffsetEXIF(b []byte) {
	c := cursor{b: b}
	if before := c.number(4); before <= uint64(len(c.b)) {
		f.readEXIF(c.b[before:])
	}
}

// readTIFF reads the first directory of a TIFF, which has EXIF's fields and contains the other
// blocks as fields.
func (f *creditFinder) readTIFF(b []byte) {
	f.readEXIF(b)
	t, entries, ok := openTIFF(b)
	if !ok {
		return
	}
	for i := range len(entries) / 12 {
		switch e := t.entry(entries, i); e.tag {
		case tagXMP:
			f.readXMP(t.text(e))
		case tagIPTC:
			f.readIPTC(t.text(e))
		case tagPhotoshop:
			f.readPhotoshop(t.text(e))
		}
	}
}

// readPhotoshop looks for IPTC among image resources: 8BIM, ID, name, length, data. Name and
// data are padded to an even length.
func (f *creditFinder) readPhotoshop(b []byte) {
	const iptc = 0x0404
	for len(b) >= 12 && string(b[:4]) == "8BIM" {
		number, name := be16(b[4:]), 1+int(b[6])
		b = b[6:]
		if name += name & 1; len(b) < name+4 {
			return
		}
		length := be32(b[name:])
		if b = b[name+4:]; length > len(b) {
			return
		}
		if number == iptc {
			f.readIPTC(b[:length])
		}
		b = b[min(length+length&1, len(b)):]
	}
}

// readIPTC reads datasets: a tag marker, record, number, length, data.
func (f *creditFinder) readIPTC(b []byte) {
	const byLine, credit, copyright = 80, 110, 116
	if f.sawIPTC {
		return
	}
	f.sawIPTC, b = true, b[:min(len(b), maxBlock)]
	var authors []string
	for len(b) >= 5 && b[0] == 0x1c {
		record, number, length := b[1], b[2], be16(b[3:])
		if b = b[5:]; length > len(b) { // also extended datasets of 32 KiB and more, which are not credits
			break
		}
		data := b[:length]
		b = b[length:]
		if record != 2 {
			continue
		}
		switch number {
		case byLine:
			authors = appendCredit(authors, data)
		case credit:
			f.line = cmp.Or(f.line, creditText(data))
		case copyright:
			f.iptc.Copyright = cmp.Or(f.iptc.Copyright, creditText(data))
		}
	}
	f.iptc.Author = cmp.Or(f.iptc.Author, joinCredit(authors))
}

// maxBlock is how much of IPTC or XMP is read, in bytes. Those of photos have a few kilobytes.
const maxBlock = 256 << 10

// readXMP reads dc:creator and dc:rights of a packet, as elements or as attributes, up to its
// end or its first syntax error.
func (f *creditFinder) readXMP(packet []byte) {
	const dc = "http://purl.org/dc/elements/1.1/"
	begin := bytes.IndexByte(packet, '<')
	if begin < 0 || f.sawXMP {
		return
	}
	f.sawXMP = true
	in := xml.NewDecoder(io.LimitReader(bytes.NewReader(packet[begin:]), maxBlock))
	var authors, rights []string
	var within *[]string // the list for the current creator or rights element
	depth := 0           // nesting within it
	var text []byte
	for {
		token, err := in.Token()
		if err != nil {
			break
		}
		switch token := token.(type) {
		case xml.StartElement:
			text = text[:0]
			if within != nil {
				depth++
				continue
			}
			for _, a := range token.Attr {
				switch {
				case a.Name.Space == dc && a.Name.Local == "creator":
					authors = appendCredit(authors, []byte(a.Value))
				case a.Name.Space == dc && a.Name.Local == "rights":
					rights = appendCredit(rights, []byte(a.Value))
				}
			}
			switch token.Name {
			case xml.Name{Space: dc, Local: "creator"}:
				within = &authors
			case xml.Name{Space: dc, Local: "rights"}:
				within = &rights
			}
		case xml.CharData:
			if within != nil && len(text) < 4*maxCredit {
				text = append(text, token...)
			}
		case xml.EndElement:
			if within == nil {
				continue
			}
			*within = appendCredit(*within, text)
			text = text[:0]
			if depth--; depth < 0 {
				within, depth = nil, 0
			}
		}
	}
	f.xmp.Author = cmp.Or(f.xmp.Author, joinCredit(authors))
	if len(rights) > 0 { // the others are translations
		f.xmp.Copyright = cmp.Or(f.xmp.Copyright, rights[0])
	}
}

// appendCredit appends the text of a field unless it is empty, a duplicate or over the limit.
func appendCredit(values []string, field []byte) []string {
	const maxAuthors = 20
	if len(values) >= maxAuthors {
		return values
	}
	if text := creditText(field); text != "" && !slices.Contains(values, text) {
		values = append(values, text)
	}
	return values
}

func joinCredit(values []string) string { return cutText(strings.Join(values, "; ")) }
