package workers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

// The tests in this file run the real program.

// realDir is the directory in which it is built. TestMain removes it.
var realDir string

var realChild = sync.OnceValues(func() (path string, err error) {
	if realDir, err = os.MkdirTemp("", "imagetier-resize-"); err != nil {
		return "", err
	}
	path = filepath.Join(realDir, "imagetier-resize")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/imagetier-resize").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build imagetier-resize: %w\n%s", err, out)
	}
	return path, nil
})

func real(t testing.TB, cfg workers.Config) workers.Config {
	t.Helper()
	if testing.Short() {
		t.Skip("builds and runs imagetier-resize")
	}
	if err := exec.Command("pkg-config", "--exists", "vips").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("libvips is required (make deps): %v", err)
		}
		t.Skip("libvips and its headers are missing (make deps)")
	}
	path, err := realChild()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Command = []string{path}
	return cfg
}

func withVips(t *testing.T, cfg workers.Config) *workers.Pool {
	t.Helper()
	return running(t, real(t, cfg))
}

// photo returns a JPEG with some detail.
func photo(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{uint8(x), uint8(y), uint8(x * y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRealChild_MakesThumbnails(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 2})
	images, err := resize.Make(t.Context(), p,
		photo(t, 800, 600),
		spec("80x.jpg"),
		spec("40x40-cover.webp"),
		spec("80x.avif"),
		spec("80x.png"),
	)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int{{80, 60}, {40, 40}, {80, 60}, {80, 60}} {
		h, err := resize.ReadHeader(images[i].Body)
		if err != nil {
			t.Errorf("image %d: %v", i, err)
		}
		if images[i].Width != want[0] || images[i].Height != want[1] || h.Width != want[0] || h.Height != want[1] {
			t.Errorf("image %d is %dx%d, its header says %dx%d, want %v",
				i, images[i].Width, images[i].Height, h.Width, h.Height, want)
		}
	}
}

func TestRealChild_Quick_MakesOtherBytes(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1})
	var bodies [2][]byte
	for i, quick := range []bool{false, true} {
		err := p.Resize(t.Context(), resize.Job{
			Original: photo(t, 1200, 900), Specs: []resize.Spec{spec("1000x.webp")}, Quick: quick,
			Made: func(_ int, img resize.Image) { bodies[i] = img.Body },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if bytes.Equal(bodies[0], bodies[1]) {
		t.Error("Quick does not reach the resize process")
	}
}

func TestRealChild_SandboxHasNoLoopholes(t *testing.T) {
	hello, err := workers.Probe(t.Context(), real(t, workers.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(hello.Sandbox, "rlimits") {
		t.Errorf("in force is %v, want rlimits anywhere", hello.Sandbox)
	}
	if !slices.Contains(hello.Sandbox, "landlock") || !slices.Contains(hello.Sandbox, "seccomp") {
		t.Skipf("this kernel does not have all of it: %v", hello.Missing)
	}
	if len(hello.Missing) > 0 {
		t.Errorf("from inside: %v", hello.Missing)
	}
	if hello.Libvips == "" || !slices.Contains(hello.Loads, "jpeg") || !slices.Contains(hello.Saves, "webp") {
		t.Errorf("the child's greeting is %+v", hello)
	}
}

func TestRealChild_Unconfined_ReportsLoopholes(t *testing.T) {
	hello, err := workers.Probe(t.Context(), real(t, workers.Config{Unconfined: true}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"it can read files", "it can write files", "it can make TCP sockets",
		"it can start programs", "it can fork", "it can signal others",
	} {
		if !slices.Contains(hello.Missing, want) {
			t.Errorf("%q is missing in %q: the test of the sandbox from inside could not fail", want, hello.Missing)
		}
	}
}

func TestRealChild_EveryThreadIsConfined(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, Memory: 300 << 20})
	pid(t, p, string(photo(t, 80, 60)))
	for _, child := range children(t) {
		proc := "/proc/" + strconv.Itoa(child)
		tasks, err := filepath.Glob(proc + "/task/*/status")
		if err != nil || len(tasks) < 2 {
			t.Fatalf("threads %v, %v", tasks, err)
		}
		for _, task := range tasks {
			status := read(t, task)
			for _, want := range []string{"\nSeccomp:\t2\n", "\nNoNewPrivs:\t1\n"} {
				if !strings.Contains(status, want) {
					t.Errorf("%s has no %q", task, want)
				}
			}
		}
		for name, want := range map[string]string{
			"Max data size": strconv.Itoa(300 << 20), "Max file size": "0",
			"Max core file size": "0", "Max open files": "64",
		} {
			if _, line, _ := strings.Cut(read(t, proc+"/limits"), name); strings.Fields(line)[0] != want ||
				strings.Fields(line)[1] != want {
				t.Errorf("%s is %.60q, want %s", name, line, want)
			}
		}
		env := strings.TrimRight(strings.ReplaceAll(read(t, proc+"/environ"), "\x00", " "), " ")
		if env != strings.Join(workers.DefaultEnv(), " ") {
			t.Errorf("the child's environment is %q", env)
		}
		if score := strings.TrimSpace(read(t, proc+"/oom_score_adj")); score != "1000" {
			t.Errorf("the child's oom_score_adj is %s, want 1000, so that the OOM killer ends it before the tier", score)
		}
		files, err := os.ReadDir(proc + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			target, _ := os.Readlink(proc + "/fd/" + f.Name())
			// The Go runtime reads the cgroup's share of the processors now and then.
			own := strings.HasPrefix(target, "pipe:") || strings.HasPrefix(target, "anon_inode:") ||
				strings.HasPrefix(target, "/sys/fs/cgroup/") ||
				target == "/dev/null"
			if !own {
				t.Errorf("descriptor %s is %s", f.Name(), target)
			}
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRealChild_RefusesInvalidImages(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, Limits: resize.Limits{MaxSide: 1000}})
	whole := photo(t, 800, 600)
	for name, c := range map[string]struct {
		original []byte
		want     error
	}{
		"a page":           {[]byte("<!doctype html>"), resize.ErrUnsupported},
		"half":             {whole[:len(whole)/2], resize.ErrCorrupt},
		"huge GIF":         {hugeGIF(), resize.ErrTooLarge},
		"over a set limit": {photo(t, 1001, 10), resize.ErrTooLarge},
	} {
		if _, err := resize.Make(t.Context(), p, c.original, small); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for reason, n := range p.Stats().Restarts {
		if n != 0 {
			t.Errorf("%d children %s", n, reason)
		}
	}
}

func hugeGIF() []byte {
	return []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;")
}

func TestRealChild_HostileImagesDoNotBlockOthers(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 2, Queue: 100, Timeout: 20 * time.Second})
	good := photo(t, 800, 600)
	flipped := slices.Clone(good)
	for i := 700; i < len(flipped)-2; i += 97 {
		flipped[i] ^= 0x55
	}
	hostile := map[string][]byte{
		"huge GIF": hugeGIF(),
		"svgz":     append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), bytes.Repeat([]byte{0xb3}, 175)...),
		"SVG": []byte(
			`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><image href="file:///etc/passwd"/></svg>`,
		),
		"PDF":           []byte("%PDF-1.7\n1 0 obj\n"),
		"MVG":           []byte("push graphic-context\nimage over 0,0 0,0 'https://example.com/'\n"),
		"cut":           good[:len(good)-1000],
		"flipped":       flipped,
		"nothing":       {},
		"only a header": good[:400],
	}
	var all sync.WaitGroup
	for name, original := range hostile {
		all.Go(func() {
			images, err := resize.Make(t.Context(), p, original, small)
			if name != "flipped" && err == nil { // that may still be a picture
				t.Errorf("%s: %d images were made of it", name, len(images))
			}
			if err != nil && !errors.Is(err, resize.ErrCorrupt) && !errors.Is(err, resize.ErrUnsupported) &&
				!errors.Is(err, resize.ErrTooLarge) {
				t.Errorf("%s: %v, want it to be the image's fault", name, err)
			}
		})
		all.Go(func() {
			if _, err := resize.Make(t.Context(), p, good, small); err != nil {
				t.Errorf("with %s: %v", name, err)
			}
		})
	}
	all.Wait()
}

func TestRealChild_KilledDuringJob_Retries(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1})
	original := photo(t, 2000, 1500)
	for range 3 {
		done := make(chan error, 1)
		go func() {
			_, err := resize.Make(t.Context(), p, original, spec("1000x.avif"))
			done <- err
		}()
		until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
		for _, child := range children(t) {
			if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := p.Stats().Restarts[workers.Killed]; n != 3 {
		t.Errorf("%d kills counted, want 3", n)
	}
}

// A child whose parent does not watch it ends by itself when its CPU time is used up.
func TestRealChild_EndsAtCPULimit(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, Timeout: 2 * time.Minute})
	pid(t, p, string(photo(t, 80, 60)))
	child := children(t)[0]
	var limit unix.Rlimit
	if err := unix.Prlimit(child, unix.RLIMIT_CPU, nil, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < 240 || limit.Cur > 300 {
		t.Errorf(
			"a job of 2 minutes has %d s of CPU time, want 4 minutes more than was used before",
			int64(limit.Cur),
		)
	}
	done := make(chan error, 1)
	go func() {
		_, err := resize.Make(t.Context(), p, photo(t, 400, 300), spec("8000x6000-up-q90.webp"))
		done <- err
	}()
	expensive := 0
	until(t, "the child of the expensive job", func() bool { // the job has begun when its limit is set
		for _, pid := range children(t) {
			if pid != child && unix.Prlimit(pid, unix.RLIMIT_CPU, nil, &limit) == nil && limit.Cur < 1000 {
				expensive = pid
			}
		}
		return expensive != 0
	})
	limit.Cur = 1
	if err := unix.Prlimit(expensive, unix.RLIMIT_CPU, &limit, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "the death of the child to be counted", func() bool { return p.Stats().Restarts[workers.Died] == 1 })
	for _, pid := range children(t) { // the second try
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-done
}

func TestRealChild_ExpensiveJobsRunNiced(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, Timeout: time.Minute})
	pid(t, p, string(photo(t, 80, 60)))
	cheap := children(t)[0]
	ctx, leave := context.WithCancel(t.Context())
	expensive := make(chan error, 1)
	go func() {
		_, err := resize.Make(ctx, p, photo(t, 400, 300), spec("8000x6000-up-q90.webp"))
		expensive <- err
	}()
	until(t, "a second child", func() bool { return p.Stats().Busy == 1 && len(children(t)) == 2 })
	pid(t, p, string(photo(t, 80, 60)))                // a cheap one does not wait for it
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the niceness
	if err != nil {
		t.Fatal(err)
	}
	if own == 1 {
		t.Skip("the tests run at the lowest priority")
	}
	for _, child := range children(t) {
		until(t, "all threads to be niced", func() bool {
			tasks, err := os.ReadDir("/proc/" + strconv.Itoa(child) + "/task")
			if err != nil || len(tasks) == 0 {
				t.Fatalf("child %d: %v", child, err)
			}
			for _, task := range tasks {
				tid, err := strconv.Atoi(task.Name())
				if err != nil {
					t.Fatal(err)
				}
				raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
				if err == nil && (raw < own) != (child != cheap) {
					return false
				}
			}
			return true
		})
	}
	leave()
	<-expensive
	for reason, n := range p.Stats().Restarts {
		if n != 0 && reason != workers.Abandoned {
			t.Errorf("%d children %s", n, reason)
		}
	}
}

// A job that reaches the memory limit says nothing about its original.
func TestRealChild_OutOfMemoryIsErrFailed(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1, Memory: 300 << 20, Timeout: time.Minute})
	// The encoder takes 145 MiB beside an idle child, a little less than what is refused at once.
	_, err := resize.Make(t.Context(), p, photo(t, 1600, 1200), spec("1600x.jxl"))
	if !errors.Is(err, resize.ErrFailed) || !strings.Contains(err.Error(), "--resize-memory") {
		t.Errorf("%v, want ErrFailed with the setting", err)
	}
	if n := p.Stats().Restarts[workers.OutOfMemory]; n != 2 {
		t.Errorf("restarts %v, want 2 for memory", p.Stats().Restarts)
	}
	if _, err := resize.Make(t.Context(), p, photo(t, 80, 60), small); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

// Descriptors that the tier itself was started with do not reach a child.
func TestRealChild_InheritsNoDescriptors(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], 0); err != nil { // not close-on-exec
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	file, err := unix.Open(secret, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	inherited := map[string]bool{secret: true}
	for _, fd := range pipe {
		target, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil {
			t.Fatal(err)
		}
		inherited[target] = true
	}
	p := withVips(t, workers.Config{Workers: 1, Watermarks: map[string][]byte{"logo": photo(t, 80, 60)}})
	if _, err := resize.Make(t.Context(), p, photo(t, 800, 600), spec("400x-wm.logo.jpg")); err != nil {
		t.Fatal(err)
	}
	for _, child := range children(t) {
		dir := "/proc/" + strconv.Itoa(child) + "/fd/"
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if target, _ := os.Readlink(dir + f.Name()); inherited[target] {
				t.Errorf("descriptor %s is %s", f.Name(), target)
			}
		}
	}
}

func TestRealChild_WritesNoFiles(t *testing.T) {
	dir := t.TempDir()
	cfg := real(t, workers.Config{Workers: 1, Timeout: time.Minute, Memory: 4 << 30})
	cfg.Env = workers.DefaultEnv()
	for i, v := range cfg.Env {
		if strings.HasPrefix(v, "TMPDIR=") {
			cfg.Env[i] = "TMPDIR=" + dir
		}
	}
	cfg.Env = append(cfg.Env, "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "XDG_CACHE_HOME="+dir)
	// Temporary files are removed as soon as they are open, but the watch still sees them.
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Skipf("inotify: %v", err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_MODIFY); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 4096)
	if err := os.WriteFile(filepath.Join(dir, "canary"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(watch, events); n <= 0 {
		t.Fatalf("the watch sees nothing: %v", err)
	}
	p := running(t, cfg)
	// More pixels than the 100 MB over which libvips would open a file on disk for them.
	if _, err := resize.Make(t.Context(), p, photo(t, 80, 60),
		spec("6000x6000-cover-up-rot90.jpg"), spec("100x.webp"), spec("100x.avif")); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(watch, events); n > 0 {
		t.Errorf("a file was made: %q", events[:n])
	} else if err != unix.EAGAIN {
		t.Error(err)
	}
}

func TestProbe_Canceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := workers.Probe(ctx, real(t, workers.Config{})); err == nil {
		t.Error("Probe succeeded with a canceled context")
	}
	cfg := fake(workers.Config{Log: slog.New(slog.DiscardHandler)})
	cfg.Env = fakeEnv("mute")
	if _, err := workers.Probe(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("%v, want it to say how the child ended", err)
	}
}

func TestRealChild_HelpAndVersion(t *testing.T) {
	path := real(t, workers.Config{}).Command[0]
	for args, want := range map[string]string{
		"--help":         "which starts it automatically",
		"--version":      "libvips 8.",
		"--capabilities": `"saves": [`,
	} {
		out, err := exec.Command(path, args).Output()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v, and %q in %q", args, err, want, out)
		}
	}
	var exit *exec.ExitError
	if err := exec.Command(path, "photo.jpg").Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("an argument: %v, want exit status 2", err)
	}
}
