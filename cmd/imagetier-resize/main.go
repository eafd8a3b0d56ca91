// Command imagetier-resize decodes and encodes images for imagetier, which starts it: one
// job at a time, read from standard input and answered on standard output (package
// resize/workers/wire). It is the only program with C in it. It ends when its input ends.
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

const usage = `imagetier-resize makes thumbnails for imagetier, which starts it by itself and finds it
beside its own program. There is nothing to do with it by hand but to ask:

  imagetier-resize --capabilities    what its libvips can read and write, and which
                                     sandbox this kernel allows, as JSON
  imagetier-resize --version

What imagetier tells it:

`

// settings are the flags.
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
	f.BoolVar(&s.capabilities, "capabilities", false, "print what it can, as JSON, and exit")
	f.BoolVar(&s.version, "version", false, "print versions and exit")
	f.Int64Var(&s.memory, "memory", 1<<30, "`bytes` of data that the process may have (RLIMIT_DATA)")
	f.BoolVar(&s.unconfined, "unconfined", false, "no Landlock and no seccomp: only to tell a fault of theirs from others")
	f.Int64Var(&s.limits.MaxBytes, "max-bytes", limits.MaxBytes, "most `bytes` of an original")
	f.Int64Var(&s.limits.MaxPixels, "max-pixels", limits.MaxPixels, "most `pixels` of an original")
	f.IntVar(&s.limits.MaxSide, "max-side", limits.MaxSide, "longest side of an original in `pixels`")
	f.IntVar(&s.limits.MaxFrames, "max-frames", limits.MaxFrames, "most `frames` of an original")
	f.Func("watermark", "`NAME=FILE` of a watermark (again for each)", func(v string) error {
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
			f.SetOutput(os.Stdout) // it was asked for
		}
	}
	_ = f.Parse(os.Args[1:]) // it exits
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
	answers, err := claimStdout()
	if err != nil {
		return err
	}
	files := uint64(0) // nothing is written to disk
	if s.capabilities || s.version {
		files = 1 << 20 // standard output may be one
	}
	if err := limit(s.memory, files); err != nil {
		return err
	}
	resizer, err := vips.New(vips.Config{Limits: s.limits, Watermarks: s.watermarks, Explain: func(text string) { log.Print(text) }})
	if err != nil {
		return err
	}
	can := resizer.Capabilities()
	if s.version {
		_, err := fmt.Fprintf(answers, "imagetier-resize %s, libvips %s, protocol %d\n", version(), can.Version, wire.Version)
		return err
	}
	hello := wire.Hello{Libvips: can.Version, Loads: can.Loads, Saves: can.Saves, Sandbox: []string{"rlimits"}}
	if s.unconfined {
		hello.Missing = []string{"landlock, seccomp: turned off (-unconfined)"}
	} else {
		sandbox(&hello)
	}
	hello.Missing = append(hello.Missing, loopholes()...)
	if err := tryOut(resizer); err != nil {
		return err
	}
	if s.capabilities {
		enc := json.NewEncoder(answers)
		enc.SetIndent("", "  ")
		return enc.Encode(hello)
	}
	endOnTime()
	if err := wire.WriteHello(answers, hello); err != nil {
		return err
	}
	// One image is in memory at a time, and the collector runs between two.
	debug.SetGCPercent(400)
	return serve(resizer, s.limits.MaxBytes, answers)
}

// endOnTime ends the process when it has used the CPU time that imagetier has given to its
// job (RLIMIT_CPU): the Go runtime would ignore the kernel's word.
func endOnTime() {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	go func() {
		<-over
		log.Fatal("a job took more CPU time than it was given")
	}()
}

// tryOut makes an image of nothing, so that a process that cannot work fails before it has
// greeted: later an image would be blamed for it.
func tryOut(resizer *vips.Resizer) error {
	var nothing bytes.Buffer
	if err := png.Encode(&nothing, image.NewNRGBA(image.Rect(0, 0, 16, 16))); err != nil {
		return err
	}
	spec := resize.Spec{Width: 8, Height: 8, Format: resize.JPEG}
	if _, err := resizer.Resize(noDeadline, nothing.Bytes(), spec); err != nil {
		return fmt.Errorf("a first image could not be made: %w", err)
	}
	return nil
}

// version is that of the module, as the build knows it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
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
