package resizetest

import (
	"bytes"
	"embed"
	"image/png"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// colourFiles are AVIFs and HEICs with code points, and what they look like in sRGB (make.py).
//
//go:embed testdata/colours/*.avif testdata/colours/*.heic testdata/colours/*.png
var colourFiles embed.FS

// codedColours: the code points of an AVIF or HEIC count, whether they are in a colr box or only in the
// bitstream.
func codedColours(t *testing.T, r resize.Resizer) {
	read := func(name string) []byte {
		b, err := colourFiles.ReadFile("testdata/colours/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct{ file, like string }{
		{"p3", "sdr.png"}, {"bt2020", "sdr.png"}, {"pq", "hdr.png"}, {"hlg", "hdr.png"},
	} {
		m, err := png.Decode(bytes.NewReader(read(c.like)))
		if err != nil {
			t.Fatal(err)
		}
		like := rasterOf(m)
		for _, format := range []string{".avif", ".heic"} {
			file := read(c.file + format)
			t.Run(c.file+format, func(t *testing.T) {
				near(t, r, one(t, r, file, "8192x.png"), like, 32)
			})
			if format == ".heic" {
				continue // libheif 1.15 writes no colr box
			}
			t.Run(c.file+" without colr", func(t *testing.T) {
				bare := bytes.Replace(file, []byte("colrnclx"), []byte("freenclx"), 1)
				if bytes.Equal(bare, file) {
					t.Fatal("the file has no colr box of code points")
				}
				near(t, r, one(t, r, bare, "8192x.png"), like, 32)
			})
		}
	}
}

// unflagged: alpha counts where a WebP has it without saying so in its extended header.
func unflagged(t *testing.T, r resize.Resizer) {
	glass := veiled(scene(60, 40))
	file := encoded(t, r, glass.image(), "webp")
	const flagsAt, alpha = 12 + 8, 0x10
	if string(file[12:16]) != "VP8X" || file[flagsAt]&alpha == 0 {
		t.Fatal("the file has no extended header with alpha")
	}
	file[flagsAt] &^= alpha
	near(t, r, one(t, r, file, "8192x.png"), glass, 28)
}
