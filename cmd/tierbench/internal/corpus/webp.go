package corpus

import (
	"encoding/binary"
	"fmt"
	"image"
	"os"
	"strings"
)

// makeWebP makes a WebP with cwebp, or an animation of such images.
func makeWebP(d *bench) (o original, err error) {
	switch d.IntN(6) {
	case 0, 1:
		return makeWebPAnimation(d)
	case 2:
		return makeWebPOfGIF(d)
	}
	width, height := d.size(16_383)
	var m *image.NRGBA
	if m, o.name, o.body, err = webpStill(d, width, height); err != nil {
		return o, err
	}
	for _, kind := range []string{"exif", "icc"} {
		if d.IntN(4) > 0 {
			continue
		}
		var body []byte
		if kind == "exif" {
			orientation := 1 + d.IntN(8)
			o.name += fmt.Sprintf(", orientation %d", orientation)
			body = exif(orientation, true)
			m = oriented(m, orientation)
		} else {
			s := oneOf(d, spaces...)
			o.name += ", " + s.name
			body = s.profile()
			m = recoloured(m, s.toSRGB)
		}
		from, to, meta := d.file("from.webp"), d.file(kind+".webp"), d.file(kind)
		if err := os.WriteFile(meta, body, 0o600); err != nil {
			return o, err
		}
		if err := os.WriteFile(from, o.body, 0o600); err != nil {
			return o, err
		}
		if o.body, err = runTo(to, "webpmux", "-set", kind, meta, from, "-o", to); err != nil {
			return o, err
		}
	}
	o.want = still(m)
	return o, nil
}

// webpStill returns an image, as dwebp reads it.
func webpStill(d *bench, width, height int) (m *image.NRGBA, name string, body []byte, err error) {
	m = d.scene(width, height, oneOf(d, opaque, gradual, hard))
	args := []string{"-quiet", "-m", oneOf(d, "0", "2", "4")}
	args = append(args, oneOf(d, []string{"-lossless"}, []string{"-q", "40"}, []string{"-q", "90"},
		[]string{"-q", "80", "-alpha_q", "50"}, []string{"-near_lossless", "60"},
		[]string{"-segments", "1", "-q", "75"},
		[]string{"-q", "70", "-alpha_method", "0"}, []string{"-preset", "drawing"})...)
	if d.IntN(8) == 0 {
		args = append(args, "-noalpha")
	}
	name = strings.Join(args[1:], " ") + " " + dimensions(m)
	if body, err = run(pam(m), "cwebp", append(args, "-o", "-", "--", "-")...); err != nil {
		return m, name, nil, err
	}
	m, err = readWebP(body)
	return m, name, body, err
}

// readWebP reads a still with dwebp.
func readWebP(body []byte) (*image.NRGBA, error) {
	b, err := run(body, "dwebp", "-quiet", "-pam", "-o", "-", "--", "-")
	if err != nil {
		return nil, err
	}
	var width, height int
	head, pixels, _ := strings.Cut(string(b), "ENDHDR\n")
	for line := range strings.Lines(head) {
		_, _ = fmt.Sscanf(line, "WIDTH %d", &width)
		_, _ = fmt.Sscanf(line, "HEIGHT %d", &height)
	}
	if len(pixels) != 4*width*height {
		return nil, fmt.Errorf("dwebp: %dx%d pixels in %d bytes", width, height, len(pixels))
	}
	return &image.NRGBA{Pix: []byte(pixels), Stride: 4 * width, Rect: image.Rect(0, 0, width, height)}, nil
}

// makeWebPAnimation joins stills of several sizes at several places.
func makeWebPAnimation(d *bench) (o original, err error) {
	width, height := 1+d.IntN(200), 1+d.IntN(200)
	var parts []part
	var chunks []byte
	for range oneOf(d, 1, 2, 3, 8) {
		// An offset is even.
		p := part{
			at:   image.Pt(d.IntN(width)/2*2, d.IntN(height)/2*2),
			over: d.IntN(2) == 0, delay: oneOf(d, 40, 100, 1000, 33),
		}
		if d.IntN(2) == 0 {
			p.at = image.Point{}
		}
		p.dispose = oneOf(d, keepFrame, clearFrame)
		var body []byte
		if p.m, _, body, err = webpStill(d, 1+d.IntN(width-p.at.X), 1+d.IntN(height-p.at.Y)); err != nil {
			return o, err
		}
		parts = append(parts, p)
		chunks = append(chunks, webpFrame(p, body)...)
	}
	vp8x := append(le24(le24([]byte{0x12, 0, 0, 0}, width-1), height-1), 0)[:10]
	all := riffChunk([]byte("WEBP"), "VP8X", vp8x)
	all = riffChunk(all, "ANIM", []byte{255, 255, 255, 255, byte(oneOf(d, 0, 1, 5)), 0})
	o.body = riffChunk(nil, "RIFF", append(all, chunks...))
	o.name = fmt.Sprintf("%d frames joined, %dx%d", len(parts), width, height)
	o.want = composed(width, height, parts)
	return o, nil
}

func webpFrame(p part, body []byte) []byte {
	frame := le24(le24(nil, p.at.X/2), p.at.Y/2)
	frame = le24(le24(frame, p.m.Rect.Dx()-1), p.m.Rect.Dy()-1)
	flags := byte(0)
	if !p.over {
		flags |= 2
	}
	if p.dispose == clearFrame {
		flags |= 1
	}
	frame = append(le24(frame, p.delay), flags)
	for rest := body[12:]; len(rest) >= 8; {
		n := 8 + int(binary.LittleEndian.Uint32(rest[4:]))
		n = min(n+n&1, len(rest))
		switch string(rest[:4]) {
		case "ALPH", "VP8 ", "VP8L":
			frame = append(frame, rest[:n]...)
		}
		rest = rest[n:]
	}
	return riffChunk(nil, "ANMF", frame)
}

func le24(b []byte, n int) []byte { return append(b, byte(n), byte(n>>8), byte(n>>16)) }

func riffChunk(b []byte, name string, body []byte) []byte {
	b = binary.LittleEndian.AppendUint32(append(b, name...), uint32(len(body)))
	b = append(b, body...)
	if len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// makeWebPOfGIF converts a GIF with gif2webp.
func makeWebPOfGIF(d *bench) (original, error) {
	o, err := makeGIF(d)
	if err != nil {
		return o, err
	}
	from, to := d.file("from.gif"), d.file("to.webp")
	if err := os.WriteFile(from, o.body, 0o600); err != nil {
		return o, err
	}
	args := oneOf(d, []string{}, []string{"-lossy"}, []string{"-mixed", "-min_size"})
	o.name = "gif2webp " + strings.Join(args, " ") + " of " + o.name
	if o.body, err = runTo(to, "gif2webp", append(args, "-quiet", from, "-o", to)...); err != nil {
		return o, err
	}
	o.want, err = readWebPAnimation(o.body)
	return o, err
}

// readWebPAnimation reads a still, or an animation frame by frame, with dwebp.
func readWebPAnimation(b []byte) (animation, error) {
	var parts []part
	var width, height int
	for rest := b[min(12, len(b)):]; len(rest) >= 8; {
		n := 8 + int(binary.LittleEndian.Uint32(rest[4:]))
		n = min(n+n&1, len(rest))
		body := rest[8:n]
		switch string(rest[:4]) {
		case "VP8X":
			width, height = 1+int24(body[4:]), 1+int24(body[7:])
		case "ANMF":
			p := part{at: image.Pt(2*int24(body), 2*int24(body[3:])), delay: int24(body[12:]), over: body[15]&2 == 0}
			if body[15]&1 != 0 {
				p.dispose = clearFrame
			}
			// A still of its own, which may have alpha.
			vp8x := append([]byte{0x10, 0, 0, 0}, body[6:12]...)
			file := riffChunk([]byte("WEBP"), "VP8X", vp8x)
			var err error
			if p.m, err = readWebP(riffChunk(nil, "RIFF", append(file, body[16:]...))); err != nil {
				return animation{}, err
			}
			parts = append(parts, p)
		}
		rest = rest[n:]
	}
	if parts == nil {
		m, err := readWebP(b)
		return still(m), err
	}
	return composed(width, height, parts), nil
}

func int24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
