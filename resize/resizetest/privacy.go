package resizetest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"slices"
	"testing"
	"unicode/utf16"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// needle is the text inserted into every metadata field, followed by a word for the field.
const needle = "NEEDLE48.2082N"

func deflated(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	_, _ = w.Write(b) // to memory
	_ = w.Close()
	return out.Bytes()
}

// needled returns originals of several kinds with needles in all fields, and orientation 6.
func needled(t *testing.T, r resize.Resizer) map[string][]byte {
	picture := scene(160, 120)
	icc := iccProfile(displayP3, 2.2, needle+"icc")
	block := exif(6, needle+"artist", needle+"gps")
	packet := xmp(needle + "xmp")

	photo := inJPEG(withProfile(jpegOf(t, picture.image()), icc),
		segment(0xe0, "JFIF\x00\x01\x02\x01\x00\x48\x00\x48\x00\x00"),
		segment(0xe1, "Exif\x00\x00", string(block)),
		segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00", packet),
		segment(0xed, iptc(needle+"iptc")),
		segment(0xfe, needle+"comment"),
		segment(0xe5, needle+"app5"),
		segment(0xeb, "JP\x00\x01", needle+"c2pa"),
	)
	photo = append(photo, needle+"behind"...)

	drawing := inPNG(pngOf(t, veiled(picture).image()),
		pngChunk("iCCP", append([]byte("p\x00\x00"), deflated(icc)...)),
		pngChunk("eXIf", block),
		pngChunk("tEXt", []byte("Author\x00"+needle+"text")),
		pngChunk("zTXt", append([]byte("Comment\x00\x00"), deflated([]byte(needle+"ztxt"))...)),
		pngChunk("iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+packet)),
		pngChunk("pHYs", []byte{0, 0, 0x0b, 0x13, 0, 0, 0x0b, 0x13, 1}),
		pngChunk("tIME", []byte{7, 0xea, 11, 24, 1, 2, 3}),
	)
	web := inWebP(encoded(t, r, picture.image(), "webp"), 160, 120, icc, block, []byte(packet))

	frame := image.NewPaletted(image.Rect(0, 0, 160, 120), palette.Plan9)
	draw.Draw(frame, frame.Bounds(), picture.image(), image.Point{}, draw.Src)
	still := inGIF(gifOf(t, &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}}), needle+"comment", packet)
	return map[string][]byte{"jpeg": photo, "png": drawing, "webp": web, "gif": still}
}

func needles(t *testing.T, r resize.Resizer) {
	originals := needled(t, r)
	for kind, original := range originals {
		if !bytes.Contains(original, []byte(needle)) {
			t.Fatalf("%s: the original does not contain the planted metadata", kind)
		}
		for _, name := range []string{
			"80x.jpg", "80x.png", "80x.webp", "80x.avif", "80x.gif", "80x.heic", "80x.jxl",
			"8192x8192.webp", "80x80-cover-smart-gray.png", "80x80-pad-rot90.jpg",
		} {
			t.Run(kind+" to "+name, func(t *testing.T) { bare(t, one(t, r, original, name)) })
		}
	}
	t.Run("photos", func(t *testing.T) {
		for _, name := range []string{
			"phone-orient6-p3.jpg", "phone-android.jpg", "paper-alpha.png", "photo.avif", "animation-small.gif",
		} {
			for _, form := range []string{"80x.jpg", "80x.png", "80x-still.webp", "80x.avif"} {
				bare(t, one(t, r, testutil.Photo(t, name), form))
			}
		}
	})
}

// bare fails the test if img contains a needle, or a part that pixels do not need.
func bare(t *testing.T, img resize.Image) {
	t.Helper()
	bareBut(t, img)
}

// bareBut is bare for a file that must have exactly these other parts, each once.
func bareBut(t *testing.T, img resize.Image, others ...string) {
	t.Helper()
	wide := utf16.Encode([]rune(needle))
	big, little := []byte(nil), []byte(nil)
	for _, u := range wide {
		big, little = binary.BigEndian.AppendUint16(big, u), binary.LittleEndian.AppendUint16(little, u)
	}
	for _, n := range [][]byte{[]byte(needle), big, little} {
		if bytes.Contains(img.Body, n) {
			t.Errorf("the %s contains planted metadata: %q", img.Format, n)
		}
	}
	var found []string
	for _, part := range parts(img) {
		if !harmless[img.Format][part] {
			found = append(found, part)
		}
	}
	slices.Sort(found)
	slices.Sort(others)
	if !slices.Equal(found, others) {
		t.Errorf("the %s has the parts %q in addition to the picture, want %q", img.Format, found, others)
	}
}

// harmless are the parts that pixels need. JFIF and the Adobe marker define how colours are coded.
var harmless = map[resize.Format]map[string]bool{
	resize.JPEG: {"e0": true, "ee": true, "db": true, "c2": true, "c4": true, "dd": true, "da": true},
	resize.PNG:  {"IHDR": true, "PLTE": true, "tRNS": true, "IDAT": true, "IEND": true},
	resize.WebP: {"VP8X": true, "ALPH": true, "VP8 ": true, "VP8L": true},
	resize.AVIF: {}, resize.HEIC: {}, resize.JXL: {},
	resize.GIF: {"f9": true, ",": true, "NETSCAPE2.0": true},
}

// parts lists the segments before the first scan, the chunks, or the forbidden boxes.
func parts(img resize.Image) (names []string) {
	b := img.Body
	switch img.Format {
	case resize.JPEG:
		for at := 2; at+4 <= len(b) && b[at] == 0xff; {
			name := string("0123456789abcdef"[b[at+1]>>4]) + string("0123456789abcdef"[b[at+1]&15])
			names = append(names, name)
			if name == "da" {
				break
			}
			at += 2 + int(binary.BigEndian.Uint16(b[at+2:]))
		}
	case resize.PNG:
		for at := 8; at+12 <= len(b); at += 12 + int(binary.BigEndian.Uint32(b[at:])) {
			names = append(names, string(b[at+4:at+8]))
		}
	case resize.WebP:
		for at := 12; at+8 <= len(b); {
			names = append(names, string(b[at:at+4]))
			n := int(binary.LittleEndian.Uint32(b[at+4:]))
			at += 8 + n + n&1
		}
	case resize.GIF:
		names = partsOfGIF(b)
	case resize.AVIF, resize.HEIC, resize.JXL:
		head := b
		if i := bytes.Index(b, []byte("mdat")); i >= 0 {
			head = b[:i]
		}
		for _, name := range []string{"Exif", "mime", "uri ", "prof", "rICC", "xml ", "brob"} {
			if bytes.Contains(head, []byte(name)) {
				names = append(names, name)
			}
		}
	}
	return names
}

// partsOfGIF lists extensions by label, application extensions by name, and pictures as ",".
func partsOfGIF(b []byte) (names []string) {
	table := func(flags byte) int {
		if flags&0x80 == 0 {
			return 0
		}
		return 3 << (flags&7 + 1)
	}
	at := 13 + table(b[10])
	for at < len(b) && b[at] != ';' {
		switch {
		case b[at] == '!' && b[at+1] == 0xff:
			names = append(names, string(b[at+3:at+3+int(b[at+2])]))
			at += 2
		case b[at] == '!':
			names = append(names, string("0123456789abcdef"[b[at+1]>>4])+string("0123456789abcdef"[b[at+1]&15]))
			at += 2
		default:
			names = append(names, ",")
			at += 11 + table(b[at+9])
		}
		for ; b[at] != 0; at += 1 + int(b[at]) {
		}
		at++
	}
	return names
}
