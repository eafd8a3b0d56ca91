package vips

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

// Pictures are compared at quality 100. At usual qualities, a rounding difference between two
// pictures becomes much larger by encoding.

func TestDirect_Resize_AgreesWithLibvips(t *testing.T) {
	r := newResizer(t)
	names := []string{
		"640x640-q100.jpg",
		"640x640-q100.webp",
		"200x200-cover-q100.webp",
		"1080x1080-q100.jpg",
		"320x-q100.jpg",
		"300x500-cover-at20x90-rot90-q100.jpg",
		"2000x2000-q100.jpg",
	}
	for _, file := range append([]string{"progressive-p3.jpg"}, phonePhotos...) {
		original := testutil.Photo(t, file)
		for _, name := range names {
			t.Run(file+" "+name, func(t *testing.T) { alike(t, r, original, spec(t, name), 0.99) })
		}
		if testing.Short() {
			break
		}
	}
}

// alike fails the test unless both ways make pictures of one size that are that similar.
func alike(t *testing.T, r *Resizer, original []byte, s resize.Spec, similar float64) {
	t.Helper()
	direct, left, err := way(directly).make(r, original, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Fatalf("%s: the direct path does not take it", s.Name())
	}
	other, _, err := way(throughLibvips).make(r, original, s)
	if err != nil {
		t.Fatal(err)
	}
	if direct[0].Width != other[0].Width || direct[0].Height != other[0].Height {
		t.Fatalf("%s: it has %dx%d pixels, by libvips %dx%d",
			s.Name(), direct[0].Width, direct[0].Height, other[0].Width, other[0].Height)
	}
	luma, rgb := fieldsOf(pixels(t, direct[0]))
	otherLuma, otherRGB := fieldsOf(pixels(t, other[0]))
	got := ssim(luma, otherLuma)
	t.Logf("%s: SSIM %.4f, %.1f dB, %d bytes, by libvips %d",
		s.Name(), got, psnr(rgb, otherRGB), len(direct[0].Body), len(other[0].Body))
	if got < similar || psnr(rgb, otherRGB) < 36 {
		t.Errorf("%s: SSIM between the paths is %.4f (want %.2f), PSNR %.1f dB (want 36)",
			s.Name(), got, similar, psnr(rgb, otherRGB))
	}
}

// cloth returns a deterministic picture in which neighbouring pixels differ.
func cloth(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	u := func(v float64) uint8 { return uint8(math.Round(127.5 + 110*v)) }
	for y := range h {
		for x := range w {
			fx, fy := float64(x), float64(y)
			m.SetNRGBA(x, y, color.NRGBA{
				u(math.Sin(fx/9+fy/31) * math.Cos(fy/7)),
				u(math.Sin(fx*fx/4000 + fy/5)),
				u(math.Cos(fx/13) * math.Sin(fy*fx/9000)),
				255,
			})
		}
	}
	return m
}

func jpegOf(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oriented gives a JPEG an EXIF block with nothing in it but an orientation.
func oriented(original []byte, o int) []byte {
	body := []byte("Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00")
	body = append(body, byte(o), 0, 0, 0, 0, 0, 0)
	segment := append(binary.BigEndian.AppendUint16([]byte{0xff, 0xe1}, uint16(len(body)+2)), body...)
	return append(append(bytes.Clone(original[:2]), segment...), original[2:]...)
}

func TestDirect_CropAndRotate_AgreesWithLibvips(t *testing.T) {
	r := newResizer(t)
	names := []string{
		"301x200-cover-q100.jpg", "150x290-cover-left-q100.jpg",
		"290x150-cover-at70x10-q100.jpg", "150x150-cover-bottom-rot270-flip-q100.jpg",
		"150x-q100.jpg", "x101-q100.webp", "77x300-cover-right-flop-q100.jpg",
		"300x300-cover-up-q100.jpg", "1000x1000-q100.jpg",
	}
	for o := 1; o <= 8; o++ {
		original := oriented(jpegOf(t, cloth(723, 541), 95), o) // no multiples of a block
		for _, name := range names {
			t.Run(
				fmt.Sprintf("orientation %d, %s", o, name),
				func(t *testing.T) { alike(t, r, original, spec(t, name), 0.98) },
			)
		}
	}
}

func TestDirect_ChromaSampling_UsualOnes(t *testing.T) {
	r := newResizer(t)
	m := cloth(640, 480)
	grey := image.NewGray(m.Bounds())
	for y := range 480 {
		for x := range 640 {
			grey.Set(x, y, m.At(x, y))
		}
	}
	whole, _, err := way(throughLibvips).make(r, jpegOf(t, m, 100), spec(t, "8000x-q95.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	small, _, err := way(throughLibvips).make(r, jpegOf(t, m, 100), spec(t, "8000x-q85.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	for input, original := range map[string][]byte{
		"progressive, 4:4:4": whole[0].Body, "progressive, 4:2:0": small[0].Body, "grey": jpegOf(t, grey, 95),
	} {
		for _, name := range []string{
			"600x-q100.jpg", "300x-q100.jpg", "200x-q100.webp", "100x100-cover-q100.jpg", "50x-q100.jpg",
		} {
			t.Run(input+" "+name, func(t *testing.T) { alike(t, r, original, spec(t, name), 0.98) })
		}
	}
}

func TestDirect_UnsupportedSpec_LeftToLibvips(t *testing.T) {
	r := newResizer(t)
	original := jpegOf(t, cloth(640, 480), 90)
	for _, name := range []string{
		"100x100-pad.jpg", "100x100-exact.jpg", "100x100-cover-smart.webp", "700x-up.jpg",
		"100x-gray.jpg", "100x-blur2.jpg", "100x-sharp.webp", "100x-trim.jpg",
		"100x.png", "100x.avif", "2x.jpg",
	} {
		images, left, err := way(directly).make(r, original, spec(t, name))
		if err != nil || len(left) != 1 || images[0].Body != nil {
			t.Errorf("%s: %d bytes, %d renderings are left, %v", name, len(images[0].Body), len(left), err)
		}
	}
	// A rendering of several formats is split.
	images, left, err := way(directly).make(r, original, spec(t, "100x.png"), spec(t, "100x.webp"), spec(t, "100x.jpg"))
	if err != nil || len(left) != 1 || len(left[0].wanted) != 1 || left[0].wanted[0] != 0 || images[0].Body != nil ||
		images[1].Body == nil ||
		images[2].Body == nil {
		t.Errorf("%d of the renderings png, webp and jpg are left, error %v", len(left), err)
	}
	// An Adobe segment says that the components are red, green and blue.
	adobe := append(
		append(bytes.Clone(original[:2]), "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"...),
		original[2:]...)
	if _, left, err := way(directly).make(r, adobe, spec(t, "100x.jpg")); err != nil || len(left) != 1 {
		t.Errorf("RGB in a JPEG: %d renderings are left, %v", len(left), err)
	}
	if _, err := resize.Make(t.Context(), r, adobe, spec(t, "100x.jpg")); err != nil {
		t.Errorf("RGB in a JPEG: %v", err)
	}
}

func TestDirect_SharedDecode_EqualsSeparate(t *testing.T) {
	r := newResizer(t)
	originals := map[string][]byte{"a picture": oriented(jpegOf(t, cloth(2403, 1801), 92), 6)}
	for _, file := range []string{"phone-android.jpg", "progressive-p3.jpg"} {
		if !testing.Short() {
			originals[file] = testutil.Photo(t, file)
		}
	}
	var specs []resize.Spec
	for _, name := range []string{
		"64x64-cover.webp", "200x200-cover.webp", "320x.webp", "440x-rot90.jpg",
		"640x.jpg", "640x.webp", "1080x.jpg", "1600x.jpg",
	} {
		specs = append(specs, spec(t, name))
	}
	for input, original := range originals {
		together, left, err := way(directly).make(r, original, specs...)
		if err != nil || len(left) != 0 {
			t.Fatalf("%s: %d are left, %v", input, len(left), err)
		}
		for i, s := range specs {
			alone, _, err := way(directly).make(r, original, s)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(alone[0].Body, together[i].Body) {
				t.Errorf("%s: %s: the file differs from that of a job with this Spec alone", input, s.Name())
			}
		}
	}
}

func TestDirect_CorruptFile_FailsLikeLibvips(t *testing.T) {
	r := newResizer(t)
	s := spec(t, "100x.jpg")
	plain := jpegOf(t, cloth(320, 240), 85)
	made, _, err := way(throughLibvips).make(r, plain, spec(t, "320x.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for name, original := range map[string][]byte{"baseline": plain, "progressive": made[0].Body} {
		scan := bytes.Index(original, []byte("\xff\xda"))
		refused, stricter := 0, 0
		const tries = 1500
		for i := range tries {
			damaged := bytes.Clone(original)
			switch i % 3 {
			case 0: // cut, with an end
				at := scan + 20 + random.IntN(len(original)-scan-20)
				damaged = append(damaged[:at], 0xff, 0xd9)
			case 1: // a bit in the picture
				damaged[scan+random.IntN(len(original)-scan)] ^= 1 << random.IntN(8)
			case 2: // some bytes anywhere
				for range 1 + random.IntN(4) {
					damaged[2+random.IntN(len(original)-2)] = byte(random.IntN(256))
				}
			}
			_, left, direct := way(directly).make(r, damaged, s)
			_, _, other := way(throughLibvips).make(r, damaged, s)
			if len(left) != 0 { // left to libvips
				continue
			}
			if other != nil {
				refused++
			}
			switch {
			case direct == nil && other != nil:
				t.Errorf("%s, damage %d: the direct path makes an image, libvips says %v", name, i, other)
			case direct != nil && other == nil:
				stricter++
			case direct != nil && !errors.Is(direct, resize.ErrCorrupt) &&
				!errors.Is(direct, resize.ErrUnsupported) && !errors.Is(direct, resize.ErrTooLarge):
				t.Errorf("%s, damage %d: %v, libvips says %v", name, i, direct, other)
			}
		}
		t.Logf("%s: of %d damaged files libvips refuses %d, the direct path %d more", name, tries, refused, stricter)
		if refused < tries/10 {
			t.Errorf("%s: only %d of %d damaged files are refused: this shows nothing", name, refused, tries)
		}
	}
}

// A crop at the edge of a small picture has at least the last pixel, also where the picture is decoded
// smaller than it is.
func TestResizer_Resize_ThinCrops(t *testing.T) {
	r := newResizer(t)
	for _, side := range [][2]int{{15, 15}, {23, 2300}, {2300, 23}, {1, 1}, {8, 9}} {
		original := jpegOf(t, cloth(side[0], side[1]), 90)
		for _, name := range []string{
			"1x-crop267x267x733x733.jpg", "x200-crop500x0x500x1000.jpg", "200x-crop0x500x1000x500.webp",
			"1x1-cover-crop999x999x1x1.png", "40x-crop900x0x100x1000.jpg", "x40-crop0x900x1000x100.jpg",
		} {
			t.Run(fmt.Sprint(side, " ", name), func(t *testing.T) {
				if _, err := resize.Make(t.Context(), r, original, spec(t, name)); err != nil {
					t.Error(err)
				}
			})
		}
	}
}
