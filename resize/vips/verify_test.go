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

// x265 refuses some long, narrow sizes, and libheif 1.15 then writes a file without a picture.
func TestResizer_Resize_HEICWithoutPicture(t *testing.T) {
	r, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 50, 30))); err != nil {
		t.Fatal(err)
	}
	s, err := resize.ParseSpecName("5000x30-exact-up.heic")
	if err != nil {
		t.Fatal(err)
	}
	images, err := resize.Make(t.Context(), r, b.Bytes(), s)
	if err == nil {
		err = encoding{s.Format, size{5000, 30}, 1, false}.verify(images[0].Body)
		if err != nil {
			t.Errorf("answered %d bytes: %v", len(images[0].Body), err)
		}
		return // a libheif that can
	}
	if !errors.Is(err, resize.ErrFailed) || errors.Is(err, resize.ErrCorrupt) {
		t.Error(err)
	}
}
