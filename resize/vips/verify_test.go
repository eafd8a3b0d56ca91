package vips

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

func TestEncoding_Verify(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 30, 20))); err != nil {
		t.Fatal(err)
	}
	file := b.Bytes()
	right := encoding{resize.PNG, size{30, 20}, 1, false}
	if err := right.verify(file); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		want encoding
		file []byte
	}{
		"another format": {encoding{resize.JPEG, right.size, 1, false}, file},
		"another size":   {encoding{resize.PNG, size{30, 21}, 1, false}, file},
		"no alpha":       {encoding{resize.PNG, right.size, 1, true}, file},
		"cut short":      {right, file[:len(file)-30]},
		"empty":          {right, nil},
	} {
		if err := c.want.verify(c.file); !errors.Is(err, resize.ErrFailed) || errors.Is(err, resize.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// x265 refuses long, narrow sizes, and libheif 1.15 then writes a file without a picture.
func TestResizer_Resize_NarrowHEIC(t *testing.T) {
	r := newResizer(t)
	var b bytes.Buffer
	m := image.NewNRGBA(image.Rect(0, 0, 50, 30))
	for i := 0; i < len(m.Pix); i += 4 {
		copy(m.Pix[i:], []byte{200, 0, 0, uint8(i % 200 / 4 * 5)}) // transparent to the left
	}
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"5000x30-exact-up.heic", "30x5000-exact-up-credit-p3.heic", "4216x1-exact-up.heic", "8192x9-exact-up.heic",
	} {
		s := spec(t, name)
		images, err := resize.Make(t.Context(), r, b.Bytes(), s)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		file := images[0].Body
		h, err := resize.ReadHeader(file)
		if err != nil || h.Width != s.Width || h.Height != s.Height || !h.Alpha || h.Left != 0 || h.Top != 0 {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		back, err := resize.Make(t.Context(), r, file, spec(t, "100x100.png"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := png.Decode(bytes.NewReader(back[0].Body))
		if err != nil {
			t.Fatal(err)
		}
		end := got.Bounds().Max
		if _, _, _, a := got.At(end.X-1, end.Y-1).RGBA(); a < 0x7000 {
			t.Errorf("%s: alpha at the end is %x", name, a)
		}
	}
}
