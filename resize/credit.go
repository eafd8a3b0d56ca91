package resize

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Credit is the author and copyright notice that a file names: the only metadata that the
// option credit keeps. Both are plain UTF-8 of at most maxCredit bytes without control
// characters, and empty if the file names none.
type Credit struct {
	Author    string
	Copyright string
}

// maxCredit is the maximum length of each text, in bytes. Longer texts are truncated.
const maxCredit = 300

// ReadCredit looks for author and copyright in EXIF, IPTC, XMP and the text chunks of a PNG, in
// this order; the last resort for an author is IPTC's credit line. It trusts no length in b and
// ignores broken blocks.
//
// It does not read blocks of JPEG XL that are compressed with Brotli, blocks that span several
// segments of a JPEG, or GIF comments, which have no fields.
func ReadCredit(b []byte) Credit {
	var f creditFinder
	switch kind := KindOf(b); kind {
	case KindJPEG:
		f.searchJPEG(b)
	case KindPNG:
		f.searchPNG(b)
	case KindWebP:
		f.searchWebP(b)
	case KindGIF:
		f.searchGIF(b)
	case KindAVIF, KindHEIC:
		f.searchBMFF(b, kind)
	case KindTIFF:
		f.readTIFF(b)
	case KindJXL:
		f.searchJXL(b)
	}
	return Credit{
		Author:    cmp.Or(f.exif.Author, f.iptc.Author, f.xmp.Author, f.text.Author, f.line),
		Copyright: cmp.Or(f.exif.Copyright, f.iptc.Copyright, f.xmp.Copyright, f.text.Copyright),
	}
}

// EXIF returns an EXIF block (a TIFF) that contains only c, or nil if c is empty.
func (c Credit) EXIF() []byte {
	type field struct {
		tag  uint16
		text string
	}
	var fields []field
	for _, f := range [...]field{{tagArtist, c.Author}, {tagCopyright, c.Copyright}} {
		if f.text != "" {
			fields = append(fields, f)
		}
	}
	if len(fields) == 0 {
		return nil
	}
	const header, inline = 8, 4
	after := header + 2 + 12*len(fields) + 4
	b := append([]byte("MM\x00*\x00\x00\x00\x08"), 0, byte(len(fields)))
	var texts []byte
	for _, f := range fields {
		text := append([]byte(f.text), 0)
		b = binary.BigEndian.AppendUint16(b, f.tag)
		b = binary.BigEndian.AppendUint16(b, 2) // ASCII, which in practice holds UTF-8
		b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
		if len(text) <= inline {
			b = append(b, append(text, 0, 0, 0, 0)[:inline]...)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(after+len(texts)))
		texts = append(texts, text...)
		if len(texts)%2 == 1 {
			texts = append(texts, 0) // values start at even offsets
		}
	}
	return append(append(b, 0, 0, 0, 0), texts...)
}

// A creditFinder collects the credits of the blocks of a file. It reads only the first block of
// each kind, so a file with a thousand blocks does not cost more.
type creditFinder struct {
	exif, iptc, xmp, text    Credit
	line                     string // IPTC's credit line, often an agency
	sawEXIF, sawIPTC, sawXMP bool
}

// searchJPEG searches the segments before the first scan.
func (f *creditFinder) searchJPEG(b []byte) {
	for at := 2; ; {
		marker, body, next, err := jpegSegment(b, at)
		if err != nil || marker == jpegSOS || marker == jpegEOI {
			return
		}
		at = next
		switch {
		case marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00")) && len(body) > 6:
			f.readEXIF(body[6:])
		case marker == 0xe1 && bytes.HasPrefix(body, []byte(xmpNamespace)):
			f.readXMP(body[len(xmpNamespace):])
		case marker == 0xed && bytes.HasPrefix(body, []byte(photoshopName)):
			f.readPhotoshop(body[len(photoshopName):])
		}
	}
}

// searchPNG searches all chunks: texts may follow the image data.
func (f *creditFinder) searchPNG(b []byte) {
	for at := len(pngMagic); ; {
		typ, body, next, err := pngChunk(b, at)
		if err != nil {
			return
		}
		at = next
		switch string(typ) {
		case "eXIf":
			f.readEXIF(body)
		case "tEXt":
			keyword, text, _ := bytes.Cut(body, []byte{0})
			f.readKeyword(string(keyword), text)
		case "iTXt":
			keyword, rest, _ := bytes.Cut(body, []byte{0})
			if len(rest) < 2 || rest[0] != 0 { // compressed
				continue
			}
			_, rest, _ = bytes.Cut(rest[2:], []byte{0}) // the language
			_, text, _ := bytes.Cut(rest, []byte{0})    // the translated keyword
			if string(keyword) == "XML:com.adobe.xmp" {
				f.readXMP(text)
			}
			f.readKeyword(string(keyword), text)
		}
	}
}

// readKeyword reads a text chunk with one of PNG's predefined keywords.
func (f *creditFinder) readKeyword(keyword string, text []byte) {
	switch keyword {
	case "Author":
		f.text.Author = cmp.Or(f.text.Author, creditText(text))
	case "Copyright":
		f.text.Copyright = cmp.Or(f.text.Copyright, creditText(text))
	}
}

func (f *creditFinder) searchWebP(b []byte) {
	for rest := webpBody(b); rest != nil; {
		var typ, body []byte
		typ, body, rest, _ = webpChunk(rest)
		switch string(typ) {
		case "EXIF":
			f.readEXIF(bytes.TrimPrefix(body, []byte("Exif\x00\x00")))
		case "XMP ":
			f.readXMP(body)
		}
	}
}

// searchGIF looks for an XMP application extension. It holds the packet without sub-block
// lengths, followed by a trailer that lets decoders skip it.
func (f *creditFinder) searchGIF(b []byte) {
	const prefix = "\x21\xff\x0bXMP DataXMP"
	if i := bytes.Index(b, []byte(prefix)); i >= 0 {
		f.readXMP(b[i+len(prefix):])
	}
}

// searchBMFF reads the first EXIF item and the first XMP item.
func (f *creditFinder) searchBMFF(b []byte, kind Kind) {
	boxes, err := openBMFF(kind, b)
	if err != nil {
		return
	}
	exif, xmp := -1, -1
	boxes.eachItem(func(id int, typ, after []byte) {
		switch {
		case exif < 0 && string(typ) == "Exif":
			exif = id
		case xmp < 0 && string(typ) == "mime":
			_, contentType, _ := bytes.Cut(after, []byte{0}) // follows the item's name
			if bytes.HasPrefix(contentType, []byte("application/rdf+xml\x00")) {
				xmp = id
			}
		}
	})
	if exif >= 0 {
		f.readOffsetEXIF(boxes.itemBytes(exif))
	}
	if xmp >= 0 {
		f.readXMP(boxes.itemBytes(xmp))
	}
}

func (f *creditFinder) searchJXL(b []byte) {
	if !bytes.HasPrefix(b, []byte(jxlMagic)) {
		return // a bare codestream has no metadata
	}
	for rest := b; len(rest) > 0; {
		typ, body, after, err := nextBox(KindJXL, rest)
		if err != nil {
			return
		}
		rest = after
		switch string(typ) {
		case "Exif":
			f.readOffsetEXIF(body)
		case "xml ":
			f.readXMP(body)
		}
	}
}

// creditText converts a field to plain text. Fields are UTF-8, or else Latin-1; several values
// in one field are separated by NUL, as in EXIF.
func creditText(field []byte) string {
	const enough = 4 * maxCredit // white space and the like is removed below
	if len(field) > enough {
		end := enough
		for end > enough-utf8.UTFMax && !utf8.RuneStart(field[end]) {
			end--
		}
		field = field[:end]
	}
	text := string(field)
	if !utf8.Valid(field) {
		runes := make([]rune, len(field))
		for i, c := range field {
			runes[i] = rune(c)
		}
		text = string(runes)
	}
	var values []string
	for value := range strings.SplitSeq(text, "\x00") {
		value = strings.Map(func(r rune) rune {
			if unicode.IsSpace(r) || unicode.IsGraphic(r) {
				return r
			}
			return -1
		}, value)
		if value = strings.Join(strings.Fields(value), " "); value != "" {
			values = append(values, value)
		}
	}
	return joinCredit(values)
}

// cutText truncates text to maxCredit bytes without splitting a character.
func cutText(text string) string {
	if len(text) <= maxCredit {
		return text
	}
	end := maxCredit
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimSpace(text[:end])
}
