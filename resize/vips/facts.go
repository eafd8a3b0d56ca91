package vips

// #include "direct.h"
// #include "vips.h"
import "C"

import (
	"encoding/base64"
	"fmt"
	"image"
	"unsafe"

	"github.com/bbrks/go-blurhash"
	"go.n16f.net/thumbhash"

	"github.com/novasocial/imagetier/resize"
)

// infoSide is the box, in pixels, of the image from which the hashes of an Info are computed: the
// largest that ThumbHash accepts (https://evanw.github.io/thumbhash/).
const infoSide = 100

// newInfo returns the Info of an original. m is its first frame, upright and small, with
// non-premultiplied pixels as in any image.NRGBA.
func newInfo(h resize.Header, bytes int, m *image.NRGBA) (resize.Image, error) {
	info := resize.NewInfo(h, bytes)
	// The encoder takes an image.RGBA but treats its pixels as non-premultiplied, so they are
	// passed without conversion.
	info.ThumbHash = base64.StdEncoding.EncodeToString(
		thumbhash.EncodeImage(&image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}),
	)
	across, down := 4, 3
	if info.Height > info.Width {
		across, down = 3, 4
	}
	hash, err := blurhash.Encode(across, down, shrinkOnWhite(m))
	if err != nil {
		return resize.Image{}, fmt.Errorf("%w: make a blurhash: %w", resize.ErrFailed, err)
	}
	info.BlurHash = hash
	info.Color = meanColour(m)
	return info.Image()
}

// shrinkOnWhite returns m on white, averaged down to at most 32 pixels a side: a BlurHash has at
// most four components a side, and its encoder is slow per pixel.
func shrinkOnWhite(m *image.NRGBA) *image.RGBA {
	const most = 32
	width, height := m.Rect.Dx(), m.Rect.Dy()
	by := max((width+most-1)/most, (height+most-1)/most, 1)
	out := image.NewRGBA(image.Rect(0, 0, (width+by-1)/by, (height+by-1)/by))
	for y := range out.Rect.Dy() {
		for x := range out.Rect.Dx() {
			var sum [3]int
			n := 0
			for fromY := y * by; fromY < min((y+1)*by, height); fromY++ {
				for fromX := x * by; fromX < min((x+1)*by, width); fromX++ {
					p := m.Pix[m.PixOffset(fromX, fromY):]
					for c := range sum {
						sum[c] += int(p[c])*int(p[3]) + 255*(255-int(p[3]))
					}
					n++
				}
			}
			to := out.Pix[out.PixOffset(x, y):]
			for c := range sum {
				to[c] = uint8((sum[c] + 255*n/2) / (255 * n))
			}
			to[3] = 255
		}
	}
	return out
}

// meanColour returns the mean colour weighted by opacity, or white if everything is transparent.
func meanColour(m *image.NRGBA) string {
	var sum [3]int
	opaque := 0
	for i := 0; i < len(m.Pix); i += 4 {
		alpha := int(m.Pix[i+3])
		for c := range sum {
			sum[c] += int(m.Pix[i+c]) * alpha
		}
		opaque += alpha
	}
	if opaque == 0 {
		return "#ffffff"
	}
	return fmt.Sprintf("#%02x%02x%02x", (sum[0]+opaque/2)/opaque, (sum[1]+opaque/2)/opaque, (sum[2]+opaque/2)/opaque)
}

// nrgba returns a copy of the pixels of p, which is in memory: 8-bit greyscale or sRGB, with or
// without alpha.
func (p picture) nrgba() (*image.NRGBA, error) {
	s, bands := p.size(), int(p.image.Bands)
	data := C.vips_image_get_data(p.image)
	if data == nil || p.image.BandFmt != C.VIPS_FORMAT_UCHAR || bands < 1 || bands > 4 {
		return nil, errVips
	}
	from := unsafe.Slice((*byte)(data), s.width*s.height*bands)
	m := image.NewNRGBA(image.Rect(0, 0, s.width, s.height))
	for to := m.Pix; len(to) > 0; from, to = from[bands:], to[4:] {
		switch bands {
		case 1, 2:
			to[0], to[1], to[2] = from[0], from[0], from[0]
		default:
			to[0], to[1], to[2] = from[0], from[1], from[2]
		}
		to[3] = 255
		if bands == 2 || bands == 4 {
			to[3] = from[bands-1]
		}
	}
	return m, nil
}

// pixels returns a copy of the pixels of a finished view of size s.
func (d directDecoder) pixels(view int, s size) (*image.NRGBA, error) {
	var rgb *C.uchar
	if fault := C.tier_direct_pixels(d.d, C.int(view), &rgb); fault != 0 {
		return nil, directError(fault, "read pixels")
	}
	m := image.NewNRGBA(image.Rect(0, 0, s.width, s.height))
	from := unsafe.Slice((*byte)(unsafe.Pointer(rgb)), 3*s.width*s.height)
	for to := m.Pix; len(to) > 0; from, to = from[3:], to[4:] {
		to[0], to[1], to[2], to[3] = from[0], from[1], from[2], 255
	}
	return m, nil
}
