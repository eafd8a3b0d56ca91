package vips

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"testing"
)

func TestOnlyCompressedTextsOfAPNGAreLeftOut(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewNRGBA(image.Rect(0, 0, 4, 4))); err != nil {
		t.Fatal(err)
	}
	whole := b.Bytes()
	const header = 8 + 12 + 13
	with := func(name, body string) []byte {
		c := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), name+body...)
		c = binary.BigEndian.AppendUint32(c, crc32.ChecksumIEEE(c[4:]))
		return append(append(bytes.Clone(whole[:header]), c...), whole[header:]...)
	}
	for name, c := range map[string]struct {
		file []byte
		same bool
	}{
		"plain": {whole, true}, "a text": {with("tEXt", "a\x00b"), true},
		"a compressed one":                 {with("zTXt", "a\x00\x00b"), false},
		"a text of any language":           {with("iTXt", "a\x00\x00\x00\x00\x00b"), true},
		"a compressed one of any language": {with("iTXt", "a\x00\x01\x00\x00\x00b"), false},
		"what it ends with":                {append(bytes.Clone(whole), "tail"...), true},
	} {
		want := whole
		if c.same {
			want = c.file
		}
		if got := withoutCompressedTexts(c.file); !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes of %d, want %d", name, len(got), len(c.file), len(want))
		}
	}
	for n := range len(whole) {
		cut := with("zTXt", "a\x00\x00b")[:n]
		if got := withoutCompressedTexts(cut); !bytes.Equal(got, cut) {
			t.Errorf("cut after %d bytes it is changed", n)
		}
	}
}
