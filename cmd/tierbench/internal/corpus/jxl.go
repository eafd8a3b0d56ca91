package corpus

import (
	"os"
	"strings"
)

// makeJXL makes a JPEG XL with cjxl, of pixels or of a JPEG. djxl reads it.
func makeJXL(d *bench) (o original, err error) {
	width, height := d.size(8000)
	args := []string{"-e", oneOf(d, "1", "3", "4"), "--num_threads=0"}
	add := func(more ...string) { args = append(args, more...) }
	from, to, back := d.file("from.png"), d.file("to.jxl"), d.file("back.png")
	var body []byte
	if d.IntN(3) == 0 {
		jpeg, err := makeJPEG(d)
		if err != nil {
			return o, err
		}
		o.name, body, from = "of a JPEG: "+jpeg.name, jpeg.body, d.file("from.jpg")
		add("-j", oneOf(d, "0", "1"))
		o.want, o.tolerance = jpeg.want, jpeg.tolerance
	} else {
		m := d.scene(width, height, oneOf(d, opaque, gradual))
		e := pngEncoder{colour: oneOf(d, pngGrey, pngRGB, pngGreyAlpha, pngRGBA), depth: oneOf(d, 8, 16), level: 1}
		if e.colour == pngGrey || e.colour == pngGreyAlpha {
			m = grey(m)
		}
		if e.colour >= pngGreyAlpha {
			e.depth = 8 // djxl 0.7 writes no alpha of 16 bits
		}
		body = e.encode(m)
		add("-d", oneOf(d, "0", "1", "2"))
		add(oneOf(d, []string{}, []string{"-m", "1"}, []string{"-p"}, []string{"--container=1"},
			[]string{"--resampling=2"}, []string{"--premultiply=1"}, []string{"--group_order=1"})...)
		o.name = dimensions(m)
	}
	o.name = strings.Join(args, " ") + " " + o.name
	if err = os.WriteFile(from, body, 0o600); err != nil {
		return o, err
	}
	if o.body, err = runTo(to, "cjxl", append([]string{from, to}, args...)...); err != nil {
		return o, err
	}
	if o.want.frames == nil {
		m, err := viaPNG(back, "djxl", to, back)
		if err != nil {
			return o, err
		}
		o.want = still(m)
	}
	return o, nil
}
