package resizetest

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color/palette"
	"image/gif"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// Bombs returns originals that cost more than their size suggests, have false headers, or contain
// other data: some megabytes in all. If Want is nil, an image may be made, or the original may be
// refused as corrupt, too large or unsupported. In no case does the answer contain Needle.
func Bombs(t testing.TB) []Hostile {
	picture := jpegOf(t, noisy(64, 48))
	whole := pngOf(t, noisy(64, 48))
	still := gifOf(t, plainGIF())
	laughs := `<!DOCTYPE x [<!ENTITY a "` + Needle + strings.Repeat("a", 100) + `">` +
		entities("a", "b") + entities("b", "c") + entities("c", "d") + entities("d", "e") + `]><x>&e;</x>`
	xmp := segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00", laughs)
	return []Hostile{
		{"GIF of 100,000 frames", manyFramesGIF(100_000), nil},
		{"WebP of 100,000 frames", manyFramesWebP(100_000), nil},
		{
			"APNG of 100,000 frames",
			inPNG(whole, pngChunk("acTL", append(be32(100_000), be32(0)...)), bytes.Repeat(frameControl(), 100_000)),
			nil,
		},
		{
			"APNG that says 2^31-1 frames",
			inPNG(whole, pngChunk("acTL", append(be32(1<<31-1), be32(0)...))),
			nil,
		},
		{"WebP of 16383x16383 in 30 bytes", riffOf("VP8L", losslessHeader(16383, 16383)), resize.ErrTooLarge},
		{"WebP of a canvas of 2^24x2^24", riffOf("VP8X", []byte("\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff")), nil},
		{"TIFF of 60000x60000", tiffOf(60_000, 60_000), resize.ErrTooLarge},
		{"TIFF whose next directory is the first", tiffOf(7000, 7000), nil},

		// Within the limits, but compressed to a thousandth of the size of their pixels.
		{"PNG of 59 megapixels of nothing", pngOfNothing(7680, 7680, 8, 0, 1), nil},
		{"PNG of 59 megapixels of 8 bytes", pngOfNothing(7680, 7680, 16, 6, 8), nil},
		{"interlaced PNG of 25 megapixels of nothing", saidInterlaced(pngOfNothing(5000, 5000, 8, 0, 1)), nil},
		{"JPEG of 56 megapixels and 100 scans", manyScans(8000, 7000, 98), nil},

		{"PNG with a profile of 64 MiB in 64 KiB",
			inPNG(whole, pngChunk("iCCP", append([]byte("icc\x00\x00"), deflated(make([]byte, 64<<20))...))), nil},
		{"PNG with 200 texts of 8 MiB in 8 KiB", inPNG(whole, bytes.Repeat(pngChunk("zTXt",
			append([]byte(Needle+"\x00\x00"), deflated(make([]byte, 8<<20))...)), 200)), nil},
		{"PNG with 200 texts of 8 MiB in any language", inPNG(whole, bytes.Repeat(pngChunk("iTXt",
			append([]byte(Needle+"\x00\x01\x00\x00\x00"), deflated(make([]byte, 8<<20))...)), 200)), nil},
		{"PNG with 50,000 texts",
			inPNG(whole, bytes.Repeat(pngChunk("tEXt", []byte(Needle+"\x00"+Needle)), 50_000)), nil},
		{"JPEG with 200 full segments", inJPEG(picture,
			bytes.Repeat(segment(0xe1, "Exif\x00\x00", Needle, strings.Repeat("\x00", 65_000)), 200)), nil},
		{"JPEG with 50,000 comments", inJPEG(picture, bytes.Repeat(segment(0xfe, Needle), 50_000)), nil},
		{"JPEG whose EXIF is its own child", inJPEG(picture, segment(0xe1, "Exif\x00\x00", nestedEXIF(8))), nil},
		{"JPEG whose EXIF has 3,000 generations", inJPEG(picture, segment(0xe1, "Exif\x00\x00", deepEXIF(3000))), nil},
		{"JPEG whose EXIF points out of the file",
			inJPEG(picture, segment(0xe1, "Exif\x00\x00", nestedEXIF(0xfffffff0))), nil},
		{"JPEG with a billion laughs in its XMP", inJPEG(picture, xmp), nil},
		{"JPEG with one of 255 parts of a profile",
			inJPEG(picture, segment(0xe2, "ICC_PROFILE\x00\x02\xff", Needle)), nil},
		{"JPEG with an invalid profile",
			inJPEG(picture, segment(0xe2, "ICC_PROFILE\x00\x01\x01", Needle, strings.Repeat("\xff", 500))), nil},

		{"JPEG and archive", append(bytes.Clone(picture),
			"PK\x03\x04"+Needle+strings.Repeat("\x00", 30)+"PK\x05\x06"+strings.Repeat("\x00", 18)...), nil},
		{"JPEG and page", inJPEG(picture, segment(0xfe, "<html><script>alert('"+Needle+"')</script>")), nil},
		{"JPEG and PDF", inJPEG(picture,
			segment(0xfe, "%PDF-1.7\n1 0 obj<</"+Needle+">>endobj\ntrailer<</Root 1 0 R>>\n%%EOF")), nil},
		{"GIF and script", append(append([]byte("GIF89a/*"), still[8:]...), "*/=1;alert('"+Needle+"')"...), nil},
		{"PNG and PHP", inPNG(whole, pngChunk("tEXt", []byte("c\x00<?php system('"+Needle+"'); ?>"))), nil},
		{"PNG in a JPEG's clothes", append([]byte("\xff\xd8\xff\xe0"), whole...), resize.ErrCorrupt},
		{"two JPEGs", append(bytes.Clone(picture), picture...), nil},
	}
}

// Needle is planted in Bombs and must not come out.
const Needle = "nEEdLe"

func entities(of, name string) string {
	return `<!ENTITY ` + name + ` "` + strings.Repeat("&"+of+";", 100) + `">`
}

func plainGIF() *gif.GIF {
	frame := image.NewPaletted(image.Rect(0, 0, 16, 16), palette.Plan9)
	return &gif.GIF{Image: []*image.Paletted{frame}, Delay: []int{0}}
}

func manyFramesGIF(n int) []byte {
	frame := []byte("\x21\xf9\x04\x00\x01\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00")
	file := append([]byte("GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff"), bytes.Repeat(frame, n)...)
	return append(file, ';')
}

// losslessHeader is the beginning of a VP8L picture.
func losslessHeader(w, h int) []byte {
	return append([]byte{0x2f}, binary.LittleEndian.AppendUint32(nil, uint32(w-1)|uint32(h-1)<<14)...)
}

func chunkOf(name string, body []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body))), body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

func riffOf(name string, body []byte) []byte {
	c := chunkOf(name, append(body, make([]byte, 12)...))
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(c)+4)), append([]byte("WEBP"), c...)...)
}

func manyFramesWebP(n int) []byte {
	dot := chunkOf("VP8L", append(losslessHeader(1, 1), 0x10, 0x07, 0x10, 0x11, 0x11, 0x88, 0x88, 0x08))
	frame := chunkOf("ANMF", append(make([]byte, 16), dot...))
	body := append([]byte("WEBP"), chunkOf("VP8X", []byte("\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00"))...)
	body = append(append(body, chunkOf("ANIM", make([]byte, 6))...), bytes.Repeat(frame, n)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func frameControl() []byte {
	body := append(append(be32(0), be32(64)...), be32(48)...)
	return pngChunk("fcTL", append(body, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 10, 0, 0))
}

// tiffOf is an 8-bit grey TIFF with a strip of one byte; its directory refers to itself as the next
// one.
func tiffOf(w, h int) []byte {
	b := []byte("II*\x00\x08\x00\x00\x00")
	entries := [][2]int{{256, w}, {257, h}, {258, 8}, {259, 1}, {262, 1}, {273, 4}, {277, 1}, {278, h}, {279, 1}}
	b = binary.LittleEndian.AppendUint16(b, uint16(len(entries)))
	for _, e := range entries {
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(e[0])), 4)
		b = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, 1), uint32(e[1]))
	}
	return binary.LittleEndian.AppendUint32(b, 8)
}

// pngOfNothing is a PNG of zeros.
func pngOfNothing(w, h int, depth, colour byte, bytesPerPixel int) []byte {
	header := append(append(be32(uint32(w)), be32(uint32(h))...), depth, colour, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", header)...)
	return append(append(b, pngChunk("IDAT", deflated(make([]byte, h*(1+w*bytesPerPixel))))...), pngChunk("IEND", nil)...)
}

// saidInterlaced sets the interlace flag of a PNG, whether or not its pixels are interlaced.
func saidInterlaced(png []byte) []byte {
	const at, n = 8, 13
	header := bytes.Clone(png[at+8 : at+8+n])
	header[12] = 1
	return append(append(bytes.Clone(png[:at]), pngChunk("IHDR", header)...), png[at+12+n:]...)
}

// manyScans is a progressive grey JPEG of one DC scan and n AC scans that declare all blocks
// empty.
func manyScans(w, h, n int) []byte {
	b := append([]byte{0xff, 0xd8}, segment(0xdb, "\x00", strings.Repeat("\x01", 64))...)
	b = append(b,
		segment(0xc2, "\x08", string([]byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)}), "\x01\x01\x11\x00")...)
	one := "\x01" + string(make([]byte, 15)) // one code, of one bit: 0
	b = append(b, segment(0xc4, "\x00"+one+"\x00")...)
	b = append(b, segment(0xc4, "\x10"+one+"\xe0")...) // AC: a run of 2^14 blocks and more
	blocks := (w + 7) / 8 * ((h + 7) / 8)
	b = append(append(b, segment(0xda, "\x01\x01\x00\x00\x00\x00")...), make([]byte, (blocks+7)/8)...)
	for range n {
		// A code of one bit and 14 bits of length, all zero: 2^14 blocks.
		b = append(append(b, segment(0xda, "\x01\x01\x00\x01\x3f\x00")...), make([]byte, (blocks>>14+1)*15/8+1)...)
	}
	return append(b, 0xff, 0xd9)
}

// nestedEXIF is a block whose child (tag 0x8769) is at the given place: 8 is itself.
func nestedEXIF(at uint32) string {
	b := []byte("MM\x00*\x00\x00\x00\x08\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01")
	return string(append(append(b, be32(at)...), be32(8)...)) + Needle
}

// deepEXIF is a block of n nested directories.
func deepEXIF(n int) string {
	b := []byte("MM\x00*\x00\x00\x00\x08")
	for i := range n {
		b = append(append(b, "\x00\x01\x87\x69\x00\x04\x00\x00\x00\x01"...), be32(uint32(8+18*(i+1)))...)
		b = append(b, 0, 0, 0, 0)
	}
	return string(append(b, 0, 0, 0, 0, 0, 0))
}
