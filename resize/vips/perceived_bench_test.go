package vips

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/h2non/bimg"

	"github.com/novasocial/imagetier/resize"
)

// perceivedJobs are those whose quality is judged by models of vision.
var perceivedJobs = []string{"640x640.jpg", "640x640.webp"}

// A verdict is the difference between a picture and the reference by two models of vision; less is
// better.
type perceived struct {
	butteraugli float64 // 3-norm
	ssimulacra  float64
}

// mixed returns the verdict on a picture between p and other.
func (p perceived) mixed(other perceived, share float64) perceived {
	return perceived{
		p.butteraugli + (other.butteraugli-p.butteraugli)*share, p.ssimulacra + (other.ssimulacra-p.ssimulacra)*share,
	}
}

// measurePerceived compares the images of this package with images of the same number of bytes by libvips. The
// reference is a decode of all pixels that is scaled with Lanczos 3.
func measurePerceived(b *testing.B, r *Resizer, photos []benchPhoto) string {
	for _, tool := range []string{"butteraugli_main", "ssimulacra_main"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skip(tool + " is not installed: apt-get install libjxl-devtools")
		}
	}
	var t strings.Builder
	t.WriteString("butteraugli 3-norm / SSIMULACRA | bytes | imagetier | lean libvips | imgproxy's settings\n" +
		"---|---|---|---|---\n")
	for _, name := range perceivedJobs {
		s := spec(b, name)
		var mean [3]perceived
		bytes := 0
		for _, p := range photos {
			w := &judge{b: b, r: r, dir: b.TempDir(), reference: referencePNG(b, r, p.original, s)}
			direct, err := resize.Make(b.Context(), r, p.original, s)
			check(b, err)
			size := len(direct[0].Body)
			bytes += size
			pixels := leanPixels(b, r, p.original, s)
			lean := w.at(size, func(quality int) []byte { return save(b, pixels, s.Format, quality, true) })
			baseline := lean // the WebP settings are the same
			if s.Format == resize.JPEG {
				baseline = w.at(size, func(quality int) []byte { return save(b, pixels, s.Format, quality, false) })
			}
			for i, v := range []perceived{w.of(direct[0].Body), lean, baseline} {
				mean[i].butteraugli += v.butteraugli / float64(len(photos))
				mean[i].ssimulacra += v.ssimulacra / float64(len(photos))
			}
		}
		fmt.Fprintf(&t, "%s | %d", name, bytes/len(photos))
		for _, m := range mean {
			fmt.Fprintf(&t, " | %.3f / %.5f", m.butteraugli, m.ssimulacra)
		}
		t.WriteString("\n")
	}
	return t.String()
}

// measureQuick compares WebP with and without resize.Job.Quick.
func measureQuick(b *testing.B, r *Resizer, photos []benchPhoto) string {
	var t strings.Builder
	t.WriteString("butteraugli 3-norm / SSIMULACRA / PSNR dB / bytes / CPU ms | usual | quick\n---|---|---\n")
	for _, name := range []string{"880x.webp", "1320x.webp"} {
		s := spec(b, name)
		fmt.Fprint(&t, name)
		for _, quick := range []bool{false, true} {
			var sum perceived
			var decibel float64
			var bytes int
			var spent time.Duration
			for _, p := range photos {
				w := &judge{b: b, r: r, dir: b.TempDir(), reference: referencePNG(b, r, p.original, s)}
				var made resize.Image
				before := cpu(b)
				check(b, r.Resize(b.Context(), resize.Job{
					Original: p.original, Specs: []resize.Spec{s}, Quick: quick,
					Made: func(_ int, img resize.Image) { made = img },
				}))
				spent += cpu(b) - before
				v := w.of(made.Body)
				sum.butteraugli += v.butteraugli
				sum.ssimulacra += v.ssimulacra
				_, rgb := fieldsOf(pixels(b, made))
				_, want := fieldsOf(decodedPNG(b, w.reference))
				decibel += psnr(rgb, want)
				bytes += len(made.Body)
			}
			n := float64(len(photos))
			fmt.Fprintf(&t, " | %.3f / %.5f / %.2f / %d / %.0f", sum.butteraugli/n, sum.ssimulacra/n, decibel/n,
				bytes/len(photos), spent.Seconds()*1000/n)
		}
		t.WriteString("\n")
	}
	return t.String()
}

// leanPixels returns the pixels of s as a PNG, as libvips makes them: scaled down by the decoder, then with
// Lanczos 3.
func leanPixels(b *testing.B, r *Resizer, original []byte, s resize.Spec) []byte {
	s.Format, s.Quality = resize.PNG, 0
	images, _, err := way(throughLibvips).make(r, original, s)
	check(b, err)
	return images[0].Body
}

// save encodes a PNG through libvips as this package does, with a progressive JPEG, or as imgproxy does by
// default, with a baseline one. Both optimize the codes.
func save(b *testing.B, pixels []byte, format resize.Format, quality int, progressive bool) []byte {
	kind := map[resize.Format]bimg.ImageType{resize.JPEG: bimg.JPEG, resize.WebP: bimg.WEBP}[format]
	body, err := bimg.Resize(pixels, bimg.Options{
		Type: kind, Quality: quality, Interlace: progressive, StripMetadata: true, NoAutoRotate: true,
	})
	check(b, err)
	return body
}

// A judge compares pictures with a reference.
type judge struct {
	b         *testing.B
	r         *Resizer
	dir       string
	reference []byte // PNG
}

// at returns the verdict on a picture of that many bytes, interpolated between the two nearest
// qualities.
func (w *judge) at(size int, encode func(quality int) []byte) perceived {
	least, most := 1, 100
	below, above := encode(least), encode(most)
	for most-least > 1 {
		quality := (least + most) / 2
		if body := encode(quality); len(body) <= size {
			least, below = quality, body
		} else {
			most, above = quality, body
		}
	}
	share := min(max(float64(size-len(below))/float64(max(len(above)-len(below), 1)), 0), 1)
	return w.of(below).mixed(w.of(above), share)
}

// of returns the verdict on a JPEG or WebP, which libvips decodes.
func (w *judge) of(body []byte) perceived {
	w.b.Helper()
	return w.verdict(referencePNG(w.b, w.r, body, spec(w.b, "8192x8192.png")))
}

func (w *judge) verdict(picture []byte) perceived {
	w.b.Helper()
	return perceived{w.butteraugli(picture), w.number(w.run("ssimulacra_main", picture))}
}

// butteraugli returns the 3-norm of a PNG.
func (w *judge) butteraugli(picture []byte) float64 {
	w.b.Helper()
	_, norm, ok := strings.Cut(w.run("butteraugli_main", picture), "3-norm:")
	if !ok {
		w.b.Fatal("butteraugli_main prints no 3-norm")
	}
	return w.number(norm)
}

// run runs a tool on the reference and a PNG.
func (w *judge) run(tool string, picture []byte) string {
	w.b.Helper()
	reference, file := filepath.Join(w.dir, "reference.png"), filepath.Join(w.dir, "picture.png")
	check(w.b, os.WriteFile(reference, w.reference, 0o600))
	check(w.b, os.WriteFile(file, picture, 0o600))
	out, err := exec.Command(tool, reference, file).Output() // notes go to standard error
	if err != nil {
		w.b.Fatalf("%s: %v", tool, err)
	}
	return string(out)
}

// number reads the first number of a text.
func (w *judge) number(text string) float64 {
	w.b.Helper()
	fields := strings.Fields(text)
	if len(fields) == 0 {
		w.b.Fatal("the tool prints no number")
	}
	v, err := strconv.ParseFloat(fields[0], 64)
	check(w.b, err)
	return v
}
