package corpus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"strings"
)

// makeJPEG makes a JPEG with cjpeg, or a CMYK one with ImageMagick. Go's decoder reads it, or djpeg
// where Go's does not.
func makeJPEG(d *bench) (o original, err error) {
	width, height := d.size(30_000)
	m := d.scene(width, height, opaque)
	args := []string{"-quality", fmt.Sprint(oneOf(d, 35, 75, 90, 95, 100))}
	add := func(more ...string) { args = append(args, more...) }
	add(oneOf(d, []string{}, []string{"-progressive"}, []string{"-optimize"}, []string{"-arithmetic"},
		[]string{"-progressive", "-restart", "1"})...)
	add(oneOf(d, []string{}, []string{"-restart", "2B"}, []string{"-dct", "float"})...)
	switch d.IntN(6) {
	case 0:
		add("-grayscale")
		m = grey(m)
	case 1:
		add("-rgb")
	default:
		add("-sample", oneOf(d, "1x1", "2x1", "1x2", "2x2", "4x1", "1x4", "4x2", "2x2,2x1,1x1", "1x1,1x1,1x1"))
	}
	o.name = strings.Join(args, " ") + " " + dimensions(m)
	if d.IntN(25) == 0 {
		o.name = "CMYK " + dimensions(m)
		o.tolerance = 90 // without a profile, libvips uses one for print and Go inverts
		o.body, err = run(ppm(m), magick, "ppm:-", "-colorspace", "CMYK", "-quality", "92", "jpeg:-")
	} else {
		o.body, err = run(ppm(m), "cjpeg", args...)
	}
	if err != nil {
		return o, err
	}
	if m, err = readJPEG(o.body); err != nil {
		return o, err
	}
	o.described(d, &m, o.tolerance > 0 || strings.Contains(o.name, "-grayscale"))
	o.want = still(m)
	return o, nil
}

// described adds a profile, unless plain is true, and an orientation to a JPEG and applies them to m.
func (o *original) described(d *bench, m **image.NRGBA, plain bool) {
	if d.IntN(4) == 0 && !plain {
		s := oneOf(d, spaces...)
		o.name += ", " + s.name
		*m = recoloured(*m, s.toSRGB)
		o.body = withSegment(o.body, 0xe2, append([]byte("ICC_PROFILE\x00\x01\x01"), s.profile()...))
	}
	if d.IntN(3) == 0 {
		orientation := 1 + d.IntN(8)
		o.name += fmt.Sprintf(", orientation %d", orientation)
		o.body = withSegment(o.body, 0xe1, append([]byte("Exif\x00\x00"), exif(orientation, d.IntN(2) == 0)...))
		*m = oriented(*m, orientation)
	}
}

// withSegment returns a JPEG with one more segment after its beginning.
func withSegment(b []byte, marker byte, body []byte) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0xff, 0xd8, 0xff, marker}, uint16(len(body)+2))
	return append(append(head, body...), b[2:]...)
}

func readJPEG(b []byte) (*image.NRGBA, error) {
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err == nil {
		return nrgba(m), nil
	}
	out, err := run(b, "djpeg", "-nosmooth")
	if err != nil {
		return nil, err
	}
	return readPPM(out)
}
