// Package corpus generates image files of every kind that the tier reads, sends them through the
// resize program and compares what it makes with what an independent decoder reads.
//
// Start with Run, then one of the generators (png.go is written without other programs).
package corpus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

// Config says what to generate and what to send it through.
type Config struct {
	Program string   // path of imagetier-resize
	Files   int      // number of files over all kinds
	Only    []string // kinds; empty is all
	Seed    uint64
	Keep    string    // directory for files with a wrong answer, or ""
	Out     io.Writer // receives the tables

	Sanitized bool     // Program was built with sanitizers
	Samples   []string // directories of further files; only crashes and errors of the program are wrong
	Mutations int      // number of damaged files, of Samples and of the generated ones
}

// An original is a generated file and what an independent decoder reads from it.
type original struct {
	kind string
	name string // its properties
	body []byte
	want animation
	// tolerance is the largest difference of a mean colour, of 255. 0 is the default. A file whose
	// colours have no single right conversion (CMYK without a profile, HDR) allows more.
	tolerance int
}

// A generator makes one file with random properties. It returns errSkip for properties that the
// encoder does not support.
type generator func(d *bench) (original, error)

var errSkip = errors.New("the encoder does not support this")

// kinds are the generators by kind. weight is the share of the files.
var kinds = []struct {
	name     string
	weight   int
	generate generator
}{
	{"jpeg", 20, makeJPEG},
	{"png", 22, makePNG},
	{"webp", 13, makeWebP},
	{"gif", 14, makeGIF},
	{"tiff", 14, makeTIFF},
	{"avif", 7, makeAVIF},
	{"heic", 5, makeHEIC},
	{"jxl", 5, makeJXL},
}

// A bench is what a generator works with.
type bench struct {
	*rand.Rand
	dir string // temporary, empty, of this file alone
}

// file returns the path of a temporary file.
func (d *bench) file(name string) string { return filepath.Join(d.dir, name) }

// oneOf returns one of the values.
func oneOf[T any](d *bench, values ...T) T { return values[d.IntN(len(values))] }

// outcome is the result for one file.
type outcome struct {
	kind, name string
	refused    string
	wrong      string
}

// Run generates, compares and prints. It returns an error if an answer is wrong, or if the resize
// program crashed.
func Run(ctx context.Context, cfg Config) error {
	dir, err := os.MkdirTemp("", "corpus-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r, err := startRunner(ctx, cfg, dir)
	if err != nil {
		return err
	}
	defer r.stop()
	start := time.Now()
	outcomes := r.all()
	wrong := table(cfg.Out, outcomes)
	fmt.Fprintf(cfg.Out, "\n%d distinct files, %d wrong, in %.0f s\n",
		len(outcomes), wrong, time.Since(start).Seconds())
	var failures []error
	if wrong > 0 {
		failures = append(failures, fmt.Errorf("%d of %d answers are wrong", wrong, len(outcomes)))
	}
	if want := r.want(); len(outcomes) < want {
		failures = append(failures, fmt.Errorf("%d files were generated, want %d", len(outcomes), want))
	}
	sources, err := r.samples()
	failures = append(failures, err)
	if cfg.Mutations > 0 {
		failures = append(failures, r.mutate(sources))
	}
	failures = append(failures, r.deaths())
	return errors.Join(failures...)
}

// A runner owns the pool and what has been generated so far.
type runner struct {
	cfg  Config
	ctx  context.Context
	dir  string
	pool *workers.Pool
	stop func()

	stderr *stderrLog

	mu    sync.Mutex
	known map[[32]byte]bool // digests of files; guarded by mu
	kept  [][]byte          // some files, for mutate; guarded by mu
}

func startRunner(ctx context.Context, cfg Config, dir string) (*runner, error) {
	r := &runner{cfg: cfg, dir: dir, known: map[[32]byte]bool{}, stderr: newStderrLog()}
	config := workers.Config{
		Command: []string{cfg.Program}, MaxWait: time.Hour, MaxWaitExpensive: time.Hour, Timeout: time.Minute,
		MaxRareJobs: 500, Log: r.stderr.logger(),
	}
	if cfg.Sanitized {
		sanitized(&config)
	}
	var err error
	if r.pool, err = workers.New(config); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r.ctx = ctx
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.pool.Run(ctx)
	}()
	r.stop = func() { cancel(); <-done }
	return r, nil
}

// want returns the number of files to make.
func (r *runner) want() (n int) {
	for _, k := range kinds {
		n += r.share(k.name, k.weight)
	}
	return n
}

func (r *runner) share(kind string, weight int) int {
	if len(r.cfg.Only) > 0 && !slices.Contains(r.cfg.Only, kind) {
		return 0
	}
	return (r.cfg.Files*weight + 99) / 100
}

// all makes all files and sends them through the pool.
func (r *runner) all() []outcome {
	type task struct {
		generate generator
		kind     string
		n        int
	}
	tasks := make(chan task)
	var outcomes []outcome
	var wait sync.WaitGroup
	for range runtime.NumCPU() {
		wait.Go(func() {
			for t := range tasks {
				o, ok := r.one(t.kind, t.n, t.generate)
				r.mu.Lock()
				if ok && o.wrong != "" {
					fmt.Fprintf(r.cfg.Out, "WRONG: %s, %s: %s\n", o.kind, o.name, o.wrong)
				}
				if ok {
					outcomes = append(outcomes, o)
				}
				r.mu.Unlock()
			}
		})
	}
	for _, k := range kinds {
		for n := range r.share(k.name, k.weight) {
			tasks <- task{k.generate, k.name, n}
		}
	}
	close(tasks)
	wait.Wait()
	return outcomes
}

// one makes file n of a kind, with other properties if the encoder refuses them or the file is not
// new, and compares it. It returns false if no file could be made.
func (r *runner) one(kind string, n int, generate generator) (outcome, bool) {
	for try := range 20 {
		dir, err := os.MkdirTemp(r.dir, kind)
		if err != nil {
			return outcome{}, false
		}
		random := rand.New(rand.NewPCG(r.cfg.Seed, uint64(n)<<16+uint64(try)<<8+uint64(kind[0])+uint64(kind[1])))
		o, err := generate(&bench{random, dir})
		_ = os.RemoveAll(dir)
		if err != nil {
			if !errors.Is(err, errSkip) && r.cfg.Keep != "" {
				fmt.Fprintf(r.cfg.Out, "not generated: %s: %s: %v\n", kind, o.name, err)
			}
			continue
		}
		if !r.isNew(o.body) {
			continue
		}
		if n < sourcesOfKind {
			r.keepSource(o.body)
		}
		o.kind = kind
		return r.compare(o), true
	}
	return outcome{}, false
}

// isNew reports whether no file with these bytes was made before.
func (r *runner) isNew(body []byte) bool {
	digest := sha256.Sum256(body)
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := !r.known[digest]
	r.known[digest] = true
	return fresh
}

// compare sends o through the resize program.
func (r *runner) compare(o original) outcome {
	specs := o.specs()
	images, err := resize.Make(r.ctx, r.pool, o.body, specs...)
	out := outcome{kind: o.kind, name: o.name}
	switch {
	case errors.Is(err, resize.ErrTooLarge), errors.Is(err, resize.ErrUnsupported):
		out.refused = err.Error()
	case err != nil:
		out.wrong = err.Error()
	default:
		out.wrong = o.check(specs, images)
	}
	if out.wrong != "" && r.cfg.Keep != "" {
		name := strings.Map(func(c rune) rune {
			if c == ' ' || c == '/' || c == ':' {
				return '_'
			}
			return c
		}, o.kind+"-"+o.name)
		_ = os.WriteFile(filepath.Join(r.cfg.Keep, name[:min(len(name), 120)]+"."+o.kind), o.body, 0o600)
	}
	return out
}

// table prints every refusal, and a summary by kind. It returns the number of
// wrong answers.
func table(out io.Writer, outcomes []outcome) (wrong int) {
	slices.SortFunc(outcomes, func(a, b outcome) int { return strings.Compare(a.kind+a.name, b.kind+b.name) })
	for _, o := range outcomes {
		if o.refused != "" {
			fmt.Fprintf(out, "refused: %s, %s: %s\n", o.kind, o.name, o.refused)
		}
	}
	fmt.Fprintf(out, "\n| kind | files | right | refused | wrong |\n|---|---|---|---|---|\n")
	for _, k := range kinds {
		var files, refused, bad int
		for _, o := range outcomes {
			if o.kind != k.name {
				continue
			}
			files++
			if o.refused != "" {
				refused++
			}
			if o.wrong != "" {
				bad++
			}
		}
		if files > 0 {
			fmt.Fprintf(out, "| %s | %d | %d | %d | %d |\n", k.name, files, files-refused-bad, refused, bad)
		}
		wrong += bad
	}
	return wrong
}
