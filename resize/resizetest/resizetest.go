// Package resizetest is the conformance suite of resize.Resizer: shapes, orientation, colours and
// alpha are compared with an oracle in plain Go, and it tests which metadata must be removed and
// which originals must be refused.
//
// Pictures are compared by PSNR, not byte by byte, because encoders and resamplers differ; sizes
// are compared exactly.
package resizetest

import (
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// Run runs the suite. open returns a ready Resizer with the default Limits that ends with the given
// test; it is called once for each part of the suite. With -short only the fast parts run.
func Run(t *testing.T, open func(t *testing.T) resize.Resizer) {
	const fast, slow = false, true
	for _, part := range []struct {
		name string
		run  func(t *testing.T, r resize.Resizer)
		slow bool
	}{
		{"shapes", shapes, slow},
		{"smart gravity", smart, fast},
		{"formats", formats, slow},
		{"largest size of a format", longest, slow},
		{"background", backgrounds, fast},
		{"transparent pixels", bleeding, fast},
		{"orientation", orientations, fast},
		{"turns", turns, slow},
		{"kinds of files", inputs, slow},
		{"pixel formats", samples, fast},
		{"ICC profiles", profiles, fast},
		{"colours of photos", photoColours, slow},
		{"CICP and gamma", describedColours, slow},
		{"CICP of AVIF and HEIC", codedColours, fast},
		{"tiles of an AVIF", tiledImages, fast},
		{"alpha of a WebP", unflagged, fast},
		{"TIFF samples", tiffSamples, fast},
		{"TIFF of Lab", tiffLab, fast},
		{"TIFF with extra samples", tiffExtraSamples, fast},
		{"photometric interpretations of TIFF", tiffPhotometric, fast},
		{"AVIF and HEIC properties", promises, slow},
		{"limited range", ranges, fast},
		{"trim", trims, fast},
		{"Display P3", wideGamut, slow},
		{"info", facts, slow},
		{"mezzanine", mezzanines, slow},
		{"stills", stills, fast},
		{"animations", animations, slow},
		{"metadata removed", needles, slow},
		{"credit", credits, slow},
		{"truncated originals", truncated, slow},
		{"trailing bytes", trailing, slow},
		{"missing end marks", endMarks, slow},
		{"GIF screens", canvases, slow},
		{"cleared GIF frames", clears, fast},
		{"same bytes again", again, slow},
		{"together and alone", together, slow},
		{"delivery", delivery, slow},
		{"refused Specs", refusedSpecs, fast},
		{"hostile originals", hostile, slow},
		{"cancellation", cancelled, fast},
	} {
		t.Run(part.name, func(t *testing.T) {
			if part.slow && testing.Short() {
				t.Skip("skipped with -short")
			}
			part.run(t, open(t))
		})
	}
}

// spec reads the short form of a Spec: "640x.webp".
func spec(t testing.TB, name string) resize.Spec {
	t.Helper()
	s, err := resize.ParseSpecName(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// one makes one variant, which must work.
func one(t testing.TB, r resize.Resizer, original []byte, name string) resize.Image {
	t.Helper()
	return oneOf(t, r, original, spec(t, name))
}

// oneOf makes s, which must work.
func oneOf(t testing.TB, r resize.Resizer, original []byte, s resize.Spec) resize.Image {
	t.Helper()
	images, err := resize.Make(t.Context(), r, original, s)
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	if len(images) != 1 {
		t.Fatalf("%s: %d images", s.Name(), len(images))
	}
	return images[0]
}
