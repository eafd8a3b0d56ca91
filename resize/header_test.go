package resize

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/internal/testutil"
)

// photos returns the directory of real photographs beside the module.
func photos(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the photos")
	}
	return testutil.Photos(t)
}

// readPhoto returns the bytes of one of the photographs.
func readPhoto(t testing.TB, name string) []byte {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the photos")
	}
	return testutil.Photo(t, name)
}

// manifest returns the size of each photograph as a viewer shows it.
func manifest(t testing.TB) map[string]string {
	t.Helper()
	f, err := os.Open(filepath.Join(photos(t), "MANIFEST.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sizes := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Split(lines.Text(), "\t"); len(fields) > 2 && fields[0] != "file" {
			sizes[fields[0]] = fields[1]
		}
	}
	if len(sizes) < 10 {
		t.Fatalf("the manifest has %d files", len(sizes))
	}
	return sizes
}

func TestReadHeader_Photos(t *testing.T) {
	kinds := map[string]Kind{
		".jpg":  KindJPEG,
		".png":  KindPNG,
		".webp": KindWebP,
		".gif":  KindGIF,
		".avif": KindAVIF,
		".heic": KindHEIC,
	}
	orientations := map[string]int{"phone-orient6-p3.jpg": 6, "photo.heic": 6}
	frames := map[string]int{"animation.gif": 24, "animation-small.gif": 12}
	for name, size := range manifest(t) {
		t.Run(name, func(t *testing.T) {
			b := readPhoto(t, name)
			h, err := ReadHeader(b)
			if err != nil {
				t.Error(err)
				return
			}
			width, height := h.Width, h.Height
			if h.Kind == KindHEIC { // the manifest has the size of JPEGs as stored
				width, height = h.Upright()
			}
			if got := fmt.Sprintf("%dx%d", width, height); got != size {
				t.Errorf("%s, want %s", got, size)
			}
			if h.Kind != kinds[filepath.Ext(name)] {
				t.Errorf("kind %v", h.Kind)
			}
			if want := max(orientations[name], 1); h.Orientation != want {
				t.Errorf("orientation %d, want %d", h.Orientation, want)
			}
			if want := max(frames[name], 1); h.Frames != want || h.Animated != (want > 1) {
				t.Errorf("%d frames, animated %v, want %d", h.Frames, h.Animated, want)
			}
			progressive := []string{"progressive-p3.jpg", "portrait-book.jpg", "animation.gif"}
			if h.Progressive != slices.Contains(progressive, name) {
				t.Errorf("progressive %v", h.Progressive)
			}
			if alpha := strings.HasSuffix(name, ".gif") || strings.HasSuffix(name, ".png"); h.Alpha != alpha {
				t.Errorf("alpha %v", h.Alpha)
			}
			if jpeg := h.Kind == KindJPEG; (jpeg || h.Kind == KindHEIC) != h.Profile {
				t.Errorf("profile %v", h.Profile)
			}
			if err := CheckComplete(b, h); err != nil {
				t.Error(err)
			}
			if err := (Limits{}).Check(h, len(b)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Only a decoder can detect that pixels are missing in a JPEG's last scan: resizetest truncates
// those.
func TestCheckComplete_TruncatedPhotos(t *testing.T) {
	for name := range manifest(t) {
		b := readPhoto(t, name)
		if KindOf(b) == KindJPEG {
			continue
		}
		const endMarks = 30 // IEND and a checksum are the longest
		for _, keep := range []int{len(b) - endMarks, len(b) * 9 / 10, len(b) / 2, len(b) / 10} {
			cut := b[:keep]
			h, err := ReadHeader(cut)
			if err == nil {
				err = CheckComplete(cut, h)
			}
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s with %d of %d bytes: %v", name, keep, len(b), err)
			}
		}
	}
}

func TestCheckComplete_IgnoresAppendedData(t *testing.T) {
	video := "\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + strings.Repeat("\xff\xd8\x00film", 50)
	for name := range manifest(t) {
		b := readPhoto(t, name)
		for _, tail := range []string{video, "\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "SEFT", "\xff"} {
			long := append(b[:len(b):len(b)], tail...)
			h, err := ReadHeader(long)
			if err == nil {
				err = CheckComplete(long, h)
			}
			if short, _ := ReadHeader(b); err != nil || h != short {
				t.Errorf("%s and %.10q: %+v, %v", name, tail, h, err)
			}
		}
	}
}

// Decoders ignore these, and would make the picture opaque.
func TestCheckComplete_RefusesDamagedAlpha(t *testing.T) {
	files := smallFiles(t)
	png := bytes.Replace(
		pngOfPalette(), pngChunkOf("tRNS", []byte{0, 255}), []byte("\x00\x00\x00\x02tRNS\x00\xffabcd"), 1,
	)
	avif := files["rgba-7x5.avif"]
	infe := bytes.LastIndex(avif, []byte("infe"))
	avif = append(append(bytes.Clone(avif[:infe]), "free"...), avif[infe+4:]...)
	for name, b := range map[string][]byte{"a wrong checksum": png, "an item that is not listed": avif} {
		h, err := ReadHeader(b)
		if err != nil || !h.Alpha {
			t.Fatalf("%s: %+v, %v", name, h, err)
		}
		if err := CheckComplete(b, h); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pngOfPalette returns a PNG of one pixel, of two colours of which the first is transparent.
func pngOfPalette() []byte {
	return slices.Concat(
		[]byte(pngMagic), pngChunkOf("IHDR", []byte{0, 0, 0, 1, 0, 0, 0, 1, 8, 3, 0, 0, 0}),
		pngChunkOf("PLTE", []byte("abcdef")), pngChunkOf("tRNS", []byte{0, 255}),
		pngChunkOf("IDAT", []byte("\x78\x9c\x63\x60\x00\x00\x00\x02\x00\x01")), pngChunkOf("IEND", nil),
	)
}

func TestHeader_Upright(t *testing.T) {
	for orientation := 1; orientation <= 8; orientation++ {
		width, height := Header{Width: 3, Height: 2, Orientation: orientation}.Upright()
		if lying := orientation >= 5; lying != (width == 2 && height == 3) || lying == (width == 3 && height == 2) {
			t.Errorf("orientation %d: %dx%d", orientation, width, height)
		}
	}
}
