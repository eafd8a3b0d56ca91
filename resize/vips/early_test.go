package vips

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// early makes specs from an original that arrives in pieces of n bytes.
func early(
	t *testing.T, r *Resizer, original []byte, n int, usable bool, specs ...resize.Spec,
) ([]resize.Image, error) {
	t.Helper()
	a := resize.NewArriving(len(original))
	buffer := make([]byte, len(original))
	go func() {
		for have := 0; have < len(original); {
			next := min(have+n, len(original))
			copy(buffer[have:next], original[have:next])
			a.Add(buffer[:next])
			have = next
		}
		a.End(usable)
	}()
	images := make([]resize.Image, len(specs))
	err := r.Resize(t.Context(), resize.Job{
		Early: a, Specs: specs, Made: func(i int, img resize.Image) { images[i] = img },
	})
	return images, err
}

// For any bytes that arrive, images and errors are those of a job with the complete original.
func TestResizer_Resize_EarlyEqualsWhole(t *testing.T) {
	r := newResizer(t)
	plain := jpegOf(t, cloth(1200, 900), 90)
	damaged := bytes.Clone(plain)
	copy(damaged[len(damaged)/2:], bytes.Repeat([]byte{0xff, 0xd0}, 20))
	specs := []resize.Spec{
		spec(t, "300x.jpg"), spec(t, "100x100-cover.webp"), spec(t, "80x.png"),
		{Shape: resize.ShapeInfo, Format: resize.JSON},
	}
	for name, original := range map[string][]byte{
		"JPEG":               plain,
		"oriented":           oriented(plain, 6),
		"progressive":        progressive(t, r, 600, 400),
		"without EOI":        plain[:len(plain)-2],
		"with appended data": append(bytes.Clone(plain), make([]byte, 100_000)...),
		"cut":                plain[:len(plain)/2],
		"damaged":            damaged,
		"header only":        plain[:200],
		"not a picture":      []byte("<!doctype html><html></html>"),
		"a GIF":              []byte("GIF89a"),
	} {
		want, wanted := resize.Make(t.Context(), r, original, specs...)
		for _, n := range []int{997, 1 << 20} {
			t.Run(fmt.Sprintf("%s in pieces of %d", name, n), func(t *testing.T) {
				got, err := early(t, r, original, n, true, specs...)
				if fmt.Sprint(err) != fmt.Sprint(wanted) {
					t.Fatalf("error %v, want %v", err, wanted)
				}
				for i := range want {
					if !bytes.Equal(got[i].Body, want[i].Body) {
						t.Errorf("%s differs", specs[i].Name())
					}
				}
			})
		}
	}
}

func TestResizer_Resize_EarlyNotUsable(t *testing.T) {
	r := newResizer(t)
	images, err := early(t, r, jpegOf(t, cloth(1200, 900), 90), 997, false, spec(t, "300x.jpg"))
	if !errors.Is(err, resize.ErrNotEarly) || images[0].Body != nil {
		t.Errorf("%d bytes, %v, want none and ErrNotEarly", len(images[0].Body), err)
	}
}

// A decoder that waits for bytes leaves libjpeg's fast path more often, which overlooks some damage.
func TestResizer_Resize_EarlyDamageEqualsWhole(t *testing.T) {
	r := newResizer(t)
	s := spec(t, "100x.jpg")
	plain := jpegOf(t, cloth(320, 240), 85)
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	const tries = 300
	for i := range tries {
		original := bytes.Clone(plain)
		if i%2 == 0 { // cut, with an end
			original = append(original[:len(original)/4+random.IntN(len(original)*3/4)], 0xff, 0xd9)
		}
		for range random.IntN(4) {
			original[2+random.IntN(len(original)-2)] = byte(random.IntN(256))
		}
		want, wanted := resize.Make(t.Context(), r, original, s)
		got, err := early(t, r, original, 1+random.IntN(3000), true, s)
		if fmt.Sprint(err) != fmt.Sprint(wanted) {
			t.Fatalf("damage %d: error %v, want %v", i, err, wanted)
		}
		if wanted != nil {
			refused++
		} else if !bytes.Equal(got[0].Body, want[0].Body) {
			t.Errorf("damage %d: the image differs", i)
		}
	}
	if refused < tries/10 || refused > tries*9/10 {
		t.Errorf("%d of %d damaged files are refused: this shows little", refused, tries)
	}
}
