package corpus

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"strings"

	"github.com/novasocial/imagetier/resize"
)

// Boxes of the variants, in pixels a side.
const (
	pngBox  = 600
	jpegBox = 90
	webpBox = 120
)

// specs returns what is made from o.
func (o original) specs() []resize.Spec {
	specs := []resize.Spec{
		{Shape: resize.ShapeInfo, Format: resize.JSON},
		{Width: pngBox, Height: pngBox, Format: resize.PNG},
		{Width: jpegBox, Height: jpegBox, Format: resize.JPEG},
	}
	for _, f := range []resize.Format{resize.WebP, resize.GIF} {
		if len(o.want.frames) > 1 || f == resize.WebP {
			specs = append(specs, resize.Spec{Width: webpBox, Height: webpBox, Format: f})
		}
	}
	return specs
}

// check returns what is wrong with the images, or "".
func (o original) check(specs []resize.Spec, images []resize.Image) string {
	for i, s := range specs {
		var err error
		switch {
		case s.Shape == resize.ShapeInfo:
			err = o.checkInfo(images[i].Body)
		case s.Format == resize.PNG, s.Format == resize.JPEG:
			err = o.checkStill(s, images[i].Body)
		default:
			err = o.checkAnimation(s, images[i].Body)
		}
		if err != nil {
			return s.Name() + ": " + err.Error()
		}
	}
	return ""
}

func (o original) checkInfo(body []byte) error {
	var info resize.Info
	if err := json.Unmarshal(body, &info); err != nil {
		return err
	}
	width, height := o.want.size()
	if info.Width != width || info.Height != height {
		return fmt.Errorf("%dx%d pixels, want %dx%d", info.Width, info.Height, width, height)
	}
	if frames := len(o.want.frames); info.Frames != frames && o.kind != "jxl" {
		// gifsicle and gif2webp leave out frames that change nothing.
		if (o.kind != "gif" && o.kind != "webp") || info.Frames > frames {
			return fmt.Errorf("%d frames, want %d", info.Frames, frames)
		}
	}
	m := means(o.want.frames[0], 1, 1)[0]
	// The colour is the mean of at most 100 pixels a side: too few of a long image.
	if m[3] < 1 || max(width, height) > 100*min(width, height) {
		return nil
	}
	var got [3]int
	if _, err := fmt.Sscanf(info.Color, "#%02x%02x%02x", &got[0], &got[1], &got[2]); err != nil {
		return err
	}
	for c := range got {
		if want := m[c] * 255 / m[3]; math.Abs(float64(got[c])-want) > float64(o.allowed(8)) {
			return fmt.Errorf("mean colour %s, want %.0f %.0f %.0f", info.Color, m[0]*255/m[3], m[1]*255/m[3],
				m[2]*255/m[3])
		}
	}
	return nil
}

func (o original) allowed(difference int) int { return max(difference, o.tolerance) }

// inside returns the size of a picture in a box.
func inside(width, height, box int) (int, int) {
	if long := max(width, height); long > box {
		shrunk := func(n int) int { return max(1, (2*n*box+long)/(2*long)) }
		return shrunk(width), shrunk(height)
	}
	return width, height
}

func (o original) checkStill(s resize.Spec, body []byte) error {
	decode, want := png.Decode, o.want.frames[0]
	if s.Format == resize.JPEG {
		decode, want = jpeg.Decode, onWhite(want)
	}
	m, err := decode(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	return o.same(nrgba(m), want, s)
}

// same compares the picture of s with what it was made from.
func (o original) same(got, want *image.NRGBA, s resize.Spec) error {
	width, height := inside(want.Rect.Dx(), want.Rect.Dy(), s.Width)
	if got.Rect.Dx() != width || got.Rect.Dy() != height {
		return fmt.Errorf("%s pixels, want %dx%d", dimensions(got), width, height)
	}
	if narrow := min(width, height); narrow < 3 && (width != want.Rect.Dx() || height != want.Rect.Dy()) {
		return nil // a filter weighs two pixels of a side differently from a mean
	}
	lossy, down, across := 0, min(4, height), min(4, width)
	if s.Format != resize.PNG {
		lossy = 6
		if width*height < 400 || min(width, height) < 8 { // a few blocks of chroma
			lossy = 80
		}
		if max(width, height) <= 2 { // one sample of chroma
			lossy = 150
		}
		if o.sharp() {
			if lossy += 30; lossy > 60 {
				down, across = 1, 1
			}
		}
		if s.Format == resize.GIF && means(want, 1, 1)[0][3] < 255 {
			lossy += 60 // a pixel that is scaled becomes opaque or transparent
		}
	}
	for _, grid := range []struct{ across, down, allowed int }{
		{1, 1, 4 + lossy/3}, {across, down, 16 + lossy},
	} {
		a, b := means(got, grid.across, grid.down), means(want, grid.across, grid.down)
		for i := range a {
			for c := range a[i] {
				if math.Abs(a[i][c]-b[i][c]) > float64(o.allowed(grid.allowed)) {
					return fmt.Errorf("area %d of %d is %.0f, want %.0f (premultiplied)", i+1, len(a), a[i], b[i])
				}
			}
		}
	}
	return nil
}

// sharp reports whether o has sharp edges of colour, which lossy formats soften.
func (o original) sharp() bool {
	for _, name := range []string{"gif", "Palette", "Bilevel", "type 3", ", 1 bits", ", 2 bits"} {
		if strings.Contains(o.kind+o.name, name) {
			return true
		}
	}
	return false
}

// partial reports whether m has pixels that are neither opaque nor transparent.
func partial(m *image.NRGBA) bool {
	for i := 3; i < len(m.Pix); i += 4 {
		if a := m.Pix[i]; a > 0 && a < 255 {
			return true
		}
	}
	return false
}

// checkAnimation compares a WebP or GIF, frame by frame.
func (o original) checkAnimation(s resize.Spec, body []byte) error {
	read, unit := readWebPAnimation, 1
	if s.Format == resize.GIF {
		read, unit = readGIF, 10
	}
	got, err := read(body)
	if err != nil {
		return fmt.Errorf("decode the answer: %w", err)
	}
	if len(o.want.frames) == 1 || len(got.frames) == 1 && o.want.motionless() {
		return o.same(got.frames[0], o.want.frames[0], s)
	}
	if difference := got.duration() - o.want.duration(); max(difference, -difference) >= unit*len(o.want.frames) {
		return fmt.Errorf("it takes %d ms, want %d (%v, want %v)", got.duration(), o.want.duration(),
			got.delays, o.want.delays)
	}
	at := 0
	for i, want := range o.want.frames {
		if s.Format == resize.GIF && partial(want) {
			want = got.at(at + o.want.delays[i]/2) // it cannot hold that: only the timing and the size count
		}
		if err := o.same(got.at(at+o.want.delays[i]/2), want, s); err != nil {
			return fmt.Errorf("frame %d: %w", i+1, err)
		}
		at += o.want.delays[i]
	}
	return nil
}
