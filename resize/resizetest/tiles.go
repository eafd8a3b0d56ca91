package resizetest

import (
	"bytes"
	_ "embed"
	"image"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// turnedTiles is an AVIF of two tiles of 64x64 pixels, to be turned, as each of its tiles says too:
// red grows to the right, green downwards, blue to the left (libavif 0.11, avifenc --grid 2x1 --irot 1).
//
//go:embed testdata/tiles/turned.avif
var turnedTiles []byte

// tiledImages: the tiles of a grid are joined as they are stored, and no memory shows between them.
func tiledImages(t *testing.T, r resize.Resizer) {
	t.Run("rotated tiles", func(t *testing.T) {
		whole := newRaster(128, 64).fill(func(x, y int) [4]float64 {
			return [4]float64{float64(x) / 128, float64(y) / 64, 1 - float64(x)/128, 1}
		})
		near(t, r, one(t, r, turnedTiles, "8192x.png"), whole.turned(8), 30)
	})
	t.Run("smaller than promised", func(t *testing.T) {
		file := bytes.Clone(turnedTiles)
		for _, c := range [][2]string{
			{"ispe" + "\x00\x00\x00\x00\x00\x00\x00\x80", "ispe" + "\x00\x00\x00\x00\x00\x00\x01\x00"},
			{"ispe" + "\x00\x00\x00\x00\x00\x00\x00\x40", "ispe" + "\x00\x00\x00\x00\x00\x00\x00\x80"},
			{"\x00\x00\x00\x01\x00\x80\x00\x40", "\x00\x00\x00\x01\x01\x00\x00\x40"}, // the grid
			{"irot\x01", "irot\x00"},
		} {
			if !bytes.Contains(file, []byte(c[0])) {
				t.Fatalf("%q is not in the file", c[0])
			}
			file = bytes.ReplaceAll(file, []byte(c[0]), []byte(c[1]))
		}
		for range 3 { // memory of another picture
			one(t, r, encoded(t, r, noisy(256, 64), "avif"), "8192x.png")
		}
		images, err := resize.Make(t.Context(), r, file, spec(t, "8192x.png"))
		if err != nil {
			return // refused
		}
		m := decode(t, r, images[0])
		if m.Bounds().Size() != image.Pt(256, 64) {
			t.Fatalf("size %v", m.Bounds().Size())
		}
		for y := range 64 {
			for x := 64; x < 128; x++ {
				if m.At(x, y) != m.At(64, 0) {
					t.Fatalf("the pixel at %d, %d, in no tile, is %v, another %v", x, y, m.At(x, y), m.At(64, 0))
				}
			}
		}
	})
}
