package corpus

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"os"
)

// makeGIF makes a GIF of one or more frames, which gifsicle optimizes in some cases.
func makeGIF(d *bench) (o original, err error) {
	width, height := d.size(3000)
	count := oneOf(d, 1, 1, 2, 3, 5, 12)
	if width*height > 200_000 {
		count = 1
	}
	g := gif.GIF{
		LoopCount: oneOf(d, -1, 0, 1, 3),
		Config:    image.Config{Width: width, Height: height, ColorModel: color.Palette{color.Black, color.White}},
	}
	// Without a transparent colour, decoders disagree on what is under a frame that is cleared, and
	// under the first one.
	transparent := d.IntN(2) == 0
	disposals := []disposal{keepFrame, keepFrame, restoreFrame}
	if transparent {
		disposals = append(disposals, clearFrame)
	}
	var parts []part
	for i := range count {
		area := image.Rect(0, 0, width, height)
		if i > 0 || transparent && d.IntN(4) == 0 {
			left, top := d.IntN(width), d.IntN(height)
			area = image.Rect(left, top, left+1+d.IntN(width-left), top+1+d.IntN(height-top))
		}
		p, frame := gifFrame(d, area, transparent)
		p.delay = 10 * oneOf(d, 2, 4, 10, 50, 130)
		if i < count-1 {
			p.dispose = oneOf(d, disposals...)
		}
		if i == 0 && !transparent {
			p.dispose = keepFrame
		}
		parts = append(parts, p)
		g.Image = append(g.Image, frame)
		g.Delay = append(g.Delay, p.delay/10)
		methods := []byte{gif.DisposalNone, gif.DisposalBackground, gif.DisposalPrevious}
		g.Disposal = append(g.Disposal, methods[p.dispose])
	}
	var buf bytes.Buffer
	if err := gif.EncodeAll(&buf, &g); err != nil {
		return o, err
	}
	o.body = buf.Bytes()
	o.name = fmt.Sprintf("%d frames, loop %d, %dx%d", count, g.LoopCount, width, height)
	o.want = composed(width, height, parts)
	if count == 1 {
		o.want.delays = nil
	}
	if option := oneOf(d, "", "", "-O1", "-O3", "--interlace", "--unoptimize"); option != "" {
		o.name += " " + option
		file := d.file("made.gif")
		if err := os.WriteFile(file, o.body, 0o600); err != nil {
			return o, err
		}
		if o.body, err = run(nil, "gifsicle", "--no-warnings", option, file); err != nil {
			return o, errSkip // -O and --unoptimize refuse some combinations of frames
		}
	}
	return o, nil
}

// palette returns up to 256 colours, the first of which may be transparent.
func palette(d *bench, transparent bool) color.Palette {
	levels := oneOf(d, 2, 3, 4, 6)
	var p color.Palette
	if transparent {
		p = append(p, color.NRGBA{})
	}
	for i := range levels * levels * levels {
		v := func(n int) uint8 { return uint8(255 * (n % levels) / (levels - 1)) }
		p = append(p, color.NRGBA{v(i), v(i / levels), v(i / levels / levels), 255})
	}
	return p
}

func gifFrame(d *bench, area image.Rectangle, transparent bool) (part, *image.Paletted) {
	alpha := opaque
	if transparent {
		alpha = hard
	}
	m := d.scene(area.Dx(), area.Dy(), alpha)
	p := image.NewPaletted(area, palette(d, alpha == hard))
	for y := range area.Dy() {
		for x := range area.Dx() {
			c := m.NRGBAAt(x, y)
			if c.A == 0 {
				p.SetColorIndex(area.Min.X+x, area.Min.Y+y, 0)
				continue
			}
			from := p.Palette
			if alpha == hard {
				from = from[1:]
			}
			index := from.Index(c)
			m.Set(x, y, from[index])
			if alpha == hard {
				index++
			}
			p.SetColorIndex(area.Min.X+x, area.Min.Y+y, uint8(index))
		}
	}
	return part{m: m, at: area.Min, over: true}, p
}

// readGIF reads a GIF with Go's decoder.
func readGIF(b []byte) (animation, error) {
	g, err := gif.DecodeAll(bytes.NewReader(b))
	if err != nil {
		return animation{}, err
	}
	var parts []part
	for i, frame := range g.Image {
		p := part{m: nrgba(frame), at: frame.Rect.Min, delay: 10 * g.Delay[i], over: true}
		switch g.Disposal[i] {
		case gif.DisposalBackground:
			p.dispose = clearFrame
		case gif.DisposalPrevious:
			p.dispose = restoreFrame
		}
		parts = append(parts, p)
	}
	return composed(g.Config.Width, g.Config.Height, parts), nil
}
