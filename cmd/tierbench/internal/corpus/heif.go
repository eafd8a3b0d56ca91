package corpus

import (
	"bytes"
	"fmt"
	"image"
	"os"
	"strings"
)

// makeAVIF makes an AVIF with avifenc. avifdec reads it, without its rotation, mirroring and crop.
func makeAVIF(d *bench) (o original, err error) {
	width, height := d.size(4000)
	width, height = min(width, 5000), min(height, 5000)
	alpha := oneOf(d, opaque, opaque, gradual)
	m := d.scene(width, height, alpha)
	from, to := d.file("from.png"), d.file("to.avif")
	args := []string{
		"-s", "10", "-j", "1",
		"-d", oneOf(d, "8", "8", "10", "12"), "-y", oneOf(d, "444", "422", "420", "420", "400"),
		"-r", oneOf(d, "full", "limited"), "--min", "10", "--max", "20", "--minalpha", "0", "--maxalpha", "10"}
	add := func(more ...string) { args = append(args, more...) }
	if alpha != opaque && d.IntN(3) == 0 {
		add("-p")
	}
	finish := func(m *image.NRGBA) *image.NRGBA { return m }
	then := func(next func(m *image.NRGBA) *image.NRGBA) {
		before := finish
		finish = func(m *image.NRGBA) *image.NRGBA { return next(before(m)) }
	}
	switch d.IntN(5) {
	case 0:
		s := oneOf(d, spaces...)
		if err := os.WriteFile(d.file("icc"), s.profile(), 0o600); err != nil {
			return o, err
		}
		add("--icc", d.file("icc"))
		o.name = s.name + " "
		then(func(m *image.NRGBA) *image.NRGBA { return recoloured(m, s.toSRGB) })
	case 1:
		add("--cicp", oneOf(d, "12/13/6", "12/13/1", "12/13/5"))
		p3 := spaces[0]
		p3.gamma = 1
		then(func(m *image.NRGBA) *image.NRGBA {
			return recoloured(m, func(v [3]float64) [3]float64 { return p3.toSRGB(each(decodeSRGB)(v)) })
		})
	case 2:
		add("--cicp", oneOf(d, "1/13/1", "1/13/6", "1/13/5", "2/2/9", "1/13/9"))
	}
	if width > 40 && height > 40 && d.IntN(4) == 0 {
		area := image.Rect(4, 6, 4+width/2/2*2, 6+height/2/2*2)
		add("--crop", fmt.Sprintf("%d,%d,%d,%d", area.Min.X, area.Min.Y, area.Dx(), area.Dy()))
		then(func(m *image.NRGBA) *image.NRGBA { return nrgba(m.SubImage(area)) })
	}
	if d.IntN(3) == 0 {
		angle := d.IntN(4)
		add("--irot", fmt.Sprint(angle))
		then(func(m *image.NRGBA) *image.NRGBA { return oriented(m, [...]int{1, 8, 3, 6}[angle]) })
	}
	if d.IntN(4) == 0 {
		mode := d.IntN(2)
		add("--imir", fmt.Sprint(mode))
		then(func(m *image.NRGBA) *image.NRGBA { return oriented(m, [...]int{4, 2}[mode]) })
	}
	o.name += strings.Join(args[4:], " ") + " " + dimensions(m) + alpha.String()
	if coarse := strings.Contains(o.name, "-y 42"); coarse && min(width, height) <= 16 {
		o.tolerance = 25 // libavif and libheif interpolate chroma differently, which shows at the edges
	}
	if err = os.WriteFile(from, plainPNG(m, alpha != opaque, oneOf(d, 8, 16)), 0o600); err != nil {
		return o, err
	}
	if o.body, err = runTo(to, "avifenc", append(args, from, to)...); err != nil {
		return o, err
	}
	if d.IntN(4) == 0 { // the code points are only in the bitstream
		o.name += ", without nclx"
		o.body = bytes.Replace(o.body, []byte("colrnclx"), []byte("freenclx"), 1)
		if err = os.WriteFile(to, o.body, 0o600); err != nil {
			return o, err
		}
	}
	back := d.file("back.png")
	// With 8 bits, avifdec 0.11 writes grey without widening its range.
	if m, err = viaPNG(back, "avifdec", "-j", "1", "-d", "16", to, back); err != nil {
		return o, err
	}
	o.want = still(finish(m))
	return o, nil
}

// makeHEIC makes a HEIC with heif-enc. heif-convert reads it.
func makeHEIC(d *bench) (o original, err error) {
	width, height := d.size(2000)
	alpha := oneOf(d, opaque, opaque, gradual)
	m := d.scene(width, height, alpha)
	to := d.file("to.heic")
	args := []string{"-q", oneOf(d, "50", "80", "95"), "-p", "chroma=" + oneOf(d, "420", "420", "422", "444"),
		"-p", "preset=ultrafast"}
	depth := oneOf(d, 8, 8, 16)
	if depth == 16 {
		args = append(args, "-b", oneOf(d, "10", "12"))
	}
	args = append(args, oneOf(d, []string{}, []string{}, []string{"--full_range_flag", "0"},
		[]string{"--matrix_coefficients", "1"}, []string{"-t", "16"})...)
	o.name = strings.Join(args, " ") + " " + dimensions(m) + alpha.String()
	from := d.file("from.png")
	body := plainPNG(m, alpha != opaque, depth)
	if d.IntN(4) == 0 {
		from = d.file("from.jpg")
		orientation := 1 + d.IntN(8)
		o.name += fmt.Sprintf(", of a JPEG with orientation %d", orientation)
		if body, err = run(ppm(m), "cjpeg", "-quality", "95"); err != nil {
			return o, err
		}
		body = withSegment(body, 0xe1, append([]byte("Exif\x00\x00"), exif(orientation, true)...))
	}
	if err = os.WriteFile(from, body, 0o600); err != nil {
		return o, err
	}
	if o.body, err = runTo(to, "heif-enc", append(args, "-o", to, from)...); err != nil {
		return o, err
	}
	back := d.file("back.png")
	if m, err = viaPNG(back, "heif-convert", to, back); err != nil {
		return o, err
	}
	o.want = still(m)
	return o, nil
}
