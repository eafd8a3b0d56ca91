package resizetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"slices"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/novasocial/imagetier/resize"
)

// endMarks: a file with all pixels gives the same picture without its end marks, and with broken
// parts that no pixel needs.
func endMarks(t *testing.T, r resize.Resizer) {
	files := wholes(t, r)
	same := func(name string, whole, changed []byte) {
		t.Run(name, func(t *testing.T) {
			for _, variant := range []string{"100x.jpg", "100x.png", "320x20-cover-top.webp"} {
				if got := one(t, r, changed, variant).Body; !bytes.Equal(got, one(t, r, whole, variant).Body) {
					t.Errorf("%s: the picture has changed", variant)
				}
			}
		})
	}
	without := func(b []byte, n int, instead ...byte) []byte { return append(bytes.Clone(b[:len(b)-n]), instead...) }
	for _, kind := range []string{"jpeg", "progressive jpeg"} {
		b := files[kind]
		same(kind+" without EOI", b, without(b, 2))
		same(kind+" with half of EOI", b, without(b, 1))
		same(kind+" with zeros for EOI", b, without(b, 2, make([]byte, 512)...))
		same(kind+" with a maker's trailer for EOI", b, without(b, 2,
			[]byte("\x00\x00\x01\x0a\x0e\x00\x00\x00Panorama_Info\x00SEFH\x6a\x00\x00\x00SEFT")...))
		same(kind+" with a photo for EOI", b, without(b, 2, b...))
	}
	same("jpeg whose height follows its scan", files["jpeg"], heightLast(files["jpeg"]))
	for _, kind := range []string{"gif"} {
		b := files[kind]
		same(kind+" without a trailer", b, without(b, 1))
		same(kind+" whose last block does not end", b, without(b, 2))
		same(kind+" with a text for a trailer", b, without(b, 1, []byte("a text, and another")...))
	}
	b := files["png"]
	same("png without IEND", b, without(b, 12))
	same("png without its last checksum", b, without(b, 12+4))
	same("png with half of the checksum of its pixels", b, without(b, 12+4+2))
	same("png without the checksum of its pixels", b, without(b, 12+4+4))
	same("png whose IEND is cut", b, without(b, 5))
	same("png whose IEND has a wrong checksum", b, without(b, 1, 0))
	same("png with a window that is too small", b, narrowed(b))
	b = files["webp"]
	for name, size := range map[string]int{"short": 60, "zero": 0, "long": len(b) + 100} {
		changed := bytes.Clone(b)
		binary.LittleEndian.PutUint32(changed[4:], uint32(size))
		same("webp whose length is "+name, b, changed)
	}
	t.Run("tiff", func(t *testing.T) { brokenTags(t, same) })
	t.Run("png whose transparency comes before its palette", func(t *testing.T) {
		m := image.NewPaletted(image.Rect(0, 0, 40, 30), color.Palette{color.NRGBA{200, 20, 20, 100}, color.Black})
		whole := pngOf(t, m)
		at, end := bytes.Index(whole, []byte("PLTE"))-4, bytes.Index(whole, []byte("IDAT"))-4
		middle := at + 12 + int(binary.BigEndian.Uint32(whole[at:]))
		swapped := slices.Concat(whole[:at], whole[middle:end], whole[at:middle], whole[end:])
		if got, want := one(t, r, swapped, "20x.png").Body, one(t, r, whole, "20x.png").Body; !bytes.Equal(got, want) {
			t.Error("the picture has changed")
		}
	})
}

// heightLast returns a JPEG of one scan whose height is in DNL instead of its frame header.
func heightLast(b []byte) []byte {
	at := bytes.Index(b, []byte{0xff, 0xc0})
	end := len(b) - 2
	out := slices.Concat(b[:end], []byte{0xff, 0xdc, 0, 4}, b[at+5:at+7], b[end:])
	copy(out[at+5:], []byte{0, 0})
	return out
}

// narrowed returns a PNG whose zlib header promises the smallest window, 256 bytes.
func narrowed(b []byte) []byte {
	out := bytes.Clone(b)
	at := bytes.Index(out, []byte("IDAT"))
	length := int(binary.BigEndian.Uint32(out[at-4:]))
	out[at+4], out[at+5] = 0x08, 0x1d // the last five bits are a check
	binary.BigEndian.PutUint32(out[at+4+length:], crc32.ChecksumIEEE(out[at:at+4+length]))
	return out
}

// brokenTags calls same with TIFFs in which a tag is missing or points outside the file.
func brokenTags(t *testing.T, same func(name string, whole, changed []byte)) {
	for name, o := range map[string]*tiff.Options{"uncompressed": nil, "packed": {Compression: tiff.Deflate}} {
		var b bytes.Buffer
		if err := tiff.Encode(&b, noisy(320, 240), o); err != nil {
			t.Fatal(err)
		}
		whole := b.Bytes()
		edit := func(tag int, change func(e []byte)) []byte {
			changed := bytes.Clone(whole)
			at := int(binary.LittleEndian.Uint32(changed[4:])) + 2
			for ; int(binary.LittleEndian.Uint16(changed[at:])) != tag; at += 12 {
			}
			change(changed[at : at+12])
			return changed
		}
		for label, tag := range map[string]int{
			"RowsPerStrip": 278, "StripByteCounts": 279, "XResolution": 282, "ResolutionUnit": 296, "Photometric": 262,
		} {
			same(name+" without "+label, whole, edit(tag, func(e []byte) { binary.LittleEndian.PutUint16(e, 65000) }))
		}
		for label, tag := range map[string]int{"XResolution": 282, "StripByteCounts": 279, "RowsPerStrip": 278} {
			same(name+" with broken "+label, whole, edit(tag, func(e []byte) {
				copy(e[4:], "\xff\xff\xff\x0f\xff\xff\xff\x7f")
			}))
		}
	}
}

// clears: a cleared frame becomes transparent, also if none of its colours is transparent.
func clears(t *testing.T, r resize.Resizer) {
	var full, few color.Palette
	for i := range 256 {
		full = append(full, color.NRGBA{uint8(i), 0, 200, 255})
	}
	few = full[:3]
	removals := [][]byte{
		{gif.DisposalNone, gif.DisposalBackground, gif.DisposalNone},
		{gif.DisposalPrevious, gif.DisposalPrevious, gif.DisposalNone}, // what was before them is transparent
	}
	for name, p := range map[string]color.Palette{"3 colours": few, "256 colours": full} {
		for _, disposal := range removals {
			t.Run(fmt.Sprint(name, ", disposal ", disposal[0]), func(t *testing.T) { cleared(t, r, p, disposal) })
		}
	}
}

// cleared makes an animation of three frames, of which the second does not cover the first.
func cleared(t *testing.T, r resize.Resizer, p color.Palette, disposal []byte) {
	g := &gif.GIF{Config: image.Config{Width: 60, Height: 40, ColorModel: p}, Disposal: disposal}
	areas := []image.Rectangle{image.Rect(0, 0, 60, 40), image.Rect(10, 10, 40, 30), image.Rect(0, 0, 1, 1)}
	for i, at := range areas {
		m := image.NewPaletted(at, p)
		draw.Draw(m, at, image.NewUniform(p[i]), image.Point{}, draw.Src)
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 5)
	}
	back, err := gif.DecodeAll(bytes.NewReader(one(t, r, gifOf(t, g), "8192x.gif").Body))
	if err != nil || len(back.Image) != 3 {
		t.Fatalf("%+v, %v", back, err)
	}
	kept := disposal[0] == gif.DisposalNone
	for i, m := range shown(back) {
		for at, want := range map[image.Point]bool{{20, 20}: i < 2, {50, 35}: i == 0 || kept} {
			if _, _, _, a := m.At(at.X, at.Y).RGBA(); a > 0 != want {
				t.Errorf("frame %d: alpha at %v is %d", i, at, a)
			}
		}
	}
}

// canvases: a GIF has the size of its screen, or of its first frame if that is larger.
func canvases(t *testing.T, r resize.Resizer) {
	frame := func(at image.Rectangle, c color.Color) *image.Paletted {
		m := image.NewPaletted(at, palette.Plan9)
		draw.Draw(m, at, image.NewUniform(c), image.Point{}, draw.Src)
		return m
	}
	red, blue := color.NRGBA{204, 0, 0, 255}, color.NRGBA{0, 0, 204, 255}
	for _, c := range []struct{ screen, first, want image.Point }{
		{image.Pt(640, 480), image.Pt(100, 80), image.Pt(640, 480)},
		{image.Pt(800, 600), image.Pt(100, 80), image.Pt(800, 600)},
		{image.Pt(1024, 768), image.Pt(1000, 700), image.Pt(1024, 768)},
		{image.Pt(2100, 50), image.Pt(100, 40), image.Pt(2100, 50)},
		{image.Pt(100, 80), image.Pt(140, 100), image.Pt(140, 100)},
		{image.Pt(100, 80), image.Pt(140, 40), image.Pt(140, 80)},
		{image.Pt(640, 480), image.Pt(700, 40), image.Pt(700, 480)},
	} {
		t.Run(c.screen.String()+" with a frame of "+c.first.String(), func(t *testing.T) {
			g := &gif.GIF{LoopCount: 3, Delay: []int{7, 9}}
			g.Config.Width, g.Config.Height = max(c.screen.X, c.first.X), max(c.screen.Y, c.first.Y)
			g.Image = []*image.Paletted{
				frame(image.Rect(0, 0, c.first.X, c.first.Y), red), frame(image.Rect(10, 10, 30, 30), blue),
			}
			original := gifOf(t, g)
			binary.LittleEndian.PutUint16(original[6:], uint16(c.screen.X))
			binary.LittleEndian.PutUint16(original[8:], uint16(c.screen.Y))
			still := one(t, r, original, "8192x-still.gif")
			if still.Width != c.want.X || still.Height != c.want.Y {
				t.Errorf("it has %dx%d pixels, want %v", still.Width, still.Height, c.want)
			}
			m := decode(t, r, one(t, r, original, "8192x.png"))
			if got := color.NRGBAModel.Convert(m.At(5, 5)).(color.NRGBA); far(got, red) > 4 || got.A != 255 {
				t.Errorf("the frame is %v", got)
			}
			if _, _, _, a := m.At(c.want.X-1, c.want.Y-1).RGBA(); a != 0 && c.first != c.want {
				t.Error("the area outside of all frames is not transparent")
			}
			back, err := gif.DecodeAll(bytes.NewReader(one(t, r, original, "8192x.gif").Body))
			if err != nil || len(back.Image) != 2 || !slices.Equal(back.Delay, g.Delay) || back.LoopCount != 3 {
				t.Fatalf("%+v, %v", back, err)
			}
			if got := color.NRGBAModel.Convert(shown(back)[1].At(20, 20)).(color.NRGBA); far(got, blue) > 12 {
				t.Errorf("the second frame is %v", got)
			}
		})
	}
	t.Run("a still of many frames", func(t *testing.T) {
		g := &gif.GIF{}
		for range 260 {
			g.Image, g.Delay = append(g.Image, frame(image.Rect(0, 0, 9, 7), red)), append(g.Delay, 2)
		}
		many := gifOf(t, g)
		for _, name := range []string{"5x-still.gif", "5x.jpg"} {
			one(t, r, many, name)
		}
		info, err := resize.Make(t.Context(), r, many, resize.Spec{Shape: resize.ShapeInfo, Format: resize.JSON})
		if err != nil || !strings.Contains(string(info[0].Body), `"frames":260`) {
			t.Errorf("%v, %v", info, err)
		}
		refused(t, r, many, "5x.gif", resize.ErrTooLarge, "260 frames")
	})
}
