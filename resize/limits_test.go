package resize

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestLimits_Check(t *testing.T) {
	still := func(width, height int) Header {
		return Header{
			Kind:          KindJPEG,
			Width:         width,
			Height:        height,
			LargestWidth:  width,
			LargestHeight: height,
			Frames:        1,
		}
	}
	animation := still(100, 100)
	animation.Frames = 200
	longer := animation
	longer.Frames++
	hidden := still(100, 100)
	hidden.LargestWidth = 40_000
	for _, c := range []struct {
		name   string
		limits Limits
		h      Header
		size   int
		says   string
	}{
		{"a photo of 60 megapixels", Limits{}, still(10_000, 6_000), 32 << 20, ""},
		{"one byte more", Limits{}, still(1, 1), 32<<20 + 1, "33554433 bytes, the limit is 33554432 (--max-original-bytes)"},
		{"one column more", Limits{}, still(10_001, 6_000), 1, "10001x6000 pixels, the limit is 60 megapixels (--max-megapixels)"},
		{"the longest side", Limits{}, still(32_768, 1), 1, ""},
		{"a longer one", Limits{}, still(1, 32_769), 1, "1x32769 pixels, the limit for a side is 32768 (--max-side)"},
		{"a frame that is larger than the canvas", Limits{}, hidden, 1, "40000x100"},
		{"201 frames, but perhaps only one is decoded", Limits{}, longer, 1, ""},
		{"a product that no int64 holds",
			Limits{MaxSide: math.MaxInt, MaxPixels: math.MaxInt64 - 1}, still(1<<40, 1<<40), 1, "pixels"},
		{"limits that are set", Limits{MaxBytes: 10, MaxPixels: 5_000_000, MaxSide: 3_000, MaxFrames: 2},
			still(2_501, 2_000), 10, "the limit is 5 megapixels"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.limits.Check(c.h, c.size)
			if (err == nil) != (c.says == "") ||
				err != nil && (!errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
	if got, want := DefaultLimits(), (Limits{32 << 20, 60_000_000, 32_768, 200}); got != want {
		t.Errorf("the defaults are %+v", got)
	}
}

func TestLimits_Check_SmallGIFWithHugeCanvas(t *testing.T) {
	b := []byte(gif(65535, 65535, gifFrame(0, 0, 65535, 65535)+strings.Repeat("\x21\xfe\x01.\x00", 50)+"\x3b"))
	h, err := ReadHeader(b)
	if err != nil || h.Width != 65535 || h.Height != 65535 {
		t.Fatalf("%+v, %v", h, err)
	}
	if err := (Limits{}).Check(h, len(b)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

func TestLimits_CheckVariant_CountsKeptFrames(t *testing.T) {
	animation := Header{
		Kind:          KindGIF,
		Width:         1000,
		Height:        1000,
		LargestWidth:  1000,
		LargestHeight: 1000,
		Orientation:   1,
		Frames:        100,
		Animated:      true,
	}
	for name, fits := range map[string]bool{
		"100x.gif":        false, // 100 frames of 1 megapixel are read
		"100x.webp":       false,
		"100x-still.webp": true, // one is
		"100x.jpg":        true,
		"100x.avif":       true,
		"orig":            true,
		"info.json":       true,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSpecName(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := (Limits{}).CheckVariant(animation, s); (err == nil) != fits ||
				err != nil && !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
		})
	}
	longer := animation
	longer.LargestWidth, longer.LargestHeight, longer.Frames = 10, 10, 201
	for name, fits := range map[string]bool{
		"5x.gif": false, "5x.webp": false, "5x-still.gif": true, "5x.jpg": true, "info.json": true,
	} {
		s, err := ParseSpecName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := (Limits{}).CheckVariant(longer, s); (err == nil) != fits {
			t.Errorf("%s of 201 frames: %v", name, err)
		}
	}
	for _, kind := range []Kind{KindPNG, KindAVIF, KindHEIC, KindJXL} { // of whose frames only the first is read
		other := animation
		other.Kind = kind
		if s, err := ParseSpecName("100x.webp"); err != nil || (Limits{}).CheckVariant(other, s) != nil {
			t.Errorf("%v: %v", kind, (Limits{}).CheckVariant(other, s))
		}
	}
	animation.LargestWidth, animation.LargestHeight, animation.Width, animation.Height = 100, 100, 100, 100
	for name, fits := range map[string]bool{
		"100x.gif": true, "1000x-up.gif": false, "1000x-up-still.gif": true,
		"8192x8192-pad.jpg": false, "8192x.jpg": true, "8192x-up.jpg": false,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSpecName(name)
			if err != nil {

				t.Fatal(err)
			}
			if err := (Limits{}).CheckVariant(animation, s); (err == nil) != fits ||
				err != nil && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%s of a small one: %v", name, err)
			}
		})
	}
}

func TestSpec_OutputSize(t *testing.T) {
	for _, c := range []struct {
		name                  string
		width, height         int
		wantWidth, wantHeight int
	}{
		{name: "640x640", width: 4032, height: 3024, wantWidth: 640, wantHeight: 480},
		{name: "640x640", width: 3024, height: 4032, wantWidth: 480, wantHeight: 640},
		{name: "640x", width: 4032, height: 3024, wantWidth: 640, wantHeight: 480},
		{name: "x640", width: 4032, height: 3024, wantWidth: 853, wantHeight: 640},
		{name: "640x100", width: 4032, height: 3024, wantWidth: 133, wantHeight: 100},
		{name: "640x", width: 400, height: 300, wantWidth: 400, wantHeight: 300},
		{name: "x640", width: 400, height: 300, wantWidth: 400, wantHeight: 300},
		{name: "640x640", width: 400, height: 300, wantWidth: 400, wantHeight: 300},
		{name: "640x-up", width: 400, height: 300, wantWidth: 640, wantHeight: 480},
		{name: "640x640-up", width: 400, height: 300, wantWidth: 640, wantHeight: 480},
		{name: "10x", width: 4000, height: 1, wantWidth: 10, wantHeight: 1},
		{name: "x10", width: 1, height: 4000, wantWidth: 1, wantHeight: 10},
		{name: "640x", width: 3, height: 2, wantWidth: 3, wantHeight: 2},
		{name: "640x480-cover", width: 4032, height: 3024, wantWidth: 640, wantHeight: 480},
		{name: "640x640-cover", width: 800, height: 400, wantWidth: 400, wantHeight: 400},
		{name: "640x640-cover", width: 400, height: 800, wantWidth: 400, wantHeight: 400},
		{name: "640x320-cover", width: 300, height: 300, wantWidth: 300, wantHeight: 150},
		{name: "640x320-cover", width: 640, height: 300, wantWidth: 600, wantHeight: 300},
		{name: "640x640-cover-up", width: 800, height: 400, wantWidth: 640, wantHeight: 640},
		{name: "640x640-pad", width: 800, height: 400, wantWidth: 640, wantHeight: 640},
		{name: "640x640-pad", width: 80, height: 40, wantWidth: 640, wantHeight: 640},
		{name: "640x640-exact", width: 800, height: 400, wantWidth: 640, wantHeight: 400},
		{name: "640x640-exact-up", width: 800, height: 400, wantWidth: 640, wantHeight: 640},
		{name: "640x640-rot90", width: 4032, height: 3024, wantWidth: 480, wantHeight: 640},
		{name: "640x-rot270", width: 4032, height: 3024, wantWidth: 640, wantHeight: 853},
		{name: "640x-rot180", width: 4032, height: 3024, wantWidth: 640, wantHeight: 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseSpecName(c.name + ".webp")
			if err != nil {
				t.Fatal(err)
			}
			if width, height := s.OutputSize(c.width, c.height); width != c.wantWidth || height != c.wantHeight {
				t.Errorf("%s of %dx%d is %dx%d, want %dx%d",
					c.name, c.width, c.height, width, height, c.wantWidth, c.wantHeight)
			}
		})
	}
}

func TestSpec_OutputSize_FitsTheFormat(t *testing.T) {
	for _, c := range []struct {
		name                  string
		width, height         int
		wantWidth, wantHeight int
	}{
		{name: "880x.webp", width: 540, height: 20000, wantWidth: 442, wantHeight: 16383},
		{name: "880x.webp", width: 540, height: 16383, wantWidth: 540, wantHeight: 16383},
		{name: "x880.webp", width: 20000, height: 540, wantWidth: 16383, wantHeight: 442},
		{name: "880x-rot90.webp", width: 20000, height: 540, wantWidth: 442, wantHeight: 16383},
		{name: "880x.avif", width: 540, height: 20000, wantWidth: 442, wantHeight: 16384},
		{name: "880x.heic", width: 540, height: 20000, wantWidth: 442, wantHeight: 16384},
		{name: "880x.jpg", width: 540, height: 20000, wantWidth: 540, wantHeight: 20000},
		{name: "880x.png", width: 540, height: 20000, wantWidth: 540, wantHeight: 20000},
		{name: "8192x-up.jpg", width: 10, height: 100, wantWidth: 6550, wantHeight: 65500},
		{name: "8192x-up.gif", width: 10, height: 100, wantWidth: 6554, wantHeight: 65535},
		{name: "8192x-up.png", width: 10, height: 100, wantWidth: 6554, wantHeight: 65535},
		{name: "880x-up.png", width: 16, height: 1200, wantWidth: 874, wantHeight: 65535},
		{name: "640x640-cover-up.webp", width: 540, height: 20000, wantWidth: 640, wantHeight: 640},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := ParseSpecName(c.name)
			if err != nil {
				t.Fatal(err)
			}
			if width, height := s.OutputSize(c.width, c.height); width != c.wantWidth || height != c.wantHeight {
				t.Errorf("%dx%d becomes %dx%d, want %dx%d",
					c.width, c.height, width, height, c.wantWidth, c.wantHeight)
			}
		})
	}
	for f := JPEG; f <= JXL; f++ {
		if f.LongestSide() < MaxBox {
			t.Errorf("%s cannot hold a box of %d pixels", f, MaxBox)
		}
	}
}

func BenchmarkReadHeader(b *testing.B) {
	for _, name := range []string{
		"phone-orient6-p3.jpg", "photo.heic", "photo.avif", "vertical.webp", "animation.gif", "paper-alpha.png",
	} {
		file := readPhoto(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h, err := ReadHeader(file)
				if err == nil {
					err = CheckComplete(file, h)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
