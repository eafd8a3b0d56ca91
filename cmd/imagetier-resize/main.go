// Command imagetier-resize decodes and encodes images for imagetier, which starts it: one
// job at a time, read from standard input and answered on standard output (package
// resize/workers/wire). It is the only program that uses C. It exits when its input ends.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/vips"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

const usage = `imagetier-resize makes thumbnails for imagetier, which starts it automatically from
the directory of its own program. You only run it yourself to get information:

  imagetier-resize --capabilities    print the formats its libvips can read and write and
                                     the sandbox this kernel supports, as JSON
  imagetier-resize --version         print versions

Flags that imagetier sets:

`

// settings are the values of the flags.
type settings struct {
	limits                resize.Limits
	memory                int64
	unconfined            bool
	capabilities, version bool
	watermarks            map[string]string // name → file
}

func flags() (*flag.FlagSet, *settings) {
	s := settings{watermarks: map[string]string{}}
	f := flag.NewFlagSet("imagetier-resize", flag.ExitOnError)
	f.Usage = func() {
		fmt.Fprint(f.Output(), usage)
		f.PrintDefaults()
	}
	limits := resize.DefaultLimits()
	f.BoolVar(&s.capabilities, "capabilities", false, "print formats and sandbox as JSON, and exit")
	f.BoolVar(&s.version, "version", false, "print versions and exit")
	f.Int64Var(&s.memory, "memory", 1280<<20, "limit of data in `bytes` (RLIMIT_DATA)")
	f.BoolVar(
		&s.unconfined,
		"unconfined",
		false,
		"run without Landlock and seccomp, only to find out whether they cause a fault",
	)
	f.Int64Var(&s.limits.MaxBytes, "max-bytes", limits.MaxBytes, "maximum size of an original in `bytes`")
	f.Int64Var(&s.limits.MaxPixels, "max-pixels", limits.MaxPixels, "maximum number of `pixels` of an original")
	f.IntVar(&s.limits.MaxSide, "max-side", limits.MaxSide, "maximum width and height of an original in `pixels`")
	f.IntVar(&s.limits.MaxFrames, "max-frames", limits.MaxFrames, "maximum number of `frames` of an original")
	f.Func("watermark", "`NAME=FILE` of a watermark (repeatable)", func(v string) error {
		name, file, ok := strings.Cut(v, "=")
		if !ok || name == "" || file == "" {
			return fmt.Errorf("want NAME=FILE")
		}
		s.watermarks[name] = file
		return nil
	})
	return f, &s
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("imagetier-resize: ")
	f, s := flags()
	for _, arg := range os.Args[1:] {
		if arg == "-h" || arg == "-help" || arg == "--help" {
			f.SetOutput(os.Stdout) // help was requested, so it is not an error
		}
	}
	_ = f.Parse(os.Args[1:]) // exits on errors
	if f.NArg() > 0 {
		fmt.Fprintf(f.Output(), "imagetier-resize: unexpected argument %q\n\n", f.Arg(0))
		f.Usage()
		os.Exit(2)
	}
	if err := run(*s); err != nil {
		log.Fatal(err)
	}
}

func run(s settings) error {
	if err := closeInherited(s.watermarks); err != nil {
		return err
	}
	answers, err := claimStdout()
	if err != nil {
		return err
	}
	files := uint64(0) // nothing is written to disk
	if s.capabilities || s.version {
		files = 1 << 20 // standard output may be a file
	}
	if err := limit(s.memory, files); err != nil {
		return err
	}
	vips.ExitAtMemoryLimit(s.memory, wire.ExitMemory)
	resizer, err := vips.New(
		vips.Config{Limits: s.limits, Watermarks: s.watermarks, Explain: func(text string) { log.Print(text) }},
	)
	if err != nil {
		return err
	}
	can := resizer.Capabilities()
	if s.version {
		_, err := fmt.Fprintf(answers, "imagetier-resize %s, libvips %s, protocol %d\n",
			version(), can.Version, wire.Version)
		return err
	}
	hello := wire.Hello{Libvips: can.Version, Loads: can.Loads, Saves: can.Saves, Sandbox: []string{"rlimits"}}
	if s.unconfined {
		hello.Missing = []string{"landlock, seccomp: disabled (-unconfined)"}
	} else {
		sandbox(&hello)
	}
	hello.Missing = append(hello.Missing, loopholes()...)
	if err := selfTest(resizer); err != nil {
		return err
	}
	if s.capabilities {
		enc := json.NewEncoder(answers)
		enc.SetIndent("", "  ")
		return enc.Encode(hello)
	}
	exitAtCPULimit()
	if err := wire.WriteHello(answers, hello); err != nil {
		return err
	}
	// Only one image is in memory at a time, and serve runs the garbage collector between jobs.
	debug.SetGCPercent(400)
	return serve(resizer, s.limits.MaxBytes, answers)
}

// exitAtCPULimit exits when the CPU time of the job is used up (RLIMIT_CPU): the Go runtime ignores
// SIGXCPU by default.
func exitAtCPULimit() {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	go func() {
		<-over
		log.Fatal("a job exceeded its CPU time limit")
	}()
}

// selfTest makes an image, so that a process that cannot work fails before its greeting. Later the
// failure would be attributed to the original of a job.
func selfTest(resizer *vips.Resizer) error {
	var original bytes.Buffer
	if err := png.Encode(&original, image.NewNRGBA(image.Rect(0, 0, 16, 16))); err != nil {
		return err
	}
	spec := resize.Spec{Width: 8, Height: 8, Format: resize.JPEG}
	if _, err := resize.Make(noDeadline, resizer, original.Bytes(), spec); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	return nil
}

// version returns the module version from the build information.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}

// claimStdout reserves standard output for answers: anything else that writes there, such as a C
// library, then writes to standard error.
func claimStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("duplicate standard output: %w", err)
	}
	if err := redirect(1, 2); err != nil {
		return nil, fmt.Errorf("redirect standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}
