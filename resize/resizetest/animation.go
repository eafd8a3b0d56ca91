package resizetest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"slices"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// filmDelays are hundredths of a second.
var filmDelays = []int{10, 25, 7, 100}

// film is an animation whose frames are of one colour each, with a bar below.
func film(t *testing.T, loops int) []byte {
	t.Helper()
	g := &gif.GIF{Delay: filmDelays, LoopCount: loops}
	for n := range filmDelays {
		m := image.NewPaletted(image.Rect(0, 0, 80, 60), color.Palette{filmColour(n), color.NRGBA{255, 255, 255, 255}})
		for i := 80 * 50; i < 80*60; i++ {
			m.Pix[i] = 1
		}
		g.Image = append(g.Image, m)
	}
	return gifOf(t, g)
}

func filmColour(n int) color.NRGBA {
	return []color.NRGBA{{200, 30, 30, 255}, {30, 180, 40, 255}, {20, 40, 210, 255}, {90, 90, 90, 255}}[n]
}

func animations(t *testing.T, r resize.Resizer) {
	for _, loops := range []int{0, -1, 3} { // for ever, once, and three times more
		keepsFrames(t, r, loops)
	}
	original := film(t, 3)
	web := one(t, r, original, "40x.webp")
	delays, loops := framesOfWebP(t, web.Body)
	if !slices.Equal(delays, []int{100, 250, 70, 1000}) || web.Width != 40 || web.Height != 30 {
		t.Errorf("the WebP of %dx%d has the times %v", web.Width, web.Height, delays)
	}
	back, err := gif.DecodeAll(bytes.NewReader(one(t, r, web.Body, "20x.gif").Body))
	if err != nil || !slices.Equal(back.Delay, filmDelays) || back.LoopCount != 3 {
		t.Errorf("through WebP (%d loops): %+v, %v", loops, back, err)
	}
	for _, name := range []string{
		"30x30-cover-smart.webp", "40x40-pad-bg102030.webp", "40x-rot90-flip.webp",
		"40x-gray-blur2-sharp.webp", "100x-up.gif", "30x30-cover-left.gif",
	} {
		img := one(t, r, original, name)
		h, err := resize.ReadHeader(img.Body)
		if err != nil || h.Frames != 4 || h.Width != img.Width || h.Height != img.Height {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		if err := resize.CheckComplete(img.Body, h); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"40x-still.webp", "40x-still.gif", "40x.png", "40x.avif"} {
		img := one(t, r, original, name)
		if h, err := resize.ReadHeader(img.Body); err != nil || h.Frames != 1 ||
			h.Animated && img.Format != resize.AVIF {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	// Still and animated variants made together equal those made alone.
	images, err := resize.Make(t.Context(), r, original,
		spec(t, "40x.webp"), spec(t, "40x-still.webp"), spec(t, "40x.gif"))
	if err != nil || !bytes.Equal(images[0].Body, web.Body) ||
		!bytes.Equal(images[1].Body, one(t, r, original, "40x-still.webp").Body) {
		t.Errorf("two Specs in one job give other files than two jobs: %v", err)
	}
	t.Run("frames times pixels have a budget", func(t *testing.T) { boundsFrames(t, r) })
	t.Run("photos", func(t *testing.T) { keepsAnimatedPhotos(t, r) })
}

// keepsFrames fails the test unless the frames, their times and the number of loops survive.
func keepsFrames(t *testing.T, r resize.Resizer, loops int) {
	t.Helper()
	original := film(t, loops)
	back, err := gif.DecodeAll(bytes.NewReader(one(t, r, original, "40x.gif").Body))
	if err != nil {
		t.Fatal(err)
	}
	if back.LoopCount != loops || !slices.Equal(back.Delay, filmDelays) ||
		back.Config.Width != 40 || back.Config.Height != 30 {
		t.Errorf("loop %d, delays %v, %dx%d; want %d, %v, 40x30",
			back.LoopCount, back.Delay, back.Config.Width, back.Config.Height, loops, filmDelays)
	}
	for n, m := range shown(back) {
		want := filmColour(n)
		if got := color.NRGBAModel.Convert(m.At(20, 2)).(color.NRGBA); far(got, want) > 12 {
			t.Errorf("frame %d is %v, want %v", n, got, want)
		}
		below := color.NRGBAModel.Convert(m.At(20, 28)).(color.NRGBA)
		if far(below, color.NRGBA{255, 255, 255, 255}) > 12 {
			t.Errorf("below frame %d lies %v: it is mixed with the next", n, below)
		}
	}
}

func boundsFrames(t *testing.T, r resize.Resizer) {
	g := &gif.GIF{}
	frame := image.NewPaletted(image.Rect(0, 0, 2000, 2000), color.Palette{color.Black, color.White})
	for range 20 {
		g.Image, g.Delay = append(g.Image, frame), append(g.Delay, 5)
	}
	large := gifOf(t, g)
	if _, err := resize.Make(t.Context(), r, large, spec(t, "40x.gif")); !errors.Is(err, resize.ErrTooLarge) {
		t.Errorf("80 megapixels in 20 frames: %v", err)
	}
	one(t, r, large, "40x-still.gif")
}

func keepsAnimatedPhotos(t *testing.T, r resize.Resizer) {
	for _, name := range []string{"animation.gif", "animation-small.gif"} {
		original := testutil.Photo(t, name)
		before, err := gif.DecodeAll(bytes.NewReader(original))
		if err != nil {
			t.Fatal(err)
		}
		after, err := gif.DecodeAll(bytes.NewReader(one(t, r, original, "100x.gif").Body))
		if err != nil || len(after.Image) != len(before.Image) ||
			!slices.Equal(after.Delay, before.Delay) || after.LoopCount != before.LoopCount {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// shown composes the frames of g as browsers do, except that it does not restore the previous
// frame.
func shown(g *gif.GIF) (frames []image.Image) {
	canvas := image.NewNRGBA(image.Rect(0, 0, g.Config.Width, g.Config.Height))
	for i, m := range g.Image {
		for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
			for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
				if _, _, _, a := m.At(x, y).RGBA(); a > 0 {
					canvas.Set(x, y, m.At(x, y))
				}
			}
		}
		copied := *canvas
		copied.Pix = bytes.Clone(canvas.Pix)
		frames = append(frames, &copied)
		if g.Disposal[i] == gif.DisposalBackground {
			draw.Draw(canvas, m.Rect, image.Transparent, image.Point{}, draw.Src)
		}
	}
	return frames
}

func far(a, b color.NRGBA) int {
	d := func(p, q uint8) int { return max(int(p)-int(q), int(q)-int(p)) }
	return max(d(a.R, b.R), d(a.G, b.G), d(a.B, b.B))
}

// framesOfWebP returns the delays, in milliseconds, and the loop count of an animation.
func framesOfWebP(t *testing.T, b []byte) (delays []int, loops int) {
	t.Helper()
	loops = -1
	for at := 12; at+8 <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at+4:]))
		switch string(b[at : at+4]) {
		case "ANIM":
			loops = int(binary.LittleEndian.Uint16(b[at+12:]))
		case "ANMF":
			delays = append(delays, int(b[at+20])|int(b[at+21])<<8|int(b[at+22])<<16)
		}
		at += 8 + n + n&1
	}
	return delays, loops
}
