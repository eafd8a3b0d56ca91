package resizetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// refusedSpecs tests specs that an implementation may not support yet: each one works, or is
// refused with an error that names the option. Invalid specs are always refused.
func refusedSpecs(t *testing.T, r resize.Resizer) {
	original := pngOf(t, scene(64, 48).image())
	for _, c := range []struct {
		original   []byte
		name, word string
	}{
		{original, "32x.gif", "gif"}, {original, "32x.heic", "heic"}, {original, "32x.jxl", "jxl"},
		{original, "32x32-cover-face.jpg", "face"},
		{original, "32x-wm.logo.jpg", "watermark"},
		{original, "32x-wm.nosuchmark.png", "watermark"},
	} {
		_, err := resize.Make(t.Context(), r, c.original, spec(t, c.name))
		if err == nil {
			continue
		}
		if !errors.Is(err, resize.ErrSpec) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v: want ErrSpec, and the word %q", c.name, err, c.word)
		}
	}
	for name, s := range map[string]resize.Spec{
		"auto": {Width: 10, Format: resize.Auto}, "orig": {Shape: resize.ShapeOriginal},
		"no size": {Format: resize.JPEG}, "nothing": {},
		"cover of one side": {Width: 10, Fit: resize.FitCover, Format: resize.JPEG},
		"a side of -1":      {Width: -1, Height: 10, Format: resize.JPEG},
		"9000 pixels":       {Width: 9000, Format: resize.JPEG},
		"quality 101":       {Width: 10, Quality: 101, Format: resize.JPEG},
	} {
		if _, err := resize.Make(t.Context(), r, original, spec(t, "10x.jpg"), s); !errors.Is(err, resize.ErrSpec) {
			t.Errorf("%s: %v, want ErrSpec", name, err)
		}
	}
}

// A Hostile is a malicious or invalid original.
type Hostile struct {
	Name     string
	Original []byte
	Want     error // a sentinel of resize
}

// Hostiles returns small files that have crashed, hung or deceived image servers. They are also
// seeds for fuzzing.
func Hostiles() []Hostile {
	gifOfSize := func(w, h int) []byte {
		b := []byte("GIF89a")
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(w)), uint16(h))
		b = append(b, 0x80, 0, 0, 0, 0, 0, 255, 255, 255, ',', 0, 0, 0, 0)
		b = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(b, uint16(w)), uint16(h))
		return append(b, 0, 2, 2, 0x44, 0x01, 0, ';')
	}
	pngOfSize := func(w, h int, data []byte) []byte {
		header := append(be32(uint32(w)), be32(uint32(h))...)
		b := append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", append(header, 8, 0, 0, 0, 0))...)
		return append(append(b, pngChunk("IDAT", data)...), pngChunk("IEND", nil)...)
	}
	jpegOfSize := func(sof byte, w, h int) []byte {
		b := append([]byte{0xff, 0xd8}, segment(0xdb, "\x00", strings.Repeat("\x01", 64))...)
		b = append(b,
			segment(sof, "\x08", string([]byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)}), "\x01\x01\x11\x00")...)
		b = append(b, segment(0xc4, "\x00\x01", string(make([]byte, 15)), "\x00")...)
		b = append(b, segment(0xda, "\x01\x01\x00\x00\x00\x00")...)
		return append(b, 0, 0, 0xff, 0xd9)
	}
	scans := jpegOfSize(0xc2, 8000, 7000)
	scans = scans[:len(scans)-2]
	for range 2000 {
		scans = append(append(scans, segment(0xda, "\x01\x01\x00\x01\x3f\x00")...), 0, 0)
	}
	scans = append(scans, 0xff, 0xd9)
	svg := `<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"><image href="file:///etc/passwd" width="10" height="10"/></svg>`
	return []Hostile{
		{"GIF of 65535x65535", gifOfSize(65535, 65535), resize.ErrTooLarge},
		{"GIF of 32000x32000", gifOfSize(32000, 32000), resize.ErrTooLarge},
		{"PNG of 2147483647x1", pngOfSize(1<<31-1, 1, nil), resize.ErrTooLarge},
		{"PNG of 50000x50000", pngOfSize(50000, 50000, deflated(make([]byte, 1<<20))), resize.ErrTooLarge},
		{"PNG whose pixels are missing", pngOfSize(6000, 6000, deflated(make([]byte, 1<<20))), resize.ErrCorrupt},
		{"PNG with data that is not zlib", pngOfSize(16, 16, []byte("no zlib at all")), resize.ErrCorrupt},
		{"JPEG of 65500x65500", jpegOfSize(0xc0, 65500, 65500), resize.ErrTooLarge},
		{"progressive JPEG of 65500x65500", jpegOfSize(0xc2, 65500, 65500), resize.ErrTooLarge},
		{"JPEG of no pixels", jpegOfSize(0xc0, 0, 0), resize.ErrCorrupt},
		{"JPEG of 2000 scans", scans, resize.ErrTooLarge},
		{"SVG", []byte(svg), resize.ErrUnsupported},
		{"SVG behind a prolog", []byte(`<?xml version="1.0"?>` + svg), resize.ErrUnsupported},
		{"svgz", append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"),
			deflated(bytes.Repeat([]byte(svg), 500))[2:]...), resize.ErrUnsupported},
		{"PDF", []byte("%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"),
			resize.ErrUnsupported},
		{"MVG", []byte("push graphic-context\nviewbox 0 0 640 480\nimage over 0,0 0,0 'https://example.com/x.png'\npop graphic-context\n"), resize.ErrUnsupported},
		{"PostScript", []byte("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n"), resize.ErrUnsupported},
		{"BMP", append([]byte("BM"), make([]byte, 200)...), resize.ErrUnsupported},
		{"libvips' own format", append([]byte("\xb6\xa6\xf2\x08"), make([]byte, 200)...), resize.ErrUnsupported},
		{"HDR", []byte("#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\nabcd"), resize.ErrUnsupported},
		{"CSV", []byte("1,2,3\n4,5,6\n7,8,9\n"), resize.ErrUnsupported},
		{"HTML", []byte("<!DOCTYPE html><html><body>404 not found</body></html>"), resize.ErrUnsupported},
		{"a film", []byte("\x00\x00\x00\x1cftypisom\x00\x00\x02\x00isomiso2mp41"), resize.ErrUnsupported},
		{"noise", noise(4096), resize.ErrUnsupported},
		{"noise that begins as a JPEG",
			append([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00"), noise(4096)...), resize.ErrCorrupt},
		{"noise that begins as a PNG", append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x02\x00\x00\x00"), noise(4096)...), resize.ErrCorrupt},
		{"noise that begins as a WebP",
			append([]byte("RIFF\x08\x10\x00\x00WEBPVP8 \xfc\x0f\x00\x00"), noise(4096)...), resize.ErrCorrupt},
		{"one byte", []byte{0xff}, resize.ErrCorrupt},
		{"nothing", nil, resize.ErrCorrupt},
	}
}

// noise is deterministic.
func noise(n int) []byte {
	b, seed := make([]byte, n), uint32(7)
	for i := range b {
		seed = seed*1664525 + 1013904223
		b[i] = byte(seed >> 24)
	}
	return b
}

// bomb fails the test unless h is refused with h.Want or, without Want, made into an image that
// contains nothing else of the original.
func bomb(t *testing.T, r resize.Resizer, h Hostile) {
	t.Helper()
	if h.Want != nil {
		refused(t, r, h.Original, "32x.jpg", h.Want, h.Name)
		return
	}
	for _, name := range []string{"32x32-cover.jpg", "32x-still.webp"} {
		images, err := resize.Make(t.Context(), r, h.Original, spec(t, name))
		if err != nil {
			if !errors.Is(err, resize.ErrCorrupt) && !errors.Is(err, resize.ErrTooLarge) &&
				!errors.Is(err, resize.ErrUnsupported) {
				t.Errorf("%s: %v, want it to be the image's fault", name, err)
			}
			if strings.Contains(err.Error(), Needle) {
				t.Errorf("%s: the error contains metadata of the original: %v", name, err)
			}
			continue
		}
		decode(t, r, images[0])
		if bytes.Contains(images[0].Body, []byte(Needle)) {
			t.Errorf("%s: the image contains the planted metadata", name)
		}
	}
}

func hostile(t *testing.T, r resize.Resizer) {
	good := jpegOf(t, noisy(64, 48))
	first := one(t, r, good, "32x.jpg")
	for _, h := range Hostiles() {
		for _, name := range []string{"32x.jpg", "8192x8192-up.png", "32x32-cover-smart.webp"} {
			if h.Want == resize.ErrCorrupt && name == "8192x8192-up.png" {
				continue // 67 megapixels exceed the limits in every format
			}
			refused(t, r, h.Original, name, h.Want, h.Name+" to "+name)
		}
		if !bytes.Equal(one(t, r, good, "32x.jpg").Body, first.Body) {
			t.Fatalf("after %s, a valid original gives another image", h.Name)
		}
	}
	for _, h := range Bombs(t) {
		t.Run(h.Name, func(t *testing.T) { bomb(t, r, h) })
	}
	if !bytes.Equal(one(t, r, good, "32x.jpg").Body, first.Body) {
		t.Fatal("after the bombs, a valid original gives another image")
	}
	t.Run("an AVIF that lies about its size", func(t *testing.T) {
		whole := encoded(t, r, noisy(320, 240), "avif")
		at := bytes.Index(whole, []byte("ispe")) + 8
		for _, size := range [][2]uint32{{8, 8}, {319, 240}, {7000, 7000}, {320, 241}} {
			lie := bytes.Clone(whole)
			copy(lie[at:], append(be32(size[0]), be32(size[1])...))
			refused(t, r, lie, "32x.jpg", resize.ErrCorrupt, fmt.Sprint(size))
		}
	})
	t.Run("a strip of 1x20000 stays in its bounds", func(t *testing.T) {
		strip := pngOf(t, newRaster(1, 20000).fill(func(x, y int) [4]float64 { return [4]float64{1, 1, 1, 1} }).image())
		for _, name := range []string{
			"500x500-cover-up.jpg", "500x500-cover-smart-up.jpg", "500x500-pad-up.jpg", "20x20.png",
		} {
			one(t, r, strip, name)
		}
		if img := one(t, r, strip, "8192x-up.jpg"); img.Width != 3 || img.Height != 65500 {
			t.Errorf("8192x-up.jpg is %dx%d, want what a JPEG can hold, 3x65500", img.Width, img.Height)
		}
		refused(t, r, strip, "8192x8192-cover-up.jpg", resize.ErrTooLarge, "67 megapixels")
	})
}
