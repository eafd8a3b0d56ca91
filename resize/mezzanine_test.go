package resize_test

import (
	"errors"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func TestHeader_HasMezzanine(t *testing.T) {
	photo := resize.Header{Kind: resize.KindJPEG, Width: 4032, Height: 3024, Orientation: 1, Frames: 1}
	with := func(change func(*resize.Header)) resize.Header {
		h := photo
		change(&h)
		return h
	}
	for name, c := range map[string]struct {
		h    resize.Header
		side int
		want bool
	}{
		"a phone's photo":    {photo, 1440, true},
		"a turned one":       {with(func(h *resize.Header) { h.Orientation = 6 }), 1440, true},
		"just large enough":  {with(func(h *resize.Header) { h.Width, h.Height = 1600, 2160 }), 1440, true},
		"just too small":     {with(func(h *resize.Header) { h.Width, h.Height = 1600, 2159 }), 1440, false},
		"one with alpha":     {with(func(h *resize.Header) { h.Alpha = true }), 1440, false},
		"an animation":       {with(func(h *resize.Header) { h.Frames, h.Animated = 12, true }), 1440, false},
		"one of one frame":   {with(func(h *resize.Header) { h.Animated = true }), 1440, false},
		"none is configured": {photo, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.h.HasMezzanine(c.side); got != c.want {
				t.Errorf("%t", got)
			}
		})
	}
}

func TestSpec_FromMezzanine(t *testing.T) {
	const w, h = 4032, 3024 // its mezzanine is 1440x1080
	for name, want := range map[string]bool{
		"640x.jpg": true, "640x640.webp": true, "x480.avif": true,
		"200x200-cover-face.webp": true, "880x-wm.logo.webp": true,
		"1080x1080.jpg": true, "1107x.jpg": true, "1108x.jpg": false,
		"1320x.webp": false, "1440x.webp": false, "8192x.jpg": false,
		"830x830-cover.webp": true, "831x831-cover.webp": false, // the height is what counts
		"830x-rot90.jpg": true, "831x-rot90.jpg": false, // so does it here
		"8000x400-pad.jpg": true, "1107x100-exact.jpg": true, "1108x100-exact.jpg": false, "100x900-exact.jpg": false,
		"640x-up.jpg": true, "5000x-up.jpg": false,
		"640x.png": false, "640x-p3.jpg": false, "640x-credit.jpg": false, "640x-trim.jpg": false,
		"640x-crop0x0x900x900.jpg": true, "640x-crop0x0x300x300.jpg": false,
		"640x-gray-blur5-sharp.jpg": true, "640x-still.webp": true,
		"orig": false, "info.json": false,
	} {
		t.Run(name, func(t *testing.T) {
			spec, err := resize.ParseSpecName(name)
			if err != nil {
				t.Fatal(err)
			}
			if got := spec.FromMezzanine(w, h, 1440); got != want {
				t.Errorf("%t", got)
			}
		})
	}
	wide, _ := resize.ParseSpecName("400x400-cover.jpg")
	if wide.FromMezzanine(12000, 2000, 1440) {
		t.Error("a panorama's mezzanine is 240 pixels high: 400 are not made from it")
	}
}

// A variant made from a mezzanine must have the same size as one made from the original.
func FuzzSpec_FromMezzanine_NeverEnlarges(f *testing.F) {
	f.Add(4032, 3024, 640, 480, uint8(0), 0, false)
	f.Add(3024, 4032, 200, 200, uint8(1), 90, true)
	f.Fuzz(func(t *testing.T, w, h, boxW, boxH int, fit uint8, turn int, up bool) {
		s := resize.Spec{Width: boxW, Height: boxH, Fit: resize.Fit(fit % 4), Rotate: turn, Up: up, Format: resize.JPEG}
		if s.Check() != nil || w < 1 || h < 1 || w > 30_000 || h > 30_000 || max(w, h) < 2160 ||
			!s.FromMezzanine(w, h, 1440) {
			return
		}
		long := float64(max(w, h))
		mw, mh := max(1, int(float64(w)*1440/long+0.5)), max(1, int(float64(h)*1440/long+0.5))
		if turn == 90 || turn == 270 {
			mw, mh = mh, mw
		}
		outW, outH := s.OutputSize(w, h)
		if s.Fit != resize.FitPad && (outW > mw || outH > mh) {
			t.Errorf("%s of %dx%d is %dx%d, its mezzanine %dx%d", s, w, h, outW, outH, mw, mh)
		}
	})
}

func TestParseJobName_Mezzanine(t *testing.T) {
	for _, side := range []int{1, 1440, resize.MaxBox} {
		s := resize.Mezzanine(side)
		if got, err := resize.ParseJobName(s.Name()); err != nil || got != s {
			t.Errorf("%s: %+v, %v", s.Name(), got, err)
		}
		if _, err := resize.ParseSpecName(s.Name()); !errors.Is(err, resize.ErrSpec) {
			t.Errorf("%s is a Spec of a URL: %v", s.Name(), err)
		}
		if err := s.Check(); !errors.Is(err, resize.ErrSpec) {
			t.Errorf("%s: Check returns %v", s.Name(), err)
		}
	}
	for _, name := range []string{
		"mezzanine.jpg", "mezzanine0.jpg", "mezzanine8193.jpg", "mezzanine01440.jpg", "mezzanine+9.jpg",
		"mezzanine-1.jpg", "mezzanine1440.webp", "mezzanine1440", "mezzanine1440.jpg ", "mezzanine1440-gray.jpg",
	} {
		if s, err := resize.ParseJobName(name); !errors.Is(err, resize.ErrSpec) {
			t.Errorf("%q is %+v, %v", name, s, err)
		}
	}
	for _, name := range []string{"info.json", "orig", "640x-q70.webp"} {
		if s, err := resize.ParseJobName(name); err != nil || s.Name() != name {
			t.Errorf("%q is %+v, %v", name, s, err)
		}
	}
}
