package workers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// The test binary is also the fake child: with FAKE_CHILD set it behaves as the original of each
// job says. With FAKE_PARENT set it is a fake tier with one such child.
func TestMain(m *testing.M) {
	switch {
	case os.Getenv("FAKE_CHILD") != "":
		fakeChild(os.Getenv("FAKE_CHILD"))
	case os.Getenv("FAKE_PARENT") != "":
		fakeParent(os.Getenv("FAKE_PARENT"))
	default:
		code := m.Run()
		_ = os.RemoveAll(realDir)
		os.Exit(code)
	}
}

const (
	jpegMagic = "\xff\xd8\xff"
	tiffMagic = "II*\x00" // precedes the verbs of a child for rare kinds
)

func fakeChild(kind string) {
	if marker, ok := strings.CutPrefix(kind, "once "); ok { // only the first one says hello
		f, err := os.OpenFile(marker, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			_, _ = io.Copy(io.Discard, os.Stdin)
			return
		}
		f.Close()
	}
	switch kind {
	case "mute":
		os.Exit(1)
	case "stranger":
		fmt.Print("hello, this is not imagetier-resize")
		return
	case "threads": // starts many of them, says so, and ends with its input
		for range 300 {
			go func() {
				runtime.LockOSThread()
				select {}
			}()
			fmt.Print(".")
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	case "decodes": // its watermark, unless that is broken
		if watermark() == "broken" {
			os.Exit(1)
		}
	case "shortlived":
		_ = wire.WriteHello(os.Stdout, wire.Hello{Libvips: "fake"})
		return
	}
	hello := wire.Hello{Libvips: "fake", Saves: []string{"jpg"}}
	if slices.Contains(os.Args, "-unconfined") {
		hello.Missing = []string{"seccomp: disabled"}
	}
	if err := wire.WriteHello(os.Stdout, hello); err != nil {
		os.Exit(1)
	}
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		request, err := wire.ReadRequest(in, 1<<20)
		if err != nil {
			return
		}
		job := *request.Job
		if job.Early > 0 {
			if job.Original, err = fakeEarly(in, job.Early); err != nil {
				_ = wire.NewAnswer(out, job.ID).End(err)
				continue
			}
		}
		text := strings.TrimPrefix(string(bytes.TrimRight(job.Original, "\x00")), tiffMagic)
		verb, arg, _ := strings.Cut(text, " ")
		if misbehave(job, verb, arg) {
			continue
		}
		body := jpegMagic + strconv.Itoa(os.Getpid())
		switch verb {
		case "environment":
			body = jpegMagic + strings.Join(os.Environ(), " ")
		case "watermark":
			body = jpegMagic + watermark()
		case "turn":
			body = jpegMagic + strconv.Itoa(int(job.ID))
		}
		a := wire.NewAnswer(out, job.ID)
		for i, s := range job.Specs {
			_ = a.Image(i, resize.Image{Body: []byte(body), Format: s.Format, Width: 1, Height: 1})
			if i == 0 {
				betweenImages(verb, arg)
			}
		}
		if len(job.Optional) > 0 {
			if a.Ready() != nil {
				return
			}
			if request, err = wire.ReadRequest(in, 1<<20); err != nil {
				return
			}
		}
		if request.GoOn {
			duringOptional(verb)
			for i, s := range job.Optional {
				_ = a.Image(len(job.Specs)+i, resize.Image{Body: []byte(body), Format: s.Format, Width: 1, Height: 1})
			}
		}
		if a.End(nil) != nil {
			return
		}
	}
}

// fakeEarly reads an original that is still arriving. If that begins with "crash" the child does so at its first piece.
func fakeEarly(in *bufio.Reader, size int) (original []byte, err error) {
	for {
		request, err := wire.ReadRequest(in, 1<<20)
		switch {
		case err != nil:
			os.Exit(3)
		case request.End && request.Usable && len(original) == size:
			return original, nil
		case request.End:
			return nil, resize.ErrNotEarly
		}
		piece := make([]byte, request.Piece)
		if _, err := io.ReadFull(in, piece); err != nil {
			os.Exit(3)
		}
		if original = append(original, piece...); strings.HasPrefix(string(original), "crash") {
			crash()
		}
	}
}

// betweenImages does the action that the original names after the first image.
func betweenImages(verb, arg string) {
	switch verb {
	case "crash-after-one": // arg is a file that records the first crash
		if _, err := os.Stat(arg); err != nil {
			_ = os.WriteFile(arg, nil, 0o600)
			crash()
		}
	case "hang-after-one":
		forever()
	}
}

func duringOptional(verb string) {
	if verb == "crash-in-optional" {
		crash()
	}
}

// watermark returns the bytes of the watermark that the child was started with.
func watermark() string {
	for _, arg := range os.Args {
		if path, ok := strings.CutPrefix(arg, "-watermark=logo="); ok {
			text, _ := os.ReadFile(path)
			return string(text)
		}
	}
	return "none"
}

var grown []byte

// The kinds of parts of an answer, as in package wire.
const (
	kindImage = 1 + iota
	kindReady
	kindError
	kindEnd
)

// misbehave does the action that the original names, and reports whether it has sent an answer.
func misbehave(job wire.Job, verb, arg string) (answered bool) {
	id := binary.LittleEndian.AppendUint32(nil, job.ID)
	say := func(bytes ...byte) bool { _, _ = os.Stdout.Write(bytes); return true }
	image := func(head ...byte) []byte { return append(append(id, kindImage, 0), head...) }
	end := append(bytes.Clone(id), kindEnd)
	switch verb {
	case "crash":
		crash()
	case "crash-once": // arg is a file that records the first crash
		if _, err := os.Stat(arg); err != nil {
			_ = os.WriteFile(arg, nil, 0o600)
			crash()
		}
	case "crash-then-be-killed":
		if _, err := os.Stat(arg); err != nil {
			_ = os.WriteFile(arg, nil, 0o600)
			crash()
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		forever()
	case "be-killed": // as the kernel does when memory is short
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		forever()
	case "exit":
		status, _ := strconv.Atoi(arg)
		os.Exit(status)
	case "say-and-exit": // as the Go runtime does
		fmt.Fprintln(os.Stderr, arg)
		os.Exit(2)
	case "hang":
		_ = os.WriteFile(arg, nil, 0o600)
		forever()
	case "hold": // hangs with the file open
		f, err := os.OpenFile(arg, os.O_WRONLY, 0)
		if err != nil {
			os.Exit(4)
		}
		defer f.Close()
		forever()
	case "wait":
		began, leave, _ := strings.Cut(arg, " ")
		_ = os.WriteFile(began, nil, 0)
		_, _ = os.ReadFile(leave)
	case "half":
		say(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0xff, 0xd8)...)
		os.Exit(0)
	case "garbage":
		return say([]byte("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff")...)
	case "lie": // an image of 4 GB
		return say(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)...)
	case "lie-hugely": // an error text of 4 GB
		return say(append(id, kindError, 1, 0xff, 0xff, 0xff, 0xff)...)
	case "wrong-id":
		id[0]++
		return say(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xd8, 0xff)...)
	case "no-image":
		return say(end...)
	case "wrong-index":
		return say(append(id, kindImage, 1)...)
	case "ready": // for a reply that is not needed
		say(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xd8, 0xff)...)
		return say(append(id, kindReady)...)
	case "wrong-format":
		return say(image(byte(resize.PNG), 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xd8, 0xff)...)
	case "page":
		return say(append(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0), "<html>"...)...)
	case "no-size":
		return say(image(byte(resize.JPEG), 0, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xd8, 0xff)...)
	case "chatter": // extra bytes after the answer
		say(image(byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xd8, 0xff)...)
		return say(append(end, 0)...)
	case "unknown-code":
		return say(append(id, kindError, 99, 0, 0, 0, 0)...)
	case "unknown-kind":
		return say(append(id, 99)...)
	case "refuse":
		err := fmt.Errorf("%w: because\x00\n\xff", resize.ErrUnsupported)
		return wire.NewAnswer(bufio.NewWriter(os.Stdout), job.ID).End(err) == nil
	case "grow":
		grown = bytes.Repeat([]byte{1}, 120<<20)
	case "shout":
		line := append(bytes.Repeat([]byte{'A'}, 10_000), '\n')
		for range 10_000 {
			os.Stderr.Write(line)
		}
	}
	return false
}

// crash ends the process as Go does after a panic or a fault in C code.
func crash() { os.Exit(2) }

// forever blocks without select{}, which the runtime would report as a deadlock.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

func fake(cfg workers.Config) workers.Config {
	cfg.Command = []string{os.Args[0]}
	cfg.Env = fakeEnv("1")
	return cfg
}

func fakeEnv(kind string) []string {
	return []string{"FAKE_CHILD=" + kind, "GORACE=atexit_sleep_ms=0", "GOMAXPROCS=2"}
}

// fakeParent is a tier with a child that hangs and holds the named pipe open.
func fakeParent(pipe string) {
	cfg := fake(workers.Config{Workers: 1, Timeout: time.Hour, Log: slog.New(slog.DiscardHandler)})
	p, err := workers.New(cfg)
	if err != nil {
		panic(err)
	}
	go func() { _ = p.Run(context.Background()) }()
	_, err = resize.Make(context.Background(), p, []byte("hold "+pipe), small)
	panic(err)
}

func startParent(t *testing.T, pipe string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FAKE_PARENT="+pipe)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// children returns the processes that are this one's, zombies too.
func children(t testing.TB) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
