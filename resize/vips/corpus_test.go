package vips

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/novasocial/imagetier/resize"
)

// TestResizer_Resize_CorpusFiles resizes files on which make corpus has found faults.
func TestResizer_Resize_CorpusFiles(t *testing.T) {
	r := newResizer(t)
	for _, c := range []struct {
		file, spec    string
		width, height int
		err           error
	}{
		// An animation that libvips does not scale to the size of its canvas.
		{"small-first-frame.webp", "90x90.jpg", 35, 90, nil},
		// A TIFF with tiles of one plane that declares separate planes.
		{"grey-planes.tif", "20x.png", 20, 10, nil},
		{"separate-tiles.tif", "20x.png", 0, 0, resize.ErrUnsupported},
	} {
		t.Run(c.file, func(t *testing.T) {
			original, err := os.ReadFile(filepath.Join("testdata", c.file))
			if err != nil {
				t.Fatal(err)
			}
			images, err := resize.Make(t.Context(), r, original, spec(t, c.spec))
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil && (images[0].Width != c.width || images[0].Height != c.height) {
				t.Errorf("size %dx%d, want %dx%d", images[0].Width, images[0].Height, c.width, c.height)
			}
		})
	}
}
