package vips

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"runtime"
	"testing"

	"golang.org/x/image/webp"

	"github.com/novasocial/imagetier/resize"
)

// A way is one of the two ways to make an image.
type way func(j *job, renderings []*rendering) ([]*rendering, error)

// directly makes images without libvips, and leaves out those that it cannot make.
func directly(j *job, renderings []*rendering) ([]*rendering, error) {
	passes, left, err := j.decodeDirect(renderings)
	for _, p := range passes {
		if err == nil {
			err = p.render(context.Background(), false)
		}
		p.close()
	}
	return left, err
}

// throughLibvips makes all images, as if there were no direct path.
func throughLibvips(j *job, renderings []*rendering) ([]*rendering, error) {
	for _, g := range j.groups(renderings) {
		if err := g.render(context.Background(), false); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// make makes images of original like Resize, but only in the given way.
func (w way) make(r *Resizer, original []byte, specs ...resize.Spec) ([]resize.Image, []*rendering, error) {
	images := make([]resize.Image, len(specs))
	request := resize.Job{Original: original, Specs: specs, Made: func(i int, img resize.Image) { images[i] = img }}
	var left []*rendering
	err := r.alone(request, func(j *job) error {
		renderings, err := j.renderings()
		if err != nil {
			return err
		}
		left, err = w(j, renderings)
		return err
	})
	return images, left, err
}

// alone runs do with a job, as Resize does.
func (r *Resizer) alone(request resize.Job, do func(j *job) error) error {
	original := request.Original
	libvips.Lock()
	defer libvips.Unlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&original[0])
	clearErrors()
	defer clearErrors()
	header, err := resize.ReadHeader(original)
	if err != nil {
		return err
	}
	if err := resize.CheckComplete(original, header); err != nil {
		return err
	}
	return do(r.newJob(request, header, readableOf(request.Original, header)))
}

// pixels decodes a JPEG or WebP with Go's own decoders.
func pixels(t testing.TB, img resize.Image) image.Image {
	t.Helper()
	var m image.Image
	var err error
	if img.Format == resize.WebP {
		m, err = webp.Decode(bytes.NewReader(img.Body))
	} else {
		m, err = jpeg.Decode(bytes.NewReader(img.Body))
	}
	if err != nil {
		t.Fatalf("decode the variant: %v", err)
	}
	if m.Bounds().Size() != image.Pt(img.Width, img.Height) {
		t.Fatalf("the variant has %v pixels, its Image says %dx%d", m.Bounds().Size(), img.Width, img.Height)
	}
	if img.Format == resize.WebP {
		m = studio(m)
	}
	return m
}

// studio converts the luma and chroma of a WebP, which have the limited range of ITU-R BT.601, to
// the full range of JPEG that image.YCbCr expects.
func studio(m image.Image) image.Image {
	coded, ok := m.(*image.YCbCr)
	if !ok {
		return m
	}
	to8 := func(v float64) uint8 { return uint8(math.Round(255 * min(max(v, 0), 1))) }
	out := image.NewNRGBA(coded.Bounds())
	for y := coded.Rect.Min.Y; y < coded.Rect.Max.Y; y++ {
		for x := coded.Rect.Min.X; x < coded.Rect.Max.X; x++ {
			c := coded.YCbCrAt(x, y)
			luma, blue, red := (float64(c.Y)-16)/219, (float64(c.Cb)-128)/224, (float64(c.Cr)-128)/224
			out.SetNRGBA(
				x,
				y,
				color.NRGBA{
					to8(luma + 1.402*red),
					to8(luma - 0.344136*blue - 0.714136*red),
					to8(luma + 1.772*blue),
					255,
				},
			)
		}
	}
	return out
}

// reference makes s of all pixels of original, by libvips, and loses nothing in an encoder.
func reference(t testing.TB, r *Resizer, original []byte, s resize.Spec) image.Image {
	t.Helper()
	return decodedPNG(t, referencePNG(t, r, original, s))
}

func decodedPNG(t testing.TB, body []byte) image.Image {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// referencePNG is like reference, and returns the picture as a PNG.
func referencePNG(t testing.TB, r *Resizer, original []byte, s resize.Spec) []byte {
	t.Helper()
	s.Format, s.Quality = resize.PNG, 0
	w := way(func(j *job, renderings []*rendering) ([]*rendering, error) {
		renderings[0].shrink = 1
		return throughLibvips(j, renderings)
	})
	images, _, err := w.make(r, original, s)
	if err != nil {
		t.Fatal(err)
	}
	return images[0].Body
}

// A field is one number for each pixel, 0-255.
type field struct {
	w, h int
	v    []float64
}

// luma returns the brightness of m (ITU-R BT.601), and its red, green and blue.
func fieldsOf(m image.Image) (luma field, rgb [3]field) {
	b := m.Bounds()
	luma = field{b.Dx(), b.Dy(), make([]float64, b.Dx()*b.Dy())}
	for c := range rgb {
		rgb[c] = field{b.Dx(), b.Dy(), make([]float64, b.Dx()*b.Dy())}
	}
	for y := range b.Dy() {
		for x := range b.Dx() {
			red, green, blue, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
			p := [3]float64{float64(red) / 257, float64(green) / 257, float64(blue) / 257}
			for c := range rgb {
				rgb[c].v[y*b.Dx()+x] = p[c]
			}
			luma.v[y*b.Dx()+x] = 0.299*p[0] + 0.587*p[1] + 0.114*p[2]
		}
	}
	return luma, rgb
}

// ssim returns the mean structural similarity of two fields (Wang et al. 2004) over windows
// of eight by eight pixels, at every fourth place.
func ssim(a, b field) float64 {
	const side, step = 8, 4
	const c1, c2 = (0.01 * 255) * (0.01 * 255), (0.03 * 255) * (0.03 * 255)
	sum, n := 0.0, 0
	for top := 0; top+side <= a.h; top += step {
		for left := 0; left+side <= a.w; left += step {
			var sa, sb, saa, sbb, sab float64
			for y := top; y < top+side; y++ {
				for x := left; x < left+side; x++ {
					p, q := a.v[y*a.w+x], b.v[y*a.w+x]
					sa, sb, saa, sbb, sab = sa+p, sb+q, saa+p*p, sbb+q*q, sab+p*q
				}
			}
			const k = side * side
			ma, mb := sa/k, sb/k
			va, vb, cov := saa/k-ma*ma, sbb/k-mb*mb, sab/k-ma*mb
			sum += (2*ma*mb + c1) * (2*cov + c2) / ((ma*ma + mb*mb + c1) * (va + vb + c2))
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return sum / float64(n)
}

// psnr returns the distance of red, green and blue of two pictures in decibel.
func psnr(a, b [3]field) float64 {
	sum, n := 0.0, 0
	for c := range a {
		for i, v := range a[c].v {
			d := v - b[c].v[i]
			sum += d * d
			n++
		}
	}
	if sum == 0 {
		return 99
	}
	return 10 * math.Log10(255*255*float64(n)/sum)
}
