package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/resize"
)

const (
	// maxSource is the size of the largest file that is damaged, in bytes: most damage to a large
	// file would only hit its pixels.
	maxSource = 100_000
	// sourcesOfKind is how many generated files of a kind are damaged.
	sourcesOfKind = 40
	// mutantPixels is the largest size that a damaged header may promise, in pixels; a larger file is
	// cut in half, so that it is refused before it takes seconds.
	mutantPixels = 1 << 22
)

// mutationSpecs are made from damaged files in turn: all steps that a resize can have.
var mutationSpecs = [][]resize.Spec{
	{{Width: 60, Format: resize.PNG}, {Shape: resize.ShapeInfo, Format: resize.JSON}},
	{{Width: 50, Height: 40, Fit: resize.FitCover, Gravity: resize.GravitySmart, Format: resize.JPEG}},
	{{Width: 40, Format: resize.WebP, P3: true, Credit: true}},
	{{Width: 300, Trim: true, Sharp: true, Format: resize.JPEG}, {Width: 30, Format: resize.GIF}},
	{{Width: 64, Height: 64, Fit: resize.FitPad, Rotate: 90, Blur: 2, Format: resize.PNG}},
}

// samples sends the files of cfg.Samples through the resize program, as they are, and returns those
// that are small enough to be damaged, with small pictures of the others in every format.
func (r *runner) samples() (sources [][]byte, err error) {
	var files int
	for _, dir := range r.cfg.Samples {
		names, err := filepath.Glob(filepath.Join(dir, "*.*"))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			body, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			if resize.KindOf(body) == resize.NoKind {
				continue
			}
			files++
			small := len(body) <= maxSource
			for i, specs := range mutationSpecs {
				if !small && i > 1 {
					break // trimming a photo of 12 megapixels takes a minute with sanitizers
				}
				if _, err := resize.Make(r.ctx, r.pool, body, specs...); ours(err) {
					fmt.Fprintf(r.cfg.Out, "WRONG: %s: %v\n", name, err)
				}
			}
			if small {
				sources = append(sources, body)
				continue
			}
			sources = append(sources, r.small(body)...)
		}
	}
	if len(r.cfg.Samples) > 0 {
		fmt.Fprintf(r.cfg.Out, "\n%d files of %s\n", files, strings.Join(r.cfg.Samples, ", "))
	}
	return sources, nil
}

// small returns small pictures of an original in every format, and as TIFF.
func (r *runner) small(body []byte) (made [][]byte) {
	for _, f := range []resize.Format{
		resize.JPEG, resize.PNG, resize.WebP, resize.GIF, resize.AVIF, resize.HEIC, resize.JXL,
	} {
		images, err := resize.Make(r.ctx, r.pool, body, resize.Spec{Width: 120, Height: 120, Format: f})
		if err != nil {
			continue // samples has already reported errors of the program
		}
		made = append(made, images[0].Body)
		if f == resize.PNG {
			if tiff, err := run(images[0].Body, magick, "png:-", "-compress", "LZW", "tiff:-"); err == nil {
				made = append(made, tiff)
			}
		}
	}
	return made
}

// ours reports whether an error is a fault of the program for any file.
func ours(err error) bool {
	return errors.Is(err, resize.ErrFailed) || errors.Is(err, resize.ErrTimeout) ||
		err != nil && strings.Contains(err.Error(), "crashed")
}

// keepSource keeps a generated file for mutate.
func (r *runner) keepSource(body []byte) {
	if r.cfg.Mutations == 0 || len(body) > maxSource {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = append(r.kept, body)
}

// mutate sends damaged files through the resize program: a picture and a refusal are right, a crash
// and a report of a sanitizer are wrong.
func (r *runner) mutate(sources [][]byte) error {
	slices.SortFunc(r.kept, bytes.Compare) // so that a seed makes the same mutations each time
	sources = append(sources, r.kept...)
	if len(sources) == 0 {
		return errors.New("mutations: there is no file to damage")
	}
	start := time.Now()
	var next, made, refused, wrong atomic.Int64
	var wait sync.WaitGroup
	for range runtime.NumCPU() {
		wait.Go(func() {
			for n := next.Add(1); n <= int64(r.cfg.Mutations) && r.ctx.Err() == nil; n = next.Add(1) {
				body := r.mutant(n, sources)
				_, err := resize.Make(r.ctx, r.pool, body, mutationSpecs[int(n)%len(mutationSpecs)]...)
				switch {
				case ours(err):
					wrong.Add(1)
					fmt.Fprintf(r.cfg.Out, "WRONG: mutation %d: %v\n", n, err)
					if r.cfg.Keep != "" {
						_ = os.WriteFile(filepath.Join(r.cfg.Keep, fmt.Sprintf("mutation-%d", n)), body, 0o600)
					}
				case err != nil:
					refused.Add(1)
				default:
					made.Add(1)
				}
			}
		})
	}
	wait.Wait()
	fmt.Fprintf(r.cfg.Out, "%d mutations of %d files: %d made, %d refused, %d wrong, in %.0f s\n",
		r.cfg.Mutations, len(sources), made.Load(), refused.Load(), wrong.Load(), time.Since(start).Seconds())
	if n := wrong.Load(); n > 0 {
		return fmt.Errorf("%d answers to damaged files are wrong", n)
	}
	return nil
}

// mutant returns damaged file n.
func (r *runner) mutant(n int64, sources [][]byte) []byte {
	random := rand.New(rand.NewPCG(r.cfg.Seed, 1<<40+uint64(n)))
	body := mutated(random, sources[int(n)%len(sources)])
	if h, err := resize.ReadHeader(body); err == nil && h.LargestWidth*h.LargestHeight > mutantPixels {
		body = body[:(len(body)+1)/2]
	}
	return body
}

// mutated returns a copy of b with one to six damages.
func mutated(random *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	at := func() int {
		if random.IntN(2) == 0 { // headers are at the beginning
			return random.IntN(min(len(b), 400))
		}
		return random.IntN(len(b))
	}
	for range 1 + random.IntN(6) {
		i := at()
		switch random.IntN(7) {
		case 0:
			b[i] ^= 1 << random.IntN(8)
		case 1:
			b[i] = byte(random.IntN(256))
		case 2:
			b[i] = oneByte[random.IntN(len(oneByte))]
		case 3:
			copy(b[i:], fourBytes[random.IntN(len(fourBytes))])
		case 4: // cut a twentieth off the end, or less
			b = b[:max(1, len(b)-random.IntN(1+len(b)/20))]
		case 5: // copy a part over another
			copy(b[at():], b[i:min(len(b), i+random.IntN(64))])
		case 6: // leave out a part
			b = append(b[:i], b[min(len(b), i+1+random.IntN(16)):]...)
			if len(b) == 0 {
				return []byte{0}
			}
		}
	}
	return b
}

// Values that are limits of sizes and offsets.
var (
	oneByte   = []byte{0, 1, 0x7f, 0x80, 0xff}
	fourBytes = []string{"\xff\xff\xff\xff", "\x00\x00\x00\x00", "\x7f\xff\xff\xff", "\x00\x01\x00\x00"}
)
