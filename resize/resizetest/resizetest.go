// Package resizetest is the script that every resize.Resizer passes: shapes, orientation,
// colours and alpha against an oracle of its own in plain Go, what must not survive in a
// variant, and what must be refused.
//
// It is for tests. Pictures are compared by PSNR and never byte by byte, because encoders
// and resamplers differ; sizes are compared exactly.
package resizetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// Run runs the script. open returns a Resizer with the default Limits that is ready and
// ends with the test that it is handed; it is called once for each part of the script.
func Run(t *testing.T, open func(t *testing.T) resize.Resizer) {
	for _, part := range []struct {
		name string
		run  func(t *testing.T, r resize.Resizer)
	}{
		{"shapes are those of the oracle", shapes},
		{"gravity smart keeps what stands out", smart},
		{"formats are what was asked for", formats},
		{"a variant is as large as its format can hold", longest},
		{"a background lies under what is transparent", backgrounds},
		{"transparent pixels do not bleed", bleeding},
		{"orientation is applied and forgotten", orientations},
		{"turns come after orientation", turns},
		{"every kind of file is read", inputs},
		{"kinds of pixels all become sRGB", samples},
		{"profiles are converted and not stripped", profiles},
		{"photos keep their colours", photoColours},
		{"colours that are described by numbers are converted", describedColours},
		{"samples of a TIFF all become sRGB", tiffSamples},
		{"what an AVIF or HEIC promises is in the variant", promises},
		{"a narrow range is widened", ranges},
		{"trim loses nothing of the picture", trims},
		{"p3 is Display P3 with a small profile", wideGamut},
		{"facts are those of the original", facts},
		{"a mezzanine is upright, sRGB and nearly lossless", mezzanines},
		{"stills are made of animations", stills},
		{"animations stay animations", animations},
		{"nothing but the picture is in a variant", needles},
		{"credit keeps author and copyright and nothing else", credits},
		{"what is cut short is refused", truncated},
		{"what follows the picture does not matter", trailing},
		{"a missing end mark is no missing pixel", endMarks},
		{"a GIF is as large as its screen and its first frame", canvases},
		{"the same Spec gives the same bytes", again},
		{"what is made together is what is made alone", together},
		{"what cannot be made is refused by name", refusedSpecs},
		{"hostile input is refused and harms nothing", hostile},
		{"a cancelled call returns", cancelled},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

// Photo reads one of the sample photos, which lie beside the module and not in it, and
// skips the test where they are not.
func Photo(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test")
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "..", "shared", "photos", name))
	if err != nil {
		t.Skipf("the sample photos are not here: %v", err)
	}
	return b
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

// oneOf makes whatever s asks for, which must work.
func oneOf(t testing.TB, r resize.Resizer, original []byte, s resize.Spec) resize.Image {
	t.Helper()
	images, err := r.Resize(t.Context(), original, s)
	if err != nil {
		t.Fatalf("%s: %v", s.Name(), err)
	}
	if len(images) != 1 {
		t.Fatalf("%s: %d images", s.Name(), len(images))
	}
	return images[0]
}
