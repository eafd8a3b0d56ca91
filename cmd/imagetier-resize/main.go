// Command imagetier-resize decodes and encodes images for imagetier, which starts it: one
// job at a time, read from standard input and answered on standard output (package
// resize/workers/wire). It is the only program with C in it. It ends when its input ends.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/vips"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

const usage = `imagetier-resize makes thumbnails for imagetier, which starts it by itself and finds it
beside its own program. There is nothing to do with it by hand but to ask:

  imagetier-resize --capabilities    what its libvips can read and write, and which
                                     sandbox this kernel allows, as JSON

`

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	capabilities := flag.Bool("capabilities", false, "print what it can, as JSON")
	memory := flag.Int64("memory", 1<<30, "bytes of memory that one process may have (RLIMIT_DATA)")
	maxBytes := flag.Int64("max-bytes", resize.DefaultLimits().MaxBytes, "largest original in bytes")
	maxPixels := flag.Int64("max-pixels", resize.DefaultLimits().MaxPixels, "most pixels of an original")
	maxSide := flag.Int("max-side", resize.DefaultLimits().MaxSide, "longest side of an original in pixels")
	maxFrames := flag.Int("max-frames", resize.DefaultLimits().MaxFrames, "most frames of an original")
	flag.Parse()
	if flag.NArg() > 0 {
		log.Printf("imagetier-resize: unexpected argument %q", flag.Arg(0))
		flag.Usage()
		os.Exit(2)
	}
	limits := resize.Limits{MaxBytes: *maxBytes, MaxPixels: *maxPixels, MaxSide: *maxSide, MaxFrames: *maxFrames}
	if err := run(limits, *memory, *capabilities); err != nil {
		log.Fatalf("imagetier-resize: %v", err)
	}
}

func run(limits resize.Limits, memory int64, capabilities bool) error {
	answers, err := claimStdout()
	if err != nil {
		return err
	}
	files := uint64(0) // nothing is written to disk
	if capabilities {
		files = 1 << 20 // standard output may be one
	}
	hello, err := confine(memory, files)
	if err != nil {
		return err
	}
	resizer, err := vips.New(vips.Config{Limits: limits, Explain: func(text string) { log.Print(text) }})
	if err != nil {
		return err
	}
	can := resizer.Capabilities()
	hello.Libvips, hello.Loads, hello.Saves = can.Version, can.Loads, can.Saves
	sandbox(&hello)
	if capabilities {
		enc := json.NewEncoder(answers)
		enc.SetIndent("", "  ")
		return enc.Encode(hello)
	}
	if err := wire.WriteHello(answers, hello); err != nil {
		return err
	}
	// One image is in memory at a time: the collector need not run while it is worked on.
	debug.SetGCPercent(400)
	return serve(resizer, limits.MaxBytes, answers)
}

// claimStdout takes standard output for answers alone: whatever else writes there, some
// C library say, writes to standard error instead.
func claimStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate standard output: %w", err)
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, fmt.Errorf("redirect standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}

type request struct {
	original []byte
	specs    []resize.Spec
}

// serve answers jobs until there are no more. The input is read ahead, so that its end is
// seen while a decoder works, or hangs: then the process ends at once.
func serve(resizer *vips.Resizer, maxBytes int64, answers io.Writer) error {
	jobs := make(chan request)
	go func() {
		in := bufio.NewReaderSize(os.Stdin, 64<<10)
		for {
			original, specs, err := wire.ReadJob(in, maxBytes)
			if errors.Is(err, io.EOF) {
				os.Exit(0)
			}
			if err != nil {
				log.Fatalf("imagetier-resize: read job: %v", err)
			}
			jobs <- request{original, specs}
		}
	}()
	out := bufio.NewWriterSize(answers, 64<<10)
	for job := range jobs {
		images, err := resizer.Resize(noDeadline, job.original, job.specs...)
		if err := wire.WriteAnswer(out, images, err); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		job.original, images = nil, nil
		runtime.GC() // the original's megabytes go before the next one's come
	}
	return nil
}
