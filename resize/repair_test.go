package resize

import (
	"bytes"
	"image"
	"image/png"
	"strings"
	"testing"
)

func repaired(t *testing.T, file string) string {
	t.Helper()
	h, err := ReadHeader([]byte(file))
	if err == nil {
		err = CheckComplete([]byte(file), h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(Repair([]byte(file), h).Bytes)
}

func TestRepair_PNG_KeepsPixelChunks(t *testing.T) {
	part := func(typ, body string) string { return string(pngChunkOf(typ, []byte(body))) }
	head := pngMagic + part("IHDR", u32(1)+u32(1)+"\x08\x03\x00\x00\x00")
	palette, alpha, data, end := part("PLTE", "abc"), part("tRNS", "a"), part("IDAT", "data"), part("IEND", "")
	bare := head + palette + data + end
	for name, c := range map[string]struct{ file, want string }{
		"plain":                          {bare, bare},
		"a text":                         {head + part("tEXt", "a\x00b") + palette + data + end, ""},
		"a compressed text":              {head + part("zTXt", "a\x00\x00b") + palette + data + end, bare},
		"a text in any language":         {head + palette + data + part("iTXt", "a\x00\x00\x00\x00\x00b") + end, ""},
		"a compressed one":               {head + palette + data + part("iTXt", "a\x00\x01\x00\x00\x00b") + end, bare},
		"transparency before a palette":  {head + alpha + palette + data + end, head + palette + alpha + data + end},
		"a wrong checksum at the end":    {bare[:len(bare)-1], bare},
		"appended data":                  {bare + "tail", ""},
		"a text, and what follows a PNG": {head + part("zTXt", "a\x00\x00b") + palette + data + end + "tail", bare},
	} {
		want := c.want
		if want == "" {
			want = c.file
		}
		if name == "a wrong checksum at the end" {
			c.file += "x"
		}
		if got := repaired(t, c.file); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestRepair_PNG_AddsWhatFollowsThePixels(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 70, 50))); err != nil {
		t.Fatal(err)
	}
	const iend, crc, checksum = 12, 4, 4
	for cut := range iend + crc + checksum + 1 {
		if _, err := png.Decode(strings.NewReader(repaired(t, b.String()[:b.Len()-cut]))); err != nil {
			t.Errorf("without its last %d bytes: %v", cut, err)
		}
	}
}

func TestRepair_KeepsCompleteFiles(t *testing.T) {
	for name, b := range smallFiles(t) {
		h, err := ReadHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		rewritten := h.Kind == KindTIFF || h.Kind == KindAVIF || h.Kind == KindHEIC
		if got := Repair(b, h); !bytes.Equal(got.Bytes, b) && !rewritten || got.Skip != 0 {
			t.Errorf("%s: %d of %d bytes, skip %d", name, len(got.Bytes), len(b), got.Skip)
		}
	}
}

func TestRepair_KeepsTheHeader(t *testing.T) {
	for name, b := range smallFiles(t) {
		h, err := ReadHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		h.Orientation = 1
		for _, tail := range []string{"", "tail tail tail", strings.Repeat("\x00", 99)} {
			if h.Kind == KindJXL {
				continue // only a decoder knows the end of a bare codestream
			}
			got := repaired(t, string(b)+tail)
			if after, err := ReadHeader([]byte(got)); err != nil || after != h {
				t.Errorf("%s and %q:\n%+v, %v\n%+v", name, tail, after, err, h)
			}
		}
	}
}
