package e2e

import (
	"bytes"
	"fmt"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/image/webp"

	"github.com/novasocial/imagetier/resize/resizetest"
)

// mutations is the number of damaged originals: some hundred, or TEST_MUTATIONS.
func mutations(t testing.TB) int {
	if s := os.Getenv("TEST_MUTATIONS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 400
}

// mutated returns original with damage that depends on the seed: flipped bits; parts that are
// moved, duplicated, removed or overwritten; or large numbers in headers.
func mutated(original []byte, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 3))
	b := bytes.Clone(original)
	head := min(len(b), 600)
	for range 1 + random.IntN(4) {
		at, n := random.IntN(len(b)), 1+random.IntN(64)
		if random.IntN(2) == 0 { // in the headers
			at = random.IntN(head)
		}
		end := min(at+n, len(b))
		switch random.IntN(6) {
		case 0:
			b[at] ^= 1 << random.IntN(8)
		case 1:
			for i := at; i < end; i++ {
				b[i] = byte(random.Uint32())
			}
		case 2:
			b = append(b[:at:at], b[end:]...)
		case 3:
			b = append(b[:end:end], b[at:]...)
		case 4:
			copy(b[at:end], bytes.Repeat([]byte{0xff}, n))
		case 5:
			b = b[:max(at, 1)]
		}
		head = min(len(b), 600)
	}
	return b
}

// hostileOrigin serves hostile files, and damaged originals by number; one in ten is a real photo,
// if available.
func hostileOrigin(t *testing.T, ready map[string][]byte, whole []specimen) (url string) {
	t.Helper()
	var real [][]byte
	if dir, err := filepath.Abs("../../../../shared/photos"); err == nil {
		for _, name := range []string{
			"phone-srgb.jpg", "progressive-p3.jpg", "photo.avif", "photo.heic", "vertical.webp",
			"paper-alpha.png", "animation-small.gif", "phone-orient6-p3.jpg",
		} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
				real = append(real, b)
			}
		}
	}
	return listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		body, ok := ready[name]
		if n, err := strconv.Atoi(strings.TrimPrefix(name, "mutated-")); err == nil {
			from := whole[n%len(whole)].body
			if n%10 == 9 && len(real) > 0 {
				from = real[n/10%len(real)]
			}
			body, ok = mutated(from, uint64(n)), true
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body)
	}))
}

// For any input: the tier survives, each request is answered in time with an image or a client
// error, valid images are made meanwhile, no temporary file is left, and no answer contains
// metadata of the input or texts of libvips.
func TestTier_HostileOriginals_DoNoHarm(t *testing.T) {
	whole := pictures(t)
	ready := map[string][]byte{}
	for _, s := range append(whole, broken(whole)...) {
		ready[s.name] = s.body
	}
	var names []string
	for name := range ready {
		names = append(names, name)
	}
	for i, h := range resizetest.Bombs(t) {
		name := fmt.Sprintf("bomb-%d", i)
		ready[name] = h.Original
		names = append(names, name)
	}
	for i := range mutations(t) {
		names = append(names, fmt.Sprintf("mutated-%d", i))
	}
	tmp := t.TempDir()
	// The time limit allows for a busy machine.
	x := startWith(
		t,
		[]string{"TMPDIR=" + tmp, "HOME=" + tmp},
		"--listen", freePort(t), "--private-listen", freePort(t), "--log-level", "error", "--keys", key,
		"--source", "posts="+hostileOrigin(t, ready, whole)+"/", "--allow-private-origins",
		"--cache-dir", t.TempDir(), "--resize-timeout", "60s", "--origin-timeout", "30s",
	)
	a := newAsker(x)

	var good int
	done := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			s := whole[good%len(whole)]
			if got := a.ask(t.Context(), a.fill(t, "80x60-cover", s.name+".jpg")); got.status != http.StatusOK {
				t.Errorf("a good %s is answered with %d meanwhile", s.name, got.status)
			}
			good++
		}
	})

	answers := map[int]int{}
	var slowest time.Duration
	var slow string
	formats := []string{"jpg", "webp", "png", "gif"}
	for i, name := range names {
		format := formats[i%len(formats)]
		shape := map[string]string{"webp": "90x70-still", "gif": "90x70-still"}[format]
		if shape == "" {
			shape = "90x70-cover"
		}
		began := time.Now()
		got := x.get(signedPath(t, "/"+shape+"/v.1/posts/"+name+"."+format))
		if took := time.Since(began); took > slowest {
			slowest, slow = took, name
		}
		answers[got.StatusCode]++
		harmless(t, name, format, got)
	}
	close(done)
	beside.Wait()
	t.Logf("%d originals were answered with %v, the slowest, %s, after %v; %d good images meanwhile; restarts: %s",
		len(names), answers, slow, slowest, good, restarts(t, x))
	if good < 10 {
		t.Errorf("only %d good images were made meanwhile", good)
	}
	select {
	case <-x.ended:
		t.Errorf("the tier ended: %v", x.err)
	default:
	}
	err := filepath.WalkDir(tmp, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("a file is left: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// harmless fails the test unless an answer is a complete image or an error, without planted text or
// texts of libraries.
func harmless(t *testing.T, name, format string, got answer) {
	t.Helper()
	if bytes.Contains(got.body, []byte(resizetest.Needle)) {
		t.Errorf("%s: the answer contains the planted metadata", name)
	}
	if got.StatusCode == http.StatusOK {
		if err := decodes(format, got.body); err != nil {
			t.Errorf("%s: a 200 that does not decode: %v", name, err)
		}
		return
	}
	switch got.StatusCode {
	case http.StatusUnprocessableEntity, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
	default:
		t.Errorf("%s: %s %s, want it to be the image's fault", name, got.Status, firstBytes(got.body))
	}
	for _, word := range []string{"vips", "libjpeg", "libpng", "spng", "heif", "Huffman", "premature"} {
		if bytes.Contains(bytes.ToLower(got.body), []byte(strings.ToLower(word))) {
			t.Errorf("%s: the answer speaks of %s: %s", name, word, got.body)
		}
	}
}

// decodes decodes an image completely with independent decoders: those of Go, and libavif for AVIF.
func decodes(format string, body []byte) (err error) {
	switch format {
	case "jpg":
		_, err = jpeg.Decode(bytes.NewReader(body))
	case "png":
		_, err = png.Decode(bytes.NewReader(body))
	case "gif":
		_, err = gif.DecodeAll(bytes.NewReader(body))
	case "webp":
		_, err = webp.Decode(bytes.NewReader(body))
	default:
		return decodesElsewhere(format, body)
	}
	return err
}

// programs are decoders outside of Go, by format; the last two arguments are the file and
// the PNG that is made of it.
var programs = map[string][]string{"avif": {"avifdec"}, "heic": {"heif-convert"}, "jxl": {"djxl"}}

func decodesElsewhere(format string, body []byte) error {
	dir, err := os.MkdirTemp("", "imagetier-decode-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "image."+format), filepath.Join(dir, "image.png")
	if err := os.WriteFile(in, body, 0o600); err != nil {
		return err
	}
	command := programs[format]
	if output, err := exec.Command(command[0], append(command[1:], in, out)...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, output)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		return err
	}
	return decodes("png", b)
}

// Every served format decodes completely in an independent decoder.
func TestTier_Formats_DecodeElsewhere(t *testing.T) {
	whole := pictures(t)
	x := start(t, "--keys", key, "--source", "posts=dir://"+lay(t, whole), "--cache-dir", t.TempDir())
	for _, format := range []string{"jpg", "png", "webp", "gif", "avif", "heic", "jxl"} {
		if command := programs[format]; command != nil {
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Logf("%s is not tried: %v (deploy/install-deps test)", format, err)
				continue
			}
		}
		for _, s := range whole {
			shape := "90x70"
			if format == "webp" { // Go's decoder does not support animations
				shape = "90x70-still"
			}
			got := x.get(signedPath(t, "/"+shape+"/v.1/posts/"+s.name+"."+format))
			if got.StatusCode == http.StatusBadRequest && format != "jpg" {
				t.Logf("libvips here saves no %s", format)
				break
			}
			if got.StatusCode != http.StatusOK {
				t.Errorf("%s to %s: %s", s.name, format, got.Status)
				continue
			}
			if err := decodes(format, got.body); err != nil {
				t.Errorf("%s to %s: %v", s.name, format, err)
			}
			if err := decodes(format, got.body[:len(got.body)/2]); err == nil && s.name == "still.jpg" {
				t.Errorf("half of a %s decodes: the decoder could not tell", format)
			}
		}
	}
}
