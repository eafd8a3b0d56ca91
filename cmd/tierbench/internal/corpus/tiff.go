package corpus

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// makeTIFF makes a TIFF with ImageMagick; in some cases tiffcp then rewrites it with another
// layout. ImageMagick reads it.
func makeTIFF(d *bench) (o original, err error) {
	width, height := d.size(15_900) // the policy of ImageMagick allows 16,000
	alpha := oneOf(d, opaque, opaque, gradual)
	m := d.scene(width, height, alpha)
	var args []string
	add := func(more ...string) { args = append(args, more...) }
	add("-endian", oneOf(d, "LSB", "MSB"))
	switch d.IntN(9) {
	case 0:
		add("-type", "Bilevel", "-compress", oneOf(d, "None", "Group4", "Fax", "LZW", "RLE"))
		alpha = opaque
	case 1:
		add("-type", "Grayscale", "-depth", oneOf(d, "8", "16"), "-compress", oneOf(d, "None", "LZW", "Zip"))
		alpha = opaque
	case 2:
		add("-type", "Palette", "-compress", oneOf(d, "None", "LZW", "RLE"))
		alpha = opaque
	case 3:
		add("-compress", "JPEG", "-quality", "90")
		alpha = opaque
	case 4:
		add("-depth", oneOf(d, "32", "64"), "-define", "quantum:format=floating-point",
			"-compress", oneOf(d, "None", "Zip"))
	case 5:
		add("-depth", "32", "-define", "quantum:format=unsigned", "-compress", "None")
	case 6:
		add("-colorspace", oneOf(d, "CMYK", "Lab"), "-depth", "8", "-compress", oneOf(d, "None", "LZW"))
		alpha = opaque
		if slices.Contains(args, "CMYK") {
			o.tolerance = 90 // without a profile, libvips uses one for print and ImageMagick inverts
		}
	default:
		add("-depth", oneOf(d, "8", "16"), "-compress", oneOf(d, "None", "LZW", "Zip", "RLE", "LZMA", "Zstd"))
	}
	if d.IntN(4) == 0 {
		add("-define", "tiff:tile-geometry=32x32")
	}
	if d.IntN(4) == 0 {
		add("-define", fmt.Sprintf("tiff:rows-per-strip=%d", 1+d.IntN(20)))
	}
	if d.IntN(5) == 0 {
		add("-interlace", "Plane")
	}
	if alpha == opaque {
		add("-alpha", "off")
	} else {
		add("-define", "tiff:alpha="+oneOf(d, "associated", "unassociated"))
	}
	orientation := 1
	if d.IntN(3) == 0 {
		orientation = 1 + d.IntN(8)
		add("-orient", [...]string{
			"TopLeft", "TopRight", "BottomRight", "BottomLeft", "LeftTop", "RightTop", "RightBottom", "LeftBottom",
		}[orientation-1])
	}
	o.name = strings.Join(args, " ") + " " + dimensions(m)
	file := d.file("made.tif")
	if _, err = run(pam(m), magick, append(append([]string{"pam:-"}, args...), "tiff:"+file)...); err != nil {
		return o, err
	}
	option := oneOf(d, "", "", "", "-c zip:2", "-c lzw:2", "-t -w 48 -l 16", "-r 3", "-p separate", "-p contig", "-s")
	if option != "" {
		o.name += ", tiffcp " + option
		if slices.Contains(args, "Lab") && option == "-p separate" {
			return o, errSkip // tiffcp garbles it
		}
		copied := d.file("copied.tif")
		if _, err := run(nil, "tiffcp", append(strings.Fields(option), file, copied)...); err != nil {
			return o, errSkip // not every option suits every kind of sample
		}
		file = copied
	}
	if o.body, err = os.ReadFile(file); err != nil {
		return o, err
	}
	// ImageMagick applies the orientation of some kinds of TIFF, but not of all.
	if _, err = run(nil, "tiffset", "-s", "274", "1", file); err != nil {
		return o, err
	}
	upright, err := os.ReadFile(file)
	if err != nil {
		return o, err
	}
	frames, err := byImageMagick(d, "tiff", upright)
	if err != nil {
		return o, err
	}
	o.want = still(oriented(frames[0], orientation))
	return o, nil
}
