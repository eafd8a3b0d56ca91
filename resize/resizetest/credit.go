package resizetest

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

const (
	theAuthor    = "Jörg Beispiel"
	theCopyright = "© 2026 Jörg Beispiel, alle Rechte vorbehalten"
)

// creditParts are the parts of a file that contain author and copyright, by format.
var creditParts = map[resize.Format]string{
	resize.JPEG: "e1", resize.PNG: "eXIf", resize.WebP: "EXIF", resize.AVIF: "Exif",
	resize.HEIC: "Exif", resize.GIF: "fe", resize.JXL: "Exif",
}

// cameraEXIF has author and copyright among needles, and orientation 6.
func cameraEXIF() []byte {
	word := func(s string) []byte { return []byte(needle + s + "\x00") }
	block := exifOf([]exifField{
		{tag: 0x10e, kind: 2, data: word("description")}, {tag: 0x10f, kind: 2, data: word("make")},
		{tag: 0x112, kind: 3, data: []byte{6, 0}}, {tag: 0x131, kind: 2, data: word("software")},
		{tag: 0x13b, kind: 2, data: []byte(theAuthor + "\x00")},
		{tag: 0x8298, kind: 2, data: []byte(theCopyright + "\x00")},
		{tag: 0x8769, sub: []exifField{
			{tag: 0x927c, kind: 7, data: word("maker note")},
			{tag: 0x9286, kind: 7, data: word("comment")},
			{tag: 0xa431, kind: 2, data: word("serial")},
		}},
		{tag: 0x8825, sub: []exifField{{tag: 0x1b, kind: 7, data: word("gps")}}},
		{tag: 0xc4a5, kind: 7, data: word("print")},
	})
	return append(block, needle+"thumbnail"...)
}

// dataset is a dataset of IPTC.
func dataset(number byte, text string) string {
	return "\x1c\x02" + string([]byte{number, byte(len(text) >> 8), byte(len(text))}) + text
}

// resources returns Photoshop resources, with these datasets among others.
func resources(datasets string) string {
	data := dataset(5, needle+"title") + datasets + dataset(120, needle+"caption")
	if len(data)%2 == 1 {
		data += "\x00"
	}
	return "Photoshop 3.0\x008BIM\x04\x0c\x03abc" + string(be32(6)) + "thumbs" +
		"8BIM\x04\x04\x00\x00" + string(be32(uint32(len(data)))) + data
}

// creditXMP is a packet with author and copyright among needles.
func creditXMP() string {
	return `<?xpacket begin="` + "\ufeff" + `" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">` +
		`<rdf:Description xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="` + needle + `xmp gps">` +
		`<d:title><rdf:Alt><rdf:li>` + needle + `xmp title</rdf:li></rdf:Alt></d:title>` +
		`<d:creator><rdf:Seq><rdf:li>` + theAuthor + `</rdf:li></rdf:Seq></d:creator>` +
		`<d:rights><rdf:Alt><rdf:li xml:lang="x-default">` + theCopyright +
		`</rdf:li><rdf:li xml:lang="de">anders</rdf:li></rdf:Alt></d:rights>` +
		`</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`
}

// creditGIF is a packet as stored in a GIF: unchanged, followed by a trailer that ends any walk
// through its sub-blocks.
func creditGIF() []byte {
	b := append([]byte("!\xff\x0bXMP DataXMP"+creditXMP()), 1)
	for n := 255; n >= 0; n-- {
		b = append(b, byte(n))
	}
	return append(b, 0)
}

// credited returns originals of several kinds that have author and copyright in different fields,
// among needles.
func credited(t *testing.T, r resize.Resizer) map[string][]byte {
	picture := scene(160, 120)
	icc := iccProfile(displayP3, 2.2, needle+"icc")
	photo := withProfile(jpegOf(t, picture.image()), icc)
	comment, app0 := segment(0xfe, needle+"comment"), segment(0xe0, "JFIF\x00\x01\x02\x01\x00\x48\x00\x48\x00\x00")
	frame := image.NewPaletted(image.Rect(0, 0, 160, 120), palette.Plan9)
	draw.Draw(frame, frame.Bounds(), picture.image(), image.Point{}, draw.Src)
	still := gifOf(t, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}})
	table := 13 + 3<<(still[10]&7+1)*int(still[10]>>7)
	web := encoded(t, r, picture.image(), "webp")
	latin1 := strings.NewReplacer("©", "\xa9", "ö", "\xf6")
	all := map[string][]byte{
		"jpeg with EXIF": inJPEG(photo, app0, segment(0xe1, "Exif\x00\x00", string(cameraEXIF())),
			comment, segment(0xed, resources(dataset(116, needle+"other"))),
			segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00", xmp(needle+"xmp"))),
		"jpeg with IPTC": inJPEG(photo, app0, comment,
			segment(0xe1, "Exif\x00\x00", string(exif(6, "", needle+"gps"))),
			segment(0xed, resources(dataset(80, theAuthor)+dataset(116, theCopyright)+dataset(110, needle+"agency")))),
		"jpeg with XMP": inJPEG(photo, app0, comment, segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00", creditXMP())),
		"png with EXIF": inPNG(pngOf(t, veiled(picture).image()),
			pngChunk("iCCP", append([]byte("p\x00\x00"), deflated(icc)...)),
			pngChunk("eXIf", cameraEXIF()),
			pngChunk("tEXt", []byte("Comment\x00"+needle))),
		"png with XMP": inPNG(pngOf(t, picture.image()),
			pngChunk("iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+creditXMP()))),
		"png with words": inPNG(pngOf(t, picture.image()),
			pngChunk("iTXt", []byte("Author\x00\x00\x00\x00\x00"+theAuthor)),
			pngChunk("tEXt", []byte("Copyright\x00"+latin1.Replace(theCopyright))),
			pngChunk("tEXt", []byte("Source\x00"+needle))),
		"webp with EXIF": inWebP(web, 160, 120, icc, append([]byte("Exif\x00\x00"), cameraEXIF()...),
			[]byte(xmp(needle+"xmp"))),
		"webp with XMP": inWebP(web, 160, 120, icc, exif(6, "", needle+"gps"), []byte(creditXMP())),
		"gif with XMP":  append(append(append([]byte(nil), still[:table]...), creditGIF()...), still[table:]...),
	}
	for _, format := range []string{"avif", "heic", "jxl"} { // made by the Resizer
		all[format] = one(t, r, all["jpeg with EXIF"], "160x-credit."+format).Body
	}
	return all
}

func credits(t *testing.T, r resize.Resizer) {
	for kind, original := range credited(t, r) {
		t.Run(kind, func(t *testing.T) {
			for _, name := range []string{
				"80x-credit.jpg", "80x-credit.png", "80x-credit.webp", "80x-credit.avif", "80x-credit.heic",
				"80x-credit.gif", "80x-credit.jxl", "80x80-cover-smart-gray-credit.webp", "8192x8192-credit.jpg",
			} {
				s := spec(t, name)
				img := oneOf(t, r, original, s)
				bareBut(t, img, creditParts[img.Format])
				saysCredit(t, img)
				decode(t, r, img)
				if s.Credit = false; bytes.Contains(oneOf(t, r, original, s).Body, []byte("Beispiel")) {
					t.Errorf("%s names the author unasked", s.Name())
				}
			}
			for _, name := range []string{
				"80x-credit-p3.jpg", "80x-credit-p3.png", "80x-credit-p3.webp",
				"80x-credit-p3.avif", "80x-credit-p3.heic",
			} {
				img := one(t, r, original, name)
				bareBut(t, img, creditParts[img.Format], profilePart[img.Format])
				saysCredit(t, img)
				if len(profileIn(t, img)) == 0 {
					t.Errorf("%s has no profile", name)
				}
				decode(t, r, img)
				if h, err := resize.ReadHeader(img.Body); err != nil || h.Orientation != 1 ||
					h.Width != img.Width || h.Height != img.Height {
					t.Errorf("%s: %+v, %v", name, h, err)
				}
			}
		})
	}
	t.Run("an animation", func(t *testing.T) {
		whole := film(t, 3)
		end := len(whole) - 1
		original := append(append(append([]byte(nil), whole[:end]...), creditGIF()...), ';')
		for _, name := range []string{"40x-credit.gif", "40x-credit-p3.webp"} {
			img := one(t, r, original, name)
			saysCredit(t, img)
			h, err := resize.ReadHeader(img.Body)
			if err == nil {
				err = resize.CheckComplete(img.Body, h)
			}
			if err != nil || h.Frames != len(filmDelays) || h.Width != 40 || h.Height != 30 {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
		}
		if _, err := gif.DecodeAll(bytes.NewReader(one(t, r, original, "40x-credit.gif").Body)); err != nil {
			t.Error(err)
		}
	})
	t.Run("an original without credit gives a variant without credit", func(t *testing.T) {
		plain := jpegOf(t, scene(160, 120).image())
		blank := exifOf([]exifField{
			{tag: 0x13b, kind: 2, data: []byte("      \x00")},
			{tag: 0x8298, kind: 2, data: []byte(" \x00\x01\x02\x00")},
		})
		for _, original := range [][]byte{
			plain,
			inJPEG(plain, segment(0xe1, "Exif\x00\x00", string(blank)), segment(0xed, resources(""))),
		} {
			for _, format := range []string{"jpg", "png", "webp", "avif", "heic", "gif", "jxl"} {
				img := one(t, r, original, "80x-credit."+format)
				bare(t, img)
				if !bytes.Equal(img.Body, one(t, r, original, "80x."+format).Body) {
					t.Errorf("%s: the file differs from that of an original without a credit", format)
				}
			}
		}
	})
}

// saysCredit fails the test unless img has a block with author and copyright and nothing else.
func saysCredit(t *testing.T, img resize.Image) {
	t.Helper()
	if img.Format == resize.GIF {
		if want := "Author: " + theAuthor + "\nCopyright: " + theCopyright; !bytes.Contains(img.Body, []byte(want)) {
			t.Errorf("the gif has no comment %q", want)
		}
		return
	}
	mark := "MM\x00*\x00\x00\x00\x08"
	if n := bytes.Count(img.Body, []byte(mark)); n != 1 {
		t.Errorf("the %s has %d blocks of EXIF", img.Format, n)
		return
	}
	block := img.Body[bytes.Index(img.Body, []byte(mark)):]
	if n := binary.BigEndian.Uint16(block[8:]); n != 2 {
		t.Errorf("the EXIF of the %s has %d fields", img.Format, n)
		return
	}
	for i, want := range []struct {
		tag  uint16
		text string
	}{{0x13b, theAuthor}, {0x8298, theCopyright}} {
		e := block[10+12*i:]
		n, at := binary.BigEndian.Uint32(e[4:]), binary.BigEndian.Uint32(e[8:])
		if tag, text := binary.BigEndian.Uint16(e), string(block[at:at+n]); tag != want.tag ||
			text != want.text+"\x00" {
			t.Errorf("the %s says %#x %q, want %#x %q", img.Format, tag, text, want.tag, want.text)
		}
	}
	if next := binary.BigEndian.Uint32(block[10+24:]); next != 0 {
		t.Errorf("the EXIF of the %s has another directory", img.Format)
	}
}
