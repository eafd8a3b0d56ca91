package resizetest

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"image"
	"image/color"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
	"github.com/novasocial/imagetier/resize"
)

func wideGamut(t *testing.T, r resize.Resizer) {
	picture := scene(240, 180).each(func(p [4]float64) [4]float64 {
		mean := (p[0] + p[1] + p[2]) / 3
		for c := range 3 {
			p[c] = min(max(mean+2.2*(p[c]-mean), 0), 1)
		}
		return p
	})
	plain := jpegOf(t, picture.image())
	t.Run("colours", func(t *testing.T) { wideColours(t, r, picture, plain) })
	t.Run("a photo in Display P3 keeps its values", func(t *testing.T) {
		original := testutil.Photo(t, "phone-p3-b.jpg")
		// Without its profile the photo's numbers count as sRGB and do not change.
		bare := stripped(original)
		s := spec(t, "640x.png")
		img := one(t, r, original, "640x-p3.png")
		numbers := rasterOf(decode(t, r, img))
		right := psnr(numbers, rasterOf(decode(t, r, one(t, r, bare, s.Name()))))
		wrong := psnr(numbers, rasterOf(decode(t, r, one(t, r, original, s.Name()))))
		t.Logf("%.1f dB from its own numbers, %.1f from those of sRGB", right, wrong)
		if right < 50 || right < wrong+3 {
			t.Errorf("the variant is %.1f dB from its own numbers, %.1f from those of sRGB", right, wrong)
		}
	})
	t.Run("inks", func(t *testing.T) { wideInks(t, r) })
	t.Run("the profile", func(t *testing.T) { wideProfile(t, r, plain) })
	t.Run("a background is sRGB", func(t *testing.T) {
		glass := pngOf(t, image.NewNRGBA(image.Rect(0, 0, 64, 64)))
		for _, name := range []string{"48x32-pad-bgff0000-p3.png", "32x-bgff0000-p3-q100.jpg"} {
			// sRGB's red in Display P3.
			got := color.NRGBAModel.Convert(decode(t, r, one(t, r, glass, name)).At(1, 1)).(color.NRGBA)
			if far(got, color.NRGBA{234, 51, 35, 255}) > 3 {
				t.Errorf("%s: %v", name, got)
			}
		}
	})
	t.Run("p3 has no effect on grey variants and GIFs", func(t *testing.T) {
		grey := image.NewGray(image.Rect(0, 0, 64, 48))
		for i := range grey.Pix {
			grey.Pix[i] = byte(i)
		}
		for _, c := range []struct {
			original    []byte
			p3, without string
		}{
			{plain, "80x-p3.gif", "80x.gif"}, {plain, "80x-gray-p3.jpg", "80x-gray.jpg"},
			{plain, "80x-gray-p3.webp", "80x-gray.webp"},
			{plain, "80x80-pad-gray-bgff0000-p3.png", "80x80-pad-gray-bgff0000.png"},
			{pngOf(t, grey), "32x-p3.png", "32x.png"}, {jpegOf(t, grey), "32x-p3.jpg", "32x.jpg"},
			{jpegOf(t, grey), "32x-p3.avif", "32x.avif"}, {jpegOf(t, grey), "32x-sharp-p3.webp", "32x-sharp.webp"},
		} {
			if !bytes.Equal(one(t, r, c.original, c.p3).Body, one(t, r, c.original, c.without).Body) {
				t.Errorf("%s and %s are different files", c.p3, c.without)
			}
		}
	})
	t.Run("an animation", func(t *testing.T) {
		img := one(t, r, film(t, 3), "40x-p3.webp")
		if delays, loops := framesOfWebP(t, img.Body); !slices.Equal(delays, []int{100, 250, 70, 1000}) ||
			loops != 3 && loops != 4 {
			t.Errorf("times %v, loop %d", delays, loops)
		}
		if profileIn(t, img) == nil {
			t.Error("the variant has no colour profile")
		}
		still := one(t, r, img.Body, "40x-still.webp")
		if got := color.NRGBAModel.Convert(decode(t, r, still).At(20, 2)).(color.NRGBA); far(got, filmColour(0)) > 20 {
			t.Errorf("its first frame is %v, want %v", got, filmColour(0))
		}
	})
}

// wideColours compares the results for originals with several profiles with the oracle, as numbers
// of Display P3 and, converted by the profile, as sRGB.
func wideColours(t *testing.T, r resize.Resizer, picture raster, plain []byte) {
	none, err := readProfile(iccProfile(srgb, 2.2, "sRGB"))
	if err != nil {
		t.Fatal(err)
	}
	none.curve = linearSRGB
	for _, c := range []struct {
		name string
		icc  []byte
	}{
		{"Display P3", iccProfile(displayP3, 2.2, "P3")},
		{"Adobe RGB", iccProfile(adobeRGB, 563.0/256, "Adobe")},
		{"sRGB", iccProfile(srgb, 2.2, "sRGB")},
		{"no profile", nil},
		{"a broken profile", bytes.Repeat([]byte("x"), 400)},
	} {
		original, p := plain, none
		if c.icc != nil {
			original = withProfile(plain, c.icc)
		}
		if len(c.icc) > 0 && c.icc[0] == 0 {
			if p, err = readProfile(c.icc); err != nil {
				t.Fatal(err)
			}
		}
		numbers, seen := p.to(displayP3, picture), p.toSRGB(picture)
		if got := psnr(none.to(displayP3, seen), numbers); c.name == "Display P3" && got > 30 {
			t.Errorf("the picture is within %.1f dB of one that was clipped to sRGB: it cannot show the difference", got)
		}
		for name, dB := range map[string]float64{
			"120x-p3.png": 33, "120x-p3.jpg": 31, "120x-p3.webp": 30, "120x-p3.avif": 30, "120x-p3.heic": 30,
			"120x-p3.jxl": 30, "90x90-cover-left-p3.png": 30, "120x-rot90-sharp-p3.png": 26,
		} {
			t.Run(c.name+", "+name, func(t *testing.T) {
				img := one(t, r, original, name)
				s := spec(t, name)
				got := rasterOf(decodeBy(t, r, img, "8192x8192-p3.png"))
				if got := psnr(got, want(numbers, s)); got < dB {
					t.Errorf("its numbers are those of Display P3 within %.1f dB, want %.1f", got, dB)
				}
				back := rasterOf(decode(t, r, one(t, r, img.Body, "8192x8192.png")))
				if got := psnr(back, want(seen, s)); got < dB-1 {
					t.Errorf("by its profile it is the picture within %.1f dB, want %.1f", got, dB-1)
				}
			})
		}
	}
	t.Run("alpha", func(t *testing.T) {
		glass := veiled(picture)
		for name, dB := range map[string]float64{"120x-p3.png": 32, "120x-p3.webp": 29, "120x-p3.avif": 28} {
			img := one(t, r, pngOf(t, glass.image()), name)
			numbers := rasterOf(decodeBy(t, r, img, "8192x8192-p3.png"))
			if got := psnr(numbers, want(none.to(displayP3, glass), spec(t, name))); got < dB {
				t.Errorf("%s: within %.1f dB, want %.1f", name, got, dB)
			}
		}
	})
	t.Run("one job gives the same files as separate jobs", func(t *testing.T) {
		original := withProfile(plain, iccProfile(adobeRGB, 563.0/256, "Adobe"))
		names := []string{"120x.jpg", "120x-p3.jpg", "120x.webp", "120x-credit-p3.webp", "90x-p3.avif", "120x-p3.gif"}
		var specs []resize.Spec
		for _, name := range names {
			specs = append(specs, spec(t, name))
		}
		images, err := resize.Make(t.Context(), r, original, specs...)
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			if !bytes.Equal(images[i].Body, one(t, r, original, name).Body) {
				t.Errorf("%s differs between one job and two", name)
			}
		}
	})
}

// wideInks: the cyan of a printing press is outside of sRGB and inside of Display P3.
func wideInks(t *testing.T, r resize.Resizer) {
	outside := false
	for _, ink := range [][4]byte{
		{0, 0, 0, 0}, {0, 0, 0, 255}, {255, 0, 0, 0}, {0, 255, 0, 0}, {0, 0, 255, 0}, {255, 0, 255, 0},
	} {
		img := one(t, r, inkJPEG(ink), "16x-p3.png")
		numbers := rasterOf(decode(t, r, img)).at(8, 8)
		seen := rasterOf(decode(t, r, one(t, r, img.Body, "16x.png"))).at(8, 8)
		want := rasterOf(decode(t, r, one(t, r, inkJPEG(ink), "16x.png"))).at(8, 8)
		for c := range 3 {
			if math.Abs(seen[c]-want[c]) > 0.03 {
				t.Errorf("ink %v is %.2f by way of p3, %.2f without", ink, seen, want)
				break
			}
		}
		back := inverse(srgb)
		for i := range 3 {
			v := 0.0
			for c := range 3 {
				for k := range 3 {
					v += back[k][i] * displayP3[c][k] * linearSRGB(numbers[c])
				}
			}
			outside = outside || v < -0.02
		}
	}
	if !outside {
		t.Error("no ink is outside of sRGB: all are clipped")
	}
}

// wideProfile: every file has the same small profile and no other metadata.
func wideProfile(t *testing.T, r resize.Resizer, plain []byte) {
	var first []byte
	for _, name := range []string{
		"80x-p3.jpg", "80x-p3.png", "80x-p3.webp", "80x-p3.avif", "80x-p3.heic",
		"80x80-cover-smart-p3.jpg", "80x80-pad-rot90-p3.png", "80x-blur3-p3.webp", "8192x8192-p3.jpg",
	} {
		for kind, original := range needled(t, r) {
			img := one(t, r, original, name)
			icc := profileIn(t, img)
			if first == nil {
				first = icc
			}
			if len(icc) == 0 || !bytes.Equal(icc, first) {
				t.Fatalf("%s of %s: a profile of %d bytes, want the one of %d", name, kind, len(icc), len(first))
			}
			bareBut(t, img, profilePart[img.Format])
		}
	}
	p, err := readProfile(first)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) >= 600 {
		t.Errorf("%d bytes, want less than 600", len(first))
	}
	for c := range 3 {
		for i := range 3 {
			if math.Abs(p.m[c][i]-displayP3[c][i]) > 1e-4 {
				t.Errorf("primary %d is %.5f, want %.5f", c, p.m[c], displayP3[c])
			}
		}
	}
	for v := 0.0; v <= 1; v += 1.0 / 64 {
		if got, want := p.curve(v), linearSRGB(v); math.Abs(got-want) > 1e-4 {
			t.Errorf("its curve has %.5f at %.3f, want %.5f", got, v, want)
		}
	}
	// JPEG XL stores the colour space in its own form.
	bareBut(t, one(t, r, plain, "80x-p3.jxl"))
}

// profilePart is the part of a file that contains the profile, by format.
var profilePart = map[resize.Format]string{
	resize.JPEG: "e2", resize.PNG: "iCCP", resize.WebP: "ICCP", resize.AVIF: "prof", resize.HEIC: "prof",
}

// profileIn returns the profile of a variant, nil if it has none.
func profileIn(t testing.TB, img resize.Image) []byte {
	t.Helper()
	b := img.Body
	switch img.Format {
	case resize.JPEG:
		return profileOf(b)
	case resize.PNG:
		for at := 8; at+12 <= len(b); at += 12 + int(binary.BigEndian.Uint32(b[at:])) {
			if string(b[at+4:at+8]) != "iCCP" {
				continue
			}
			body := b[at+8 : at+8+int(binary.BigEndian.Uint32(b[at:]))]
			in, err := zlib.NewReader(bytes.NewReader(body[bytes.IndexByte(body, 0)+2:]))
			if err != nil {
				t.Fatal(err)
			}
			icc, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			return icc
		}
	case resize.WebP:
		for at := 12; at+8 <= len(b); {
			n := int(binary.LittleEndian.Uint32(b[at+4:]))
			if string(b[at:at+4]) == "ICCP" {
				return b[at+8 : at+8+n]
			}
			at += 8 + n + n&1
		}
	case resize.AVIF, resize.HEIC:
		if at := bytes.Index(b, []byte("colrprof")); at >= 0 {
			return b[at+8 : at-4+int(binary.BigEndian.Uint32(b[at-4:]))]
		}
	}
	return nil
}

// stripped removes the application segments of a JPEG, except for the orientation and the like.
func stripped(file []byte) []byte {
	out := append([]byte(nil), file[:2]...)
	for at := 2; ; {
		if file[at+1] == 0xda {
			return append(out, file[at:]...)
		}
		n := 2 + int(binary.BigEndian.Uint16(file[at+2:]))
		if file[at+1] != 0xe2 {
			out = append(out, file[at:at+n]...)
		}
		at += n
	}
}
