package resize

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// tiffWith returns a TIFF directory with fields of type UNDEFINED, in the order of sequence.
func tiffWith(order binary.AppendByteOrder, fields map[uint16]string, sequence ...uint16) []byte {
	head := "II*\x00"
	if order == binary.AppendByteOrder(binary.BigEndian) {
		head = "MM\x00*"
	}
	b := order.AppendUint16(order.AppendUint32([]byte(head), 8), uint16(len(sequence)))
	var after []byte
	for _, tag := range sequence {
		text := fields[tag]
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, tag), 7), uint32(len(text)))
		if len(text) <= 4 {
			b = append(b, (text + "\x00\x00\x00\x00")[:4]...)
			continue
		}
		b = order.AppendUint32(b, uint32(8+2+12*len(sequence)+4+len(after)))
		after = append(after, text...)
	}
	return append(append(b, 0, 0, 0, 0), after...)
}

func TestReadCredit_TIFF(t *testing.T) {
	iim := func(number byte, text string) string {
		return "\x1c\x02" + string([]byte{number, 0, byte(len(text))}) + text
	}
	packet := `<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>C</dc:creator><dc:rights>R</dc:rights></x>`
	for name, c := range map[string]struct {
		fields   map[uint16]string
		sequence []uint16
		want     Credit
	}{
		"EXIF before all": {map[uint16]string{0x13b: "A\x00", 0x8298: "Long copyright\x00", 700: packet},
			[]uint16{0x13b, 700, 0x8298}, Credit{"A", "Long copyright"}},
		"each field by itself": {map[uint16]string{0x13b: "Someone\x00", 700: packet},
			[]uint16{0x13b, 700}, Credit{"Someone", "R"}},
		"IPTC before XMP": {
			map[uint16]string{33723: iim(80, "One") + iim(80, "Two") + iim(116, "Three"), 700: packet},
			[]uint16{700, 33723}, Credit{"One; Two", "Three"},
		},
		"a credit line last": {map[uint16]string{33723: iim(110, "Agency")}, []uint16{33723}, Credit{"Agency", ""}},
		"an author before it": {map[uint16]string{33723: iim(110, "Agency"), 700: packet},
			[]uint16{700, 33723}, Credit{"C", "R"}},
		"another record": {map[uint16]string{33723: strings.Replace(iim(80, "One"), "\x02", "\x01", 1)},
			[]uint16{33723}, Credit{}},
		"nothing": {nil, nil, Credit{}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				if got := ReadCredit(tiffWith(order, c.fields, c.sequence...)); got != c.want {
					t.Errorf("%s, %v: %+v, want %+v", name, order, got, c.want)
				}
			}
		})
	}
}

func TestCreditFinder_ReadXMP(t *testing.T) {
	const dc = `xmlns:q="http://purl.org/dc/elements/1.1/" xmlns:r="rdf"`
	for packet, want := range map[string]Credit{
		`<a ` + dc + `><q:creator><r:Seq><r:li>One</r:li><r:li>Two</r:li><r:li>One</r:li></r:Seq></q:creator></a>`: {
			"One; Two", ""},
		`<a ` + dc + ` q:rights="Mine" q:creator="Me"/>`:                                              {"Me", "Mine"},
		`<a ` + dc + `><q:rights><r:Alt><r:li>First</r:li><r:li>Second</r:li></r:Alt></q:rights></a>`: {"", "First"},
		`<a ` + dc + `><q:title>T</q:title><q:creator><b>A &amp; B</b></q:creator><q:subject>S</q:subject></a>`: {
			"A & B", ""},
		`<a xmlns:q="other"><q:creator>No</q:creator></a>`:                           {},
		`<a ` + dc + `><q:creator>Before a fault</q:creator><b></c>`:                 {"Before a fault", ""},
		`<!DOCTYPE a [<!ENTITY e "x">]><a ` + dc + `><q:creator>&e;</q:creator></a>`: {},
		"no packet": {},
		strings.Repeat("<d>", 100_000) + `<a ` + dc + `><q:creator>Beyond the limit</q:creator></a>`: {},
	} {
		var f creditFinder
		f.readXMP([]byte(packet))
		if f.xmp != want {
			t.Errorf("%.200s: %+v, want %+v", packet, f.xmp, want)
		}
	}
}

func TestCreditText_CleansAndTruncates(t *testing.T) {
	long := strings.Repeat("é", 2000)
	for field, want := range map[string]string{
		"  Jörg \t\r\n  Beispiel\x00":  "Jörg Beispiel",
		"J\xf6rg \xa9":                 "Jörg ©", // Latin-1
		"Photographer\x00Editor\x00":   "Photographer; Editor",
		" \x00Editor\x00":              "Editor",
		"a\x1b[31mb\x7f\u0085c\u202ed": "a[31mb cd", // U+0085 is a line break, U+202E reverses the text direction
		"      ":                       "",
		"\x00\x00\x00":                 "",
		long:                           long[:maxCredit],
		"x" + long:                     "x" + long[:maxCredit-2],
		strings.Repeat("語", 2000):      strings.Repeat("語", maxCredit/3),
	} {
		if got := creditText([]byte(field)); got != want {
			t.Errorf("%.40q: %q, want %q", field, got, want)
		}
	}
}

func TestCredit_EXIF_RoundTrip(t *testing.T) {
	for _, c := range []Credit{
		{"A", ""}, {"", "abc"}, {"abcd", "© 1"}, {strings.Repeat("x", maxCredit), strings.Repeat("y", maxCredit-1)},
	} {
		if got := ReadCredit(c.EXIF()); got != c {
			t.Errorf("%+v, want %+v", got, c)
		}
	}
	if b := (Credit{}).EXIF(); b != nil {
		t.Errorf("%q", b)
	}
}

func FuzzReadCredit(f *testing.F) {
	packet := `<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator>C</dc:creator><dc:rights>R</dc:rights></x>`
	block := tiffWith(
		binary.LittleEndian,
		map[uint16]string{
			0x13b:  "Someone\x00",
			0x8298: "A Studio\x00",
			700:    packet,
			33723:  "\x1c\x02\x50\x00\x03One",
			34377:  "8BIM\x04\x04\x00\x00\x00\x00\x00\x08\x1c\x02\x74\x00\x03Two",
		},
		0x13b,
		700,
		33723,
		34377,
		0x8298,
	)
	box := func(name, body string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))) + name + body
	}
	segment := func(marker byte, body string) string {
		return string([]byte{0xff, marker, byte((2 + len(body)) >> 8), byte(2 + len(body))}) + body
	}
	for _, seed := range []string{
		string(block),
		"\xff\xd8" + segment(0xe1, "Exif\x00\x00"+string(block)) + segment(0xe1, xmpNamespace+packet) +
			segment(0xed, photoshopName+"8BIM\x04\x04\x00\x00\x00\x00\x00\x08\x1c\x02\x74\x00\x03Two") +
			segment(0xda, ""),
		pngMagic + string(binary.BigEndian.AppendUint32(nil, uint32(len(block)))) + "eXIf" + string(block) +
			"CRCs" + "\x00\x00\x00\x08tEXtAuthor\x00ACRCs" + "\x00\x00\x00\x0fiTXtCopyright\x00\x00\x00\x00\x00ACRCs",
		"RIFF\xff\xff\xff\x00WEBPEXIF" + string(binary.LittleEndian.AppendUint32(nil, uint32(len(block)))) +
			string(block),
		"GIF89a" + "!\xff\x0bXMP DataXMP" + packet,
		jxlMagic + box("Exif", "\x00\x00\x00\x00"+string(block)) + box("xml ", packet),
		box("ftyp", "avif\x00\x00\x00\x00avif") + box("meta", "\x00\x00\x00\x00"+
			box("iinf", "\x00\x00\x00\x00\x00\x01"+box("infe", "\x02\x00\x00\x00\x00\x01\x00\x00Exif"))+
			box("iloc", "\x01\x00\x00\x00\x44\x00\x00\x01\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00"+string(binary.BigEndian.AppendUint32(nil, uint32(4+len(block)))))+box("idat", "\x00\x00\x00\x00"+string(block))),
	} {
		f.Add([]byte(seed))
		if ReadCredit([]byte(seed)) == (Credit{}) {
			f.Errorf("no credit found in the seed %.30q", seed)
		}
	}
	files, _ := filepath.Glob(filepath.Join("testdata", "header", "*"))
	for _, file := range files {
		if b, err := os.ReadFile(file); err == nil {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		c := ReadCredit(b)
		for _, text := range []string{c.Author, c.Copyright} {
			if !utf8.ValidString(text) || len(text) > maxCredit || text != strings.TrimSpace(text) ||
				strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }) {
				t.Errorf("%q", text)
			}
		}
		if block := c.EXIF(); (block == nil) != (c == Credit{}) || block != nil && ReadCredit(block) != c {
			t.Errorf("%+v is written as %q", c, block)
		}
		if !bytes.Equal(b, before) {
			t.Error("the original was changed")
		}
	})
}

func TestReadCredit_HostileFilesEndQuickly(t *testing.T) {
	if testing.Short() {
		t.Skip("reads files of 32 MiB")
	}
	segment := func(marker byte, body string) string {
		return string([]byte{0xff, marker, byte((2 + len(body)) >> 8), byte(2 + len(body))}) + body
	}
	// Many artists with blank texts of the maximum length that is read.
	artists := "II*\x00\x08\x00\x00\x00" + string(binary.LittleEndian.AppendUint16(nil, 5000)) +
		strings.Repeat("\x3b\x01\x02\x00\x00\x04\x00\x00\x70\xea\x00\x00", 5000)
	artists += strings.Repeat(" ", 60_016-len(artists)) + strings.Repeat(" ", 1024)
	packet := `<x xmlns:dc="http://purl.org/dc/elements/1.1/">` + strings.Repeat("<dc:creator>A</dc:creator>", 2000)
	for name, b := range map[string][]byte{
		"JPEG of EXIF": fill("\xff\xd8", segment(0xe1, "Exif\x00\x00"+artists)),
		"JPEG of XMP":  fill("\xff\xd8", segment(0xe1, xmpNamespace+packet)),
		"JPEG of IPTC": fill("\xff\xd8", segment(0xed,
			photoshopName+"8BIM\x04\x04\x00\x00\x00\x00\xea\x60"+strings.Repeat("\x1c\x02\x50\x00\x01A", 10_000))),
		"PNG of authors": fill(pngMagic, pngPart("tEXt", "Author\x00 ")),
		"WebP of XMP":    fill("RIFF\xff\xff\xff\x7fWEBP", webpPart("XMP ", packet)),
		"TIFF of one packet": fill(
			string(tiffWith(binary.LittleEndian, nil))[:8]+
				"\x01\x00\xbc\x02\x07\x00\x00\x00\xf0\x01\x1a\x00\x00\x00\x00\x00\x00\x00", "<a>"),
		"GIF of packets": fill("GIF89a!\xff\x0bXMP DataXMP", "<"),
		"AVIF of items": fill(
			box("ftyp", "avif\x00\x00\x00\x00")+
				"\x00\x00\x00\x00meta\x00\x00\x00\x00\x00\x00\x00\x00iinf"+u32(0)+u16(0),
			box("infe", "\x02\x00\x00\x00\x00\x09\x00\x00Exif")),
		"JPEG XL of EXIF": fill(jxlMagic, box("Exif", u32(0)+artists)),
	} {
		t.Run(name, func(t *testing.T) {
			endsQuickly(t, func() string { return fmt.Sprintf("%+v", ReadCredit(b)) })
		})
	}
}
