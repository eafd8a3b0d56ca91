package resize

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests use small synthetic files, and the files in testdata/header, which libvips 8.14.1
// made from a black image.

func TestReadHeader_SyntheticFiles(t *testing.T) {
	exif := func(orientation int) string { return "Exif\x00\x00" + tiffFile([2]int{tagOrientation, orientation}) }
	for _, c := range []struct {
		name, file string
		want       Header
	}{
		{"JPEG", "\xff\xd8" + jpegSOF(0xc0, 640, 480, 3) + jpegScan + "\xff\xd9",
			Header{Kind: KindJPEG, Width: 640, Height: 480, Channels: 3, BitDepth: 8}},
		{"grey progressive JPEG, fill bytes, garbage between segments",
			"\xff\xd8\xff\xff\xff\xe0\x00\x02junk" + jpegSOF(0xc2, 1, 65535, 1) + jpegScan + jpegScan + "\xff\xd9",
			Header{Kind: KindJPEG, Width: 1, Height: 65535, Channels: 1, BitDepth: 8, Progressive: true}},
		{"CMYK JPEG with a thumbnail in its EXIF",
			"\xff\xd8" + jpegPart(0xe1, exif(8)+"\xff\xd8"+jpegSOF(0xc0, 160, 120, 3)+"\xff\xd9") +
				jpegPart(0xe1, exif(3)) + jpegSOF(0xc1, 640, 480, 4) + jpegScan + "\xff\xd9",
			Header{Kind: KindJPEG, Width: 640, Height: 480, Channels: 4, BitDepth: 8, CMYK: true, Orientation: 8}},
		{"JPEG with an invalid orientation",
			"\xff\xd8" + jpegPart(0xe1, exif(9)) + jpegSOF(0xc0, 2, 1, 3) + jpegScan + "\xff\xd9",
			Header{Kind: KindJPEG, Width: 2, Height: 1, Channels: 3, BitDepth: 8}},
		{"PNG", pngMagic + pngIHDR(3, 2, "\x10\x06\x00\x00\x01") +
			pngPart("eXIf", exif(6)[6:]) + pngPart("IDAT", "data") + pngPart("IEND", ""),
			Header{
				Kind: KindPNG, Width: 3, Height: 2, Channels: 4, BitDepth: 16, Alpha: true,
				Progressive: true, Orientation: 6,
			}},
		{"APNG of a palette", pngMagic + pngIHDR(3, 2, "\x01\x03\x00\x00\x00") +
			pngPart("acTL", u32(7)+u32(0)) + string(pngChunkOf("tRNS", []byte{0})) +
			pngPart("IDAT", "data") + pngPart("IEND", ""),
			Header{
				Kind: KindPNG, Width: 3, Height: 2, Channels: 4, BitDepth: 1, Alpha: true,
				Frames: 7, Animated: true,
			}},
		{"GIF whose frame is larger than its screen",
			gif(10, 20, gifFrame(5, 5, 300, 2)+gifFrame(0, 0, 1, 400)+"\x00\x3b"),
			Header{
				Kind: KindGIF, Width: 305, Height: 20, LargestWidth: 305, LargestHeight: 400, Channels: 4, BitDepth: 8,
				Alpha:  true, // the frame does not reach the corner
				Frames: 2, Animated: true,
			}},
		{"GIF without a screen", gif(0, 0, gifFrame(0, 0, 3, 2)+"\x3b"),
			Header{Kind: KindGIF, Width: 3, Height: 2, Channels: 3, BitDepth: 8}},
		{"WebP", riff(webpPart("VP8 ", vp8(0x4000|33, 0xc000|44))), // with the bits of scaling, which are not used
			Header{Kind: KindWebP, Width: 33, Height: 44, Channels: 3, BitDepth: 8}},
		{"lossless WebP", riff(webpPart("VP8L", vp8l(16384, 5))),
			Header{Kind: KindWebP, Width: 16384, Height: 5, Channels: 3, BitDepth: 8}},
		{"animated WebP, orientation at its end",
			riff(vp8x(0x1a, 100, 50) + webpPart("ANIM", "\x00\x00\x00\x00\x00\x00") +
				anmf(0, 0, 100, 50, webpPart("ALPH", "a")+webpPart("VP8 ", vp8(100, 50))) +
				anmf(98, 48, 2, 2, webpPart("VP8L", vp8l(2, 2))) + webpPart("EXIF", exif(5))),
			Header{
				Kind: KindWebP, Width: 100, Height: 50, Channels: 4, BitDepth: 8, Alpha: true,
				Frames: 2, Animated: true, Orientation: 5,
			}},
		{"TIFF", tiffFile(
			[2]int{tagWidth, 30}, [2]int{tagHeight, 20}, [2]int{tagBits, 16},
			[2]int{tagSamples, 4}, [2]int{tagPhotometric, 5}, [2]int{tagOrientation, 3}),
			Header{Kind: KindTIFF, Width: 30, Height: 20, Channels: 4, BitDepth: 16, CMYK: true, Orientation: 3}},
		{"TIFF whose first page is a preview", tiffPages(
			[][2]int{{tagSubfile, 1}, {tagWidth, 3}, {tagHeight, 2}, {tagBits, 8}},
			[][2]int{{tagSubfile, 0}, {tagWidth, 30}, {tagHeight, 20}, {tagBits, 8}}),
			Header{Kind: KindTIFF, Width: 30, Height: 20, Channels: 1, BitDepth: 8}},
		{"TIFF of nothing but a preview", tiffFile([2]int{tagSubfile, 1}, [2]int{tagWidth, 3}, [2]int{tagHeight, 2}),
			Header{Kind: KindTIFF, Width: 3, Height: 2, Channels: 1, BitDepth: 1}},
		{"JPEG whose height follows its scan", "\xff\xd8" + jpegSOF(0xc0, 640, 0, 3) + jpegScan +
			jpegPart(0xdc, u16(480)) + "\xff\xd9",
			Header{Kind: KindJPEG, Width: 640, Height: 480, Channels: 3, BitDepth: 8}},
		{"AVIF, turned and mirrored", heif("avif", "av01", "", "data", ispe(30, 20),
			box("irot", "\x01"), box("imir", "\x01"), box("pixi", u32(0)+"\x03\x0a\x0a\x0a")),
			Header{Kind: KindAVIF, Width: 30, Height: 20, Channels: 3, BitDepth: 10, Orientation: 7}},
		{"HEIC that is cropped", heif("heic", "hvc1", "", "data", ispe(64, 64),
			box("clap", u32(30)+u32(1)+u32(40)+u32(2)+u32(0)+u32(1)+u32(0)+u32(1)), box("irot", "\x03")),
			Header{
				Kind: KindHEIC, Width: 30, Height: 20, LargestWidth: 64, LargestHeight: 64,
				Channels: 3, BitDepth: 8, Orientation: 6, CodedWidth: 64, CodedHeight: 64, Left: 17, Top: 22,
			}},
		{"HEIC of tiles",
			heif("heic", "grid", tiles(6), "\x00\x00\x01\x02"+u16(30)+u16(20), ispe(30, 20), ispe(16, 16)),
			Header{
				Kind: KindHEIC, Width: 30, Height: 20, LargestWidth: 48, LargestHeight: 32,
				Channels: 3, BitDepth: 8,
			}},
		{"HEIC with a second, larger picture",
			heif("heic", "hvc1", "", "data", ispe(900, 1), ispe(1, 800), ispe(3, 2)),
			Header{
				Kind: KindHEIC, Width: 3, Height: 2, LargestWidth: 900, LargestHeight: 800,
				Channels: 3, BitDepth: 8,
			}},
		{"AVIF with wide ids", wideAVIF("av01", ispe(3, 2)),
			Header{Kind: KindAVIF, Width: 3, Height: 2, Channels: 3, BitDepth: 8}},
		{"AVIF of a still and a sequence", heif("avis", "av01", "", "data", ispe(3, 2)) + sequence(9, 40, 30),
			Header{
				Kind: KindAVIF, Width: 3, Height: 2, Channels: 3, BitDepth: 8,
				LargestWidth: 40, LargestHeight: 30, Frames: 9, Animated: true,
			}},
		{"AVIF with an alpha image", heif("avif", "av01", box("iref", u32(0)+box("auxl", u16(1)+u16(1)+u16(1))),
			"data", // of its own alpha, too
			box("auxC", u32(0)+"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\x00"), ispe(3, 2), box("colr", "prof")),
			Header{Kind: KindAVIF, Width: 3, Height: 2, Channels: 4, BitDepth: 8, Alpha: true, Profile: true}},
		{"JPEG XL of 10 bits, turned, with a preview, an animation and alpha", string(jxlFile(
			0, 1 /* height */, 0, 2, 299, 9 /* free ratio */, 0, 3 /* width */, 0, 2, 399, 9,
			/* not all default */ 0, 1 /* extra fields */, 1, 1 /* orientation */, 4, 3 /* no intrinsic size */, 0, 1,
			/* preview in blocks */ 1, 1, 1, 1, 3, 2, 99, 9 /* square */, 1, 3,
			/* animation */ 1, 1, 0, 2, 0, 2, 1, 2, 5, 3, 0, 1,
			/* 10 bits */ 0, 1, 1, 2, 1, 1 /* one extra channel, alpha by default */, 1, 2, 1, 1)),
			Header{
				Kind: KindJXL, Width: 400, Height: 300, LargestWidth: 1056, LargestHeight: 1056,
				Channels: 4, BitDepth: 10, Alpha: true, Animated: true, Orientation: 5,
			}},
		{"JPEG XL of floats with a black channel", string(jxlFile(
			/* small */ 1, 1 /* height 16 */, 1, 5 /* 2:1 */, 7, 3 /* metadata */, 0, 1, 0, 1,
			/* 16-bit floats */ 1, 1, 1, 2, 4, 4, 0, 1 /* one extra channel, black */, 1, 2, 0, 1, 2, 2, 2, 4)),
			Header{Kind: KindJXL, Width: 32, Height: 16, Channels: 4, BitDepth: 16, CMYK: true}},
		{"AVIF that says no more than HEIF", heif("mif1", "av01", "", "data", ispe(3, 2)),
			Header{Kind: KindAVIF, Width: 3, Height: 2, Channels: 3, BitDepth: 8}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Clip([]byte(c.file))
			c.want.Orientation = max(c.want.Orientation, 1)
			c.want.Frames = max(c.want.Frames, 1)
			c.want.widen(c.want.Width, c.want.Height)
			h, err := ReadHeader(b)
			if err != nil || h != c.want {
				t.Errorf("%s:\n     %+v, %v\nwant %+v", c.name, h, err, c.want)
				return
			}
			if err := CheckComplete(b, h); err != nil {
				t.Error(err)
			}
		})
	}
}

func smallFiles(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/header/*")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d files of testdata, %v", len(paths), err)
	}
	files := map[string][]byte{}
	for _, path := range paths {
		if files[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestReadHeader_LibvipsFiles(t *testing.T) {
	for name, b := range smallFiles(t) {
		t.Run(name, func(t *testing.T) {
			h, err := ReadHeader(b)
			if err != nil {
				t.Error(err)
				return
			}
			want := "-" + itoa(h.Width) + "x" + itoa(h.Height) + "."
			if !strings.Contains(name, want) || h.Alpha != strings.HasPrefix(name, "rgba") && h.Kind != KindGIF ||
				h.Animated != strings.HasPrefix(name, "animated") || h.Animated != (h.Frames == 3) ||
				h.Orientation != 1 || h.BitDepth != 8 || h.Progressive != strings.HasPrefix(name, "progressive") {
				t.Errorf("%+v", h)
			}
			kind := strings.Replace(h.Kind.String(), "jpeg", "jpg", 1)
			if !strings.HasPrefix(kind, strings.TrimPrefix(filepath.Ext(name), ".")) {
				t.Errorf("kind %v", h.Kind)
			}
			if err := CheckComplete(b, h); err != nil {
				t.Error(err)
			}
			pixels := map[string]int{ // smallest prefix with all pixels, or for which only a decoder can tell
				"rgb-7x5.jpg": 605, "progressive-7x5.jpg": 498, "rgb-7x5.png": 69, "rgba-7x5.png": 69,
				"rgb-7x5.tif": 214,
				"rgb-7x5.gif": 62, "animated-7x5.gif": 71, // after its first frame, without a trailer
			}[name]
			for keep := range b {
				if pixels > 0 && keep >= pixels {
					break
				}
				cut := b[:keep]
				h, err := ReadHeader(cut)
				if err == nil {
					err = CheckComplete(cut, h)
				}
				if bare := h.Kind == KindJXL && string(cut[:2]) == "\xff\x0a"; !errors.Is(err, ErrCorrupt) && !bare {
					t.Errorf("%s with %d of %d bytes: %v", name, keep, len(b), err)
				}
			}
		})
	}
}

func itoa(n int) string { return string(appendSide(nil, n)) }

func TestReadHeader_HEIF_ComposesOrientation(t *testing.T) {
	// A rotation or mirror as a matrix for points (x, y), with y down and the origin in the middle.
	type matrix [4]int
	mul := func(b, a matrix) matrix { // first a, then b
		return matrix{b[0]*a[0] + b[1]*a[2], b[0]*a[1] + b[1]*a[3], b[2]*a[0] + b[3]*a[2], b[2]*a[1] + b[3]*a[3]}
	}
	exif := map[matrix]int{ // EXIF 2.3, tag 274
		{1, 0, 0, 1}: 1, {-1, 0, 0, 1}: 2, {-1, 0, 0, -1}: 3, {1, 0, 0, -1}: 4,
		{0, 1, 1, 0}: 5, {0, -1, 1, 0}: 6, {0, -1, -1, 0}: 7, {0, 1, -1, 0}: 8,
	}
	counterClockwise, flip, flop := matrix{0, 1, -1, 0}, matrix{1, 0, 0, -1}, matrix{-1, 0, 0, 1}
	for quarters := range 4 {
		for _, m := range []struct {
			boxes  []string
			matrix matrix
		}{
			{nil, matrix{1, 0, 0, 1}},
			{[]string{box("imir", "\x00")}, flip},
			{[]string{box("imir", "\x01")}, flop},
			{[]string{box("imir", "\x01"), box("imir", "\x00")}, mul(flip, flop)},
		} {
			turn := matrix{1, 0, 0, 1}
			for range quarters {
				turn = mul(counterClockwise, turn)
			}
			irot := box("irot", string([]byte{byte(quarters)}))
			for _, order := range []struct {
				boxes []string
				want  int
			}{
				{append([]string{ispe(3, 2), irot}, m.boxes...), exif[mul(m.matrix, turn)]},
				{append(append([]string{ispe(3, 2)}, m.boxes...), irot), exif[mul(turn, m.matrix)]},
			} {
				h, err := ReadHeader([]byte(heif("avif", "av01", "", "data", order.boxes...)))
				if err != nil || h.Orientation != order.want {
					t.Errorf("%q: orientation %d, %v, want %d", order.boxes[1:], h.Orientation, err, order.want)
				}
			}
		}
	}
}

func TestReadHeader_RefusesInvalidFiles(t *testing.T) {
	frame := jpegSOF(0xc0, 640, 480, 3)
	for _, c := range []struct {
		name, file string
		want       error
	}{
		{"nothing", "", ErrCorrupt},
		{"one byte", "\xff", ErrCorrupt},
		{"zeros", strings.Repeat("\x00", 100), ErrUnsupported},
		{"SVG", `<svg xmlns="http://www.w3.org/2000/svg"/>`, ErrUnsupported},
		{"XML", `<?xml version="1.0"?><svg/>`, ErrUnsupported},
		{"SVG after a blank", "\n   <svg/>     ", ErrUnsupported},
		{"svgz", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00", ErrUnsupported},
		{"PDF", "%PDF-1.7\n%....\n", ErrUnsupported},
		{"BMP", "BM" + strings.Repeat("\x00", 60), ErrUnsupported},
		{"Photoshop", "8BPS" + strings.Repeat("\x00", 60), ErrUnsupported},
		{"icon", "\x00\x00\x01\x00\x01\x00" + strings.Repeat("\x00", 60), ErrUnsupported},
		{"MVG", "push graphic-context\n", ErrUnsupported},
		{"MSL", "<image><read filename='x'/></image>", ErrUnsupported},
		{"HTML", "<!doctype html><html>", ErrUnsupported},
		{"BigTIFF", "II+\x00\x08\x00\x00\x00" + strings.Repeat("\x00", 60), ErrUnsupported},
		{"JPEG 2000", "\x00\x00\x00\x0cjP  \x0d\x0a\x87\x0a", ErrUnsupported},
		{"video", box("ftyp", "mp42\x00\x00\x00\x00isommp42") + box("moov", ""), ErrUnsupported},
		{"raw photo of boxes", box("ftyp", "crx \x00\x00\x00\x01crx isom") + box("moov", ""), ErrUnsupported},
		{"RIFF of sound", "RIFF\x24\x00\x00\x00WAVEfmt ", ErrUnsupported},
		{"OpenEXR", "\x76\x2f\x31\x01" + strings.Repeat("\x00", 60), ErrUnsupported},

		{"JPEG without a frame header", "\xff\xd8\xff\xe0\x00\x04ab" + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG without a scan", "\xff\xd8" + frame + "\xff\xd9", ErrCorrupt},
		{"JPEG of two frame headers", "\xff\xd8" + frame + jpegSOF(0xc0, 1, 1, 3) + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG of no width", "\xff\xd8" + jpegSOF(0xc0, 0, 480, 3) + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG of no height before a second scan",
			"\xff\xd8" + jpegSOF(0xc0, 640, 0, 3) + jpegScan + jpegScan + jpegPart(0xdc, u16(9)), ErrCorrupt},
		{"JPEG of no height", "\xff\xd8" + jpegSOF(0xc0, 640, 0, 3) + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG whose frame header is too short",
			"\xff\xd8" + jpegPart(0xc0, "\x08\x00\x01\x00\x01\x03\x01\x11\x00") + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG with a sampling of zero",
			"\xff\xd8" + jpegPart(0xc0, "\x08\x00\x01\x00\x01\x01\x01\x00\x00") + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG with a segment of length 1", "\xff\xd8\xff\xe0\x00\x01" + frame + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG that ends in a segment", "\xff\xd8\xff\xe0\xff\xff" + frame + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG in a JPEG", "\xff\xd8\xff\xd8" + frame + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG that ends before all components are sent", "\xff\xd8" + frame + jpegScan, ErrCorrupt},
		{"progressive JPEG that ends before its last bits",
			"\xff\xd8" + jpegSOF(0xc2, 640, 480, 1) +
				"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x01data" +
				"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x01data", ErrCorrupt},
		{"JPEG with a frame header after a scan",
			"\xff\xd8" + frame + jpegScan + frame + jpegScan + "\xff\xd9", ErrCorrupt},
		{"JPEG, lossless", "\xff\xd8" + jpegSOF(0xc3, 640, 480, 3) + jpegScan + "\xff\xd9", ErrUnsupported},
		{"JPEG, hierarchical", "\xff\xd8" + jpegSOF(0xc5, 640, 480, 3) + jpegScan + "\xff\xd9", ErrUnsupported},
		{"JPEG of 12 bits",
			"\xff\xd8" + strings.Replace(frame, "\x08", "\x0c", 1) + jpegScan + "\xff\xd9", ErrUnsupported},
		{"JPEG of two components", "\xff\xd8" + jpegSOF(0xc0, 640, 480, 2) + jpegScan + "\xff\xd9", ErrUnsupported},
		{"JPEG of a thousand scans",
			"\xff\xd8" + jpegSOF(0xc2, 640, 480, 3) + strings.Repeat(jpegScan, 1000) + "\xff\xd9", ErrTooLarge},

		{"TIFF of 12 bits", tiffFile([2]int{tagWidth, 3}, [2]int{tagHeight, 2}, [2]int{tagBits, 12}), ErrUnsupported},
		{"TIFF of floats of 16 bits", tiffFile(
			[2]int{tagWidth, 3}, [2]int{tagHeight, 2}, [2]int{tagBits, 16}, [2]int{tagFormat, 3}), ErrUnsupported},
		{"TIFF of YCbCr without JPEG", tiffFile([2]int{tagWidth, 3}, [2]int{tagHeight, 2}, [2]int{tagBits, 8},
			[2]int{tagSamples, 3}, [2]int{tagPhotometric, tiffYCbCr}), ErrUnsupported},
		{"TIFF of ICC's Lab", tiffFile([2]int{tagWidth, 3}, [2]int{tagHeight, 2}, [2]int{tagBits, 8},
			[2]int{tagSamples, 3}, [2]int{tagPhotometric, tiffICCLab}), ErrUnsupported},
		{"TIFF of a raw photo, with a preview", tiffFile([2]int{tagSubfile, 1}, [2]int{tagWidth, 3},
			[2]int{tagHeight, 2}, [2]int{tagBits, 8}, [2]int{tagSubIFDs, 8}), ErrUnsupported},
		{"PNG without IHDR", pngMagic + pngPart("IDAT", "data") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG with a short IHDR", pngMagic + pngPart("IHDR", "\x00\x00\x00\x01\x00\x00\x00\x01") +
			pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of no width",
			pngMagic + pngIHDR(0, 1, "\x08\x02\x00\x00\x00") + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of negative width", pngMagic + pngIHDR(1<<31, 1, "\x08\x02\x00\x00\x00") +
			pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of 7 bits",
			pngMagic + pngIHDR(1, 1, "\x07\x02\x00\x00\x00") + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of 255 bits",
			pngMagic + pngIHDR(1, 1, "\xff\x00\x00\x00\x00") + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of colour type 5",
			pngMagic + pngIHDR(1, 1, "\x08\x05\x00\x00\x00") + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG without a picture", pngMagic + pngIHDR(1, 1, "\x08\x02\x00\x00\x00") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG of two headers", pngMagic + pngIHDR(1, 1, "\x08\x02\x00\x00\x00") +
			pngIHDR(9, 9, "\x08\x02\x00\x00\x00") + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},
		{"PNG with a chunk of 4 GB",
			pngMagic + pngIHDR(1, 1, "\x08\x02\x00\x00\x00") + "\xff\xff\xff\xfftEXt", ErrCorrupt},
		{"PNG of iOS",
			pngMagic + pngPart("CgBI", "\x50\x00\x20\x02") + pngIHDR(1, 1, "\x08\x02\x00\x00\x00"), ErrUnsupported},
		{"APNG of no frames", pngMagic + pngIHDR(1, 1, "\x08\x02\x00\x00\x00") +
			pngPart("acTL", u32(0)+u32(0)) + pngPart("IDAT", "") + pngPart("IEND", ""), ErrCorrupt},

		{"GIF without a frame", gif(1, 1, "\x3b"), ErrCorrupt},
		{"GIF whose second frame is missing",
			gif(1, 1, gifFrame(0, 0, 1, 1)+"\x21\xf9\x04\x00\x00\x00\x00\x00"), ErrCorrupt},
		{"GIF whose second frame is cut", gif(9, 9, gifFrame(0, 0, 1, 1)+gifFrame(0, 0, 9, 9)[:13]), ErrCorrupt},
		{"GIF with a block of no type before a frame",
			gif(1, 1, gifFrame(0, 0, 1, 1)+"\x77"+gifFrame(0, 0, 1, 1)+"\x3b"), ErrCorrupt},
		{"GIF of no size", gif(0, 0, gifFrame(0, 0, 0, 0)+"\x3b"), ErrCorrupt},
		{"GIF whose colours are cut short", "GIF89a\x01\x00\x01\x00\xf7\x00\x00abc", ErrCorrupt},
		{"GIF whose extension does not end", gif(1, 1, gifFrame(0, 0, 1, 1)+"\x21\xfe\xff"), ErrCorrupt},

		{"WebP of no chunks", riff(""), ErrCorrupt},
		{"WebP of sound", riff(webpPart("fmt ", "data")), ErrCorrupt},
		{"WebP whose chunk is longer than the file",
			strings.Replace(riff(webpPart("VP8 ", vp8(1, 1))), "VP8 \x0a", "VP8 \x0c", 1), ErrCorrupt},
		{"WebP without the EXIF that it announces",
			strings.Replace(riff(vp8x(8, 1, 1)+webpPart("VP8 ", vp8(1, 1))), "RIFF\x28", "RIFF\xff", 1), ErrCorrupt},
		{"animated WebP, longer than the file", strings.Replace(
			riff(vp8x(2, 1, 1)+anmf(0, 0, 1, 1, webpPart("VP8 ", vp8(1, 1)))), "RIFF\x40", "RIFF\xff", 1), ErrCorrupt},
		{"WebP without a key frame", riff(webpPart("VP8 ", "\x01"+vp8(1, 1)[1:])), ErrCorrupt},
		{"WebP of no width", riff(webpPart("VP8 ", vp8(0, 1))), ErrCorrupt},
		{"WebP of another version", riff(webpPart("VP8L", "\x2f\x00\x00\x00\xe0")), ErrCorrupt},
		{"WebP whose picture is not its canvas", riff(vp8x(0, 10, 10) + webpPart("VP8 ", vp8(11, 10))), ErrCorrupt},
		{"WebP without a picture", riff(vp8x(0, 10, 10) + webpPart("EXIF", "")), ErrCorrupt},
		{"WebP whose frame is not in the canvas",
			riff(vp8x(2, 10, 10) + anmf(2, 0, 10, 10, webpPart("VP8 ", vp8(10, 10)))), ErrCorrupt},
		{"WebP whose frame is larger than it says",
			riff(vp8x(2, 10, 10) + anmf(0, 0, 10, 10, webpPart("VP8 ", vp8(9000, 9000)))), ErrCorrupt},
		{"WebP of a frame without a picture", riff(vp8x(2, 10, 10) + anmf(0, 0, 10, 10, "")), ErrCorrupt},

		{"TIFF without a size", tiffFile(), ErrCorrupt},
		{"TIFF whose directory is elsewhere", "II*\x00\xff\xff\xff\x7f" + strings.Repeat("\x00", 60), ErrCorrupt},
		{"TIFF whose directory is its header", "MM\x00*\x00\x00\x00\x00" + strings.Repeat("\x00", 60), ErrCorrupt},
		{"TIFF whose only entry is cut short",
			"II*\x00\x08\x00\x00\x00\x01\x00" + strings.Repeat("\x00", 10), ErrCorrupt},
		{"TIFF of more entries than there are",
			"II*\x00\x08\x00\x00\x00\xff\xff" + strings.Repeat("\x00", 60), ErrCorrupt},
		{"TIFF of 1000 samples",
			tiffFile([2]int{tagWidth, 1}, [2]int{tagHeight, 1}, [2]int{tagSamples, 1000}), ErrUnsupported},
		{"TIFF of 64 bits", tiffFile([2]int{tagWidth, 1}, [2]int{tagHeight, 1}, [2]int{tagBits, 64}), ErrUnsupported},
		{"DNG", tiffFile([2]int{tagWidth, 1}, [2]int{tagHeight, 1}, [2]int{tagDNGVersion, 1}), ErrUnsupported},
		{"TIFF whose strip is cut", strings.Replace(
			tiffFile([2]int{tagWidth, 4000}, [2]int{tagHeight, 1}),
			l16(tagStripBytes)+l16(4)+l32(1)+l32(4), l16(tagStripBytes)+l16(4)+l32(1)+l32(400), 1,
		), ErrCorrupt},
		{"TIFF whose list of strips is elsewhere", strings.Replace(
			tiffFile([2]int{tagWidth, 1}, [2]int{tagHeight, 1}),
			l16(tagStrips)+l16(4)+l32(1)+l32(8), l16(tagStrips)+l16(4)+l32(1<<31)+l32(8), 1,
		), ErrCorrupt},
		{"TIFF without the length of a strip that is cut", strings.Replace(
			tiffFile([2]int{tagWidth, 4000}, [2]int{tagHeight, 1}), l16(tagStripBytes), l16(9999), 1,
		), ErrCorrupt},
		{"TIFF whose bits per sample are elsewhere", strings.Replace(
			tiffFile([2]int{tagWidth, 1}, [2]int{tagHeight, 1}, [2]int{tagBits, 8}),
			l16(tagBits)+l16(4)+l32(1), l16(tagBits)+l16(4)+l32(300), 1,
		), ErrCorrupt},

		{"AVIF without meta", box("ftyp", "avif\x00\x00\x00\x00") + box("mdat", "data"), ErrCorrupt},
		{"AVIF of a sequence only",
			box("ftyp", "avis\x00\x00\x00\x00") + box("moov", box("trak", "")) + box("mdat", "data"), ErrUnsupported},
		{"AVIF without a size", heif("avif", "av01", "", "data"), ErrCorrupt},
		{"AVIF of no width", heif("avif", "av01", "", "data", ispe(0, 1)), ErrCorrupt},
		{"AVIF whose box has the length 7", box("ftyp", "avif\x00\x00\x00\x00") + "\x00\x00\x00\x07meta", ErrCorrupt},
		{"AVIF whose box has 2^64 bytes",
			box("ftyp", "avif\x00\x00\x00\x00") + "\x00\x00\x00\x01meta" + strings.Repeat("\xff", 8), ErrCorrupt},
		{"AVIF of text", heif("avif", "mime", "", "data", ispe(1, 1)), ErrUnsupported},
		{"HEIC of an overlay", heif("heic", "iovl", tiles(1), "data", ispe(1, 1)), ErrUnsupported},
		{"HEIC of video", heif("heic", "avc1", "", "data", ispe(1, 1)), ErrUnsupported},
		{"HEIC of tiles that are not there",
			heif("heic", "grid", "", "\x00\x00\x01\x02"+u16(30)+u16(20), ispe(30, 20), ispe(9, 10)), ErrCorrupt},
		{"HEIC of fewer tiles than it says",
			heif("heic", "grid", tiles(5), "\x00\x00\x01\x02"+u16(30)+u16(20), ispe(30, 20), ispe(16, 16)), ErrCorrupt},
		{"HEIC whose tiles do not cover it",
			heif("heic", "grid", tiles(6), "\x00\x00\x01\x02"+u16(30)+u16(20), ispe(30, 20), ispe(9, 10)), ErrCorrupt},
		{"HEIC whose grid is cut short",
			heif("heic", "grid", tiles(6), "\x00\x00\x01\x02", ispe(30, 20), ispe(16, 16)), ErrCorrupt},
		{"HEIC whose bytes are elsewhere", strings.Replace(heif("heic", "hvc1", "", "data", ispe(1, 1)),
			u32(4)+"\x00\x00", u32(5)+"\x00\x00", 1), ErrCorrupt},
		{"AVIF with wide ids whose bytes are elsewhere",
			strings.Replace(wideAVIF("av01", ispe(3, 2)), u32(0)+u32(0)+u32(4), u32(0)+u32(0)+u32(400), 1), ErrCorrupt},
		{"HEIC whose bytes begin beyond 2^64",
			heif("heic", "hvc1", box("iloc", u32(0)+"\x44\x80"+u16(1)+u16(1)+u16(0)+
				strings.Repeat("\xff", 8)+u16(1)+u32(9)+u32(4)), "data", ispe(1, 1)), ErrCorrupt},

		{"JPEG XL of one byte more than its magic", "\xff\x0a\x00", ErrCorrupt},
		{"JPEG XL without a codestream", jxlMagic + box("ftyp", "jxl \x00\x00\x00\x00jxl "), ErrCorrupt},
		{"JPEG XL whose codestream is invalid", jxlMagic + box("jxlc", "data data data"), ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := slices.Clip([]byte(c.file))
			h, err := ReadHeader(b)
			if err == nil {
				err = CheckComplete(b, h)
			} else if h != (Header{}) {
				t.Errorf("%+v with an error", h)
			}
			if !errors.Is(err, c.want) {
				t.Errorf("%+v, %v, want %v", h, err, c.want)
			}
		})
	}
}

// The beginnings of files that cjxl has made with -x color_space=RGB_D65_202_Per_….
func TestReadHeader_JXL_HDR(t *testing.T) {
	for transfer, c := range map[string]struct {
		file string
		want Colour
	}{
		"PeQ": {
			"\xff\x0a\x4f\x04\x10\x90\x47\x87\x38\x1c\x00\x00\x00\x00\x02\x08\x02\x01\x00\x74",
			Colour{Primaries: 9, Transfer: TransferPQ},
		},
		"HLG": {
			"\xff\x0a\x4f\x04\x10\x90\x67\x00\xd0\x63\x00\x00\x00\x00\x08\x08\x02\x01\x00\x74",
			Colour{Primaries: 9, Transfer: TransferHLG},
		},
		"SRG": {"\xff\x0a\x4f\x40\x40\x1e\x17\x02\x08\x02\x01\x00\x74\x03\x2b\x59\x91\x82\x82\xc2", Colour{}},
	} {
		h, err := ReadHeader([]byte(c.file))
		if err != nil || h.Colour != c.want || h.Width != 64 || h.Height != 64 {
			t.Errorf("%s: %+v, %v", transfer, h, err)
		}
	}
}

func TestReadHeader_JXL_SplitCodestream(t *testing.T) {
	bare := smallFiles(t)["ratio-600x40.jxl"]
	var file strings.Builder
	file.WriteString(jxlMagic + box("ftyp", "jxl \x00\x00\x00\x00jxl "))
	for i := range bare {
		file.WriteString(box("jxlp", u32(i)+string(bare[i:i+1])))
	}
	for _, b := range []string{
		file.String(),
		jxlMagic + box("jxlc", string(bare)),
		jxlMagic + "\x00\x00\x00\x00jxlc" + string(bare),
	} {
		h, err := ReadHeader([]byte(b))
		if err != nil || h.Width != 600 || h.Height != 40 || h.Kind != KindJXL {
			t.Errorf("%+v, %v", h, err)
		}
		if err := CheckComplete([]byte(b), h); err != nil {
			t.Error(err)
		}
	}
	cut := []byte(file.String())[:file.Len()-1]
	h, err := ReadHeader(cut)
	if err == nil {
		err = CheckComplete(cut, h)
	}
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("cut short: %v", err)
	}
}

// fill returns head, and as many parts as fit into 32 MiB. A parser that takes quadratic time on them needs hours.
func fill(head, part string) []byte {
	return append([]byte(head), bytes.Repeat([]byte(part), (32<<20-len(head))/len(part))...)
}

// endsQuickly fails the test unless parse returns within 20 s, and logs its result. On the files of fill it takes
// 0.3 s at most, without the race detector.
func endsQuickly(t *testing.T, parse func() string) {
	t.Helper()
	start, result := time.Now(), make(chan string, 1)
	go func() { result <- parse() }()
	select {
	case text := <-result:
		t.Logf("%v, %s", time.Since(start).Round(time.Millisecond), text)
	case <-time.After(20 * time.Second):
		t.Fatal("not read after 20 s")
	}
}

func TestReadHeader_HostileFilesEndQuickly(t *testing.T) {
	if testing.Short() {
		t.Skip("reads files of 32 MiB")
	}
	meta := func(boxes string) []byte { // a meta box to the end of the file
		return []byte(box("ftyp", "avif\x00\x00\x00\x00") +
			"\x00\x00\x00\x00meta\x00\x00\x00\x00" + box("pitm", u32(0)+u16(1)) + boxes)
	}
	for name, b := range map[string][]byte{
		"JPEG of fill bytes":         fill("\xff\xd8", "\xff"),
		"JPEG of segments":           fill("\xff\xd8", "\xff\xdb\x00\x02"),
		"JPEG of restarts":           fill("\xff\xd8"+jpegSOF(0xc0, 1, 1, 3)+jpegScan, "\xff\xd0"),
		"JPEG of stuffed bytes":      fill("\xff\xd8"+jpegSOF(0xc0, 1, 1, 3)+jpegScan, "\xff\x00"),
		"PNG of empty chunks":        fill(pngMagic+pngIHDR(1, 1, "\x08\x02\x00\x00\x00"), pngPart("tEXt", "")),
		"GIF of frames":              fill(gif(1, 1, ""), gifFrame(0, 0, 1, 1)),
		"GIF of zeros":               fill(gif(1, 1, gifFrame(0, 0, 1, 1)), "\x00"),
		"GIF of one-byte sub-blocks": fill(gif(1, 1, gifFrame(0, 0, 1, 1)+"\x21\xfe"), "\x01\x01"),
		"WebP of empty chunks":       fill("RIFF\xff\xff\xff\x7fWEBP"+vp8x(2, 1, 1), webpPart("EXIF", "")),
		"WebP of frames": fill("RIFF\xff\xff\xff\x7fWEBP"+vp8x(2, 1, 1),
			anmf(0, 0, 1, 1, webpPart("VP8L", vp8l(1, 1)))),
		"AVIF of empty boxes": fill(box("ftyp", "avif\x00\x00\x00\x00"), box("free", "")),
		"AVIF of properties":  fill(string(meta("\x00\x00\x00\x00iprp\x00\x00\x00\x00ipco")), box("free", "")),
		"AVIF of associations": fill(
			string(meta(box("iinf", u32(0)+u16(0))+
				"\x00\x00\x00\x00iprp\x00\x00\x00\x00ipma"+u32(0)+u32(-1&0xffffffff))),
			"\x00\x01\x00"),
		"AVIF of items": fill(
			string(meta(box("iprp", box("ipco", ispe(1, 1))+box("ipma", u32(0)+u32(1)+u16(1)+"\x01\x01"))+
				"\x00\x00\x00\x00iinf"+u32(0)+u16(0))),
			box("infe", "\x02\x00\x00\x00\x00\x09\x00\x00hvc1")),
		"AVIF of places of no size": fill(
			string(meta(box("iinf", u32(0)+u16(1)+box("infe", "\x02\x00\x00\x00\x00\x01\x00\x00av01"))+
				box("iprp", box("ipco", ispe(1, 1))+box("ipma", u32(0)+u32(1)+u16(1)+"\x01\x01"))+
				"\x00\x00\x00\x00iloc\x02\x00\x00\x00\x00\x00"+u32(-1&0xffffffff))),
			u32(1)+u16(0)+u16(0)+"\xff\xff"),
		"JPEG XL of empty boxes": fill(jxlMagic, box("jxlp", u32(0))),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			endsQuickly(t, func() string {
				h, err := ReadHeader(b)
				if err == nil {
					err = CheckComplete(b, h)
				}
				return fmt.Sprintf("%+v, %v", h, err)
			})
			runtime.ReadMemStats(&after)
			if bytes, allocs := after.TotalAlloc-before.TotalAlloc, after.Mallocs-before.Mallocs; bytes > 16<<20 ||
				allocs > 200 {
				t.Errorf("%d bytes in %d allocations", bytes, allocs)
			}
		})
	}
}

func FuzzReadHeader(f *testing.F) {
	for _, b := range smallFiles(f) {
		f.Add(b)
	}
	f.Add([]byte(heif("heic", "grid", tiles(6), "\x00\x00\x01\x02"+u16(30)+u16(20), ispe(30, 20), ispe(16, 16))))
	f.Add([]byte(pngMagic + pngIHDR(3, 2, "\x01\x03\x00\x00\x00") + pngPart("acTL", u32(7)+u32(0)) +
		pngPart("eXIf", tiffFile([2]int{tagOrientation, 6})) + pngPart("IDAT", "data") + pngPart("IEND", "")))
	f.Add([]byte(riff(vp8x(0x1a, 100, 50) + anmf(0, 0, 100, 50, webpPart("VP8 ", vp8(100, 50))) +
		webpPart("EXIF", tiffFile([2]int{tagOrientation, 5})))))
	f.Add([]byte(box("ftyp", "avis\x00\x00\x00\x00avif") +
		box("moov", box("trak", box("tkhd", strings.Repeat("\x00", 84))+
			box("mdia", box("hdlr", u32(0)+u32(0)+"pict")+
				box("minf", box("stbl", box("stsz", u32(0)+u32(0)+u32(9)))))))))
	f.Add([]byte(jxlMagic + box("jxlp", u32(0)+"\xff\x0a\x00\x00\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = slices.Clip(b) // so that a read past the end panics
		h, err := ReadHeader(b)
		if err != nil {
			if h != (Header{}) || !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("%+v, %v", h, err)
			}
			return
		}
		if h.Width < 1 || h.Height < 1 || h.LargestWidth < h.Width || h.LargestHeight < h.Height ||
			h.Orientation < 1 || h.Orientation > 8 || h.Frames < 1 || h.Kind == NoKind || h.Kind >= numKinds ||
			h.Channels < 1 || h.Channels > 5 || h.BitDepth < 1 || h.BitDepth > 255 {
			t.Fatalf("%+v", h)
		}
		if err := CheckComplete(b, h); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
		if err := (Limits{}).Check(h, len(b)); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	})
}
