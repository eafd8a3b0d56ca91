package corpus

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/png"
	"math"
)

// Colour types of PNG.
const (
	pngGrey      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGreyAlpha = 4
	pngRGBA      = 6
)

// makePNG makes a PNG of any colour type and depth. Go's decoder reads it.
func makePNG(d *bench) (o original, err error) {
	width, height := d.size(30_000)
	m := d.scene(width, height, opaque)
	colour := oneOf(d, pngGrey, pngRGB, pngRGB, pngPalette, pngGreyAlpha, pngRGBA, pngRGBA)
	depth := oneOf(d, 8, 8, 16)
	switch colour {
	case pngGrey:
		depth = oneOf(d, 1, 2, 4, 8, 16)
		m = grey(m)
	case pngPalette:
		depth = oneOf(d, 1, 2, 4, 8)
	case pngGreyAlpha:
		m = grey(d.scene(width, height, oneOf(d, gradual, hard)))
	case pngRGBA:
		m = d.scene(width, height, oneOf(d, gradual, hard))
	}
	e := pngEncoder{colour: colour, depth: depth, interlaced: d.IntN(3) == 0, level: oneOf(d, 0, 1, 9)}
	o.name = fmt.Sprintf("type %d, %d bits, interlaced %t, %s", colour, depth, e.interlaced, dimensions(m))
	if d.IntN(3) == 0 && (colour <= pngPalette) {
		e.transparent = true
		o.name += ", tRNS"
	}
	convert := e.describe(d, &o)
	o.body = e.encode(m)
	read, err := png.Decode(bytes.NewReader(o.body))
	if err != nil {
		return o, err
	}
	m = nrgba(read)
	if convert != nil {
		m = recoloured(m, convert)
	}
	if e.orientation > 1 {
		m = oriented(m, e.orientation)
	}
	o.want = still(m)
	return o, nil
}

// describe adds chunks about colours and orientation. It returns how samples become sRGB, or nil.
func (e *pngEncoder) describe(d *bench, o *original) func([3]float64) [3]float64 {
	be := binary.BigEndian
	if d.IntN(5) == 0 {
		e.orientation = 1 + d.IntN(8)
		o.name += fmt.Sprintf(", orientation %d", e.orientation)
		e.chunks = append(e.chunks, chunk{"eXIf", exif(e.orientation, true)})
	}
	switch d.IntN(10) {
	case 0:
		o.name += ", sRGB"
		e.chunks = append(e.chunks, chunk{"sRGB", []byte{0}}, chunk{"gAMA", be.AppendUint32(nil, 45_455)})
	case 1:
		gamma := oneOf(d, 100_000, 55_556, 45_455, 30_000)
		o.name += fmt.Sprintf(", gAMA %d", gamma)
		e.chunks = append(e.chunks, chunk{"gAMA", be.AppendUint32(nil, uint32(gamma))})
		if gamma == 45_455 {
			return nil
		}
		return each(func(v float64) float64 { return encodeSRGB(math.Pow(v, 100_000/float64(gamma))) })
	case 2:
		if e.colour == pngGrey || e.colour == pngGreyAlpha {
			break
		}
		s := oneOf(d, spaces...)
		o.name += ", " + s.name
		e.chunks = append(e.chunks, chunk{"iCCP", append([]byte("p\x00\x00"), deflated(s.profile(), 9)...)})
		return s.toSRGB
	case 3:
		o.name += ", cICP of Display P3"
		e.chunks = append(e.chunks, chunk{"cICP", []byte{12, 13, 0, 1}})
		p3 := spaces[0]
		p3.gamma = 1
		return func(v [3]float64) [3]float64 { return p3.toSRGB(each(decodeSRGB)(v)) }
	case 4:
		o.name += ", texts"
		e.chunks = append(e.chunks,
			chunk{"tEXt", []byte("Comment\x00made for a test")}, chunk{"tIME", []byte{7, 230, 1, 2, 3, 4, 5}},
			chunk{"pHYs", []byte{0, 0, 11, 19, 0, 0, 11, 19, 1}})
	}
	return nil
}

func each(f func(float64) float64) func([3]float64) [3]float64 {
	return func(v [3]float64) [3]float64 { return [3]float64{f(v[0]), f(v[1]), f(v[2])} }
}

type chunk struct {
	name string
	body []byte
}

// A pngEncoder writes PNGs of any colour type, depth and order of rows, without filters.
type pngEncoder struct {
	colour, depth int
	interlaced    bool
	transparent   bool // tRNS: the colour of the first pixel, or some alpha in the palette
	level         int  // of compression
	orientation   int
	chunks        []chunk
}

func (e pngEncoder) encode(m *image.NRGBA) []byte {
	be := binary.BigEndian
	out := []byte("\x89PNG\r\n\x1a\n")
	write := func(name string, body []byte) {
		out = be.AppendUint32(out, uint32(len(body)))
		at := len(out)
		out = append(append(out, name...), body...)
		out = be.AppendUint32(out, crc32.ChecksumIEEE(out[at:]))
	}
	head := be.AppendUint32(be.AppendUint32(nil, uint32(m.Rect.Dx())), uint32(m.Rect.Dy()))
	interlace := byte(0)
	if e.interlaced {
		interlace = 1
	}
	write("IHDR", append(head, byte(e.depth), byte(e.colour), 0, 0, interlace))
	for _, c := range e.chunks {
		write(c.name, c.body)
	}
	e.writeTransparency(m, write)
	data := deflated(e.rows(m), e.level)
	for len(data) > 4000 {
		write("IDAT", data[:4000])
		data = data[4000:]
	}
	write("IDAT", data)
	write("IEND", nil)
	return out
}

// writeTransparency writes PLTE and tRNS.
func (e pngEncoder) writeTransparency(m *image.NRGBA, write func(string, []byte)) {
	if e.colour == pngPalette {
		var palette, alpha []byte
		n := 1 << e.depth
		for i := range n {
			v := byte(255 * i / (n - 1))
			palette = append(palette, v, 255-v/2, 128+v/4)
			alpha = append(alpha, 255-v/2)
		}
		write("PLTE", palette)
		if e.transparent {
			write("tRNS", alpha[:(n+1)/2])
		}
		return
	}
	if e.transparent {
		var key []byte
		for _, v := range e.samples(m, 0, 0) {
			key = binary.BigEndian.AppendUint16(key, v)
		}
		write("tRNS", key)
	}
}

// samples returns the samples of a pixel as they are coded.
func (e pngEncoder) samples(m *image.NRGBA, x, y int) []uint16 {
	p := m.Pix[m.PixOffset(x, y):]
	coded := func(v byte) uint16 {
		if e.depth == 16 {
			return uint16(v) * 257
		}
		return uint16(v >> (8 - e.depth))
	}
	switch e.colour {
	case pngRGB:
		return []uint16{coded(p[0]), coded(p[1]), coded(p[2])}
	case pngGreyAlpha:
		return []uint16{coded(p[0]), coded(p[3])}
	case pngRGBA:
		return []uint16{coded(p[0]), coded(p[1]), coded(p[2]), coded(p[3])}
	}
	return []uint16{coded(p[1])} // grey, or an index
}

// rows returns the uncompressed rows.
func (e pngEncoder) rows(m *image.NRGBA) (out []byte) {
	type pass struct{ x, y, dx, dy int }
	passes := []pass{{0, 0, 1, 1}}
	if e.interlaced {
		passes = []pass{
			{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
		}
	}
	for _, p := range passes {
		if p.x >= m.Rect.Dx() {
			continue
		}
		for y := p.y; y < m.Rect.Dy(); y += p.dy {
			out = append(out, 0)
			bits, n := uint32(0), 0
			for x := p.x; x < m.Rect.Dx(); x += p.dx {
				for _, v := range e.samples(m, x, y) {
					bits, n = bits<<e.depth|uint32(v), n+e.depth
					for ; n >= 8; n -= 8 {
						out = append(out, byte(bits>>(n-8)))
					}
				}
			}
			if n > 0 {
				out = append(out, byte(bits<<(8-n)))
			}
		}
	}
	return out
}

func deflated(b []byte, level int) []byte {
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, level)
	if err != nil {
		panic(err) // the level is a constant
	}
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// plainPNG returns m as an RGBA or RGB PNG of 8 or 16 bits, for other encoders.
func plainPNG(m *image.NRGBA, alpha bool, depth int) []byte {
	e := pngEncoder{colour: pngRGB, depth: depth, level: 1}
	if alpha {
		e.colour = pngRGBA
	}
	return e.encode(m)
}
