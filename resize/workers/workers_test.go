package workers_test

import (
	"bufio"
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

// This binary is its own child: with FAKE_CHILD set it plays one that behaves as the
// original that it is sent says.
func TestMain(m *testing.M) {
	if os.Getenv("FAKE_CHILD") != "" {
		fakeChild()
		return
	}
	os.Exit(m.Run())
}

func fakeChild() {
	if os.Getenv("FAKE_CHILD") == "mute" {
		os.Exit(1)
	}
	if os.Getenv("FAKE_CHILD") == "stranger" {
		fmt.Print("hello, I am no imagetier-resize")
		return
	}
	if err := wire.WriteHello(os.Stdout, wire.Hello{Libvips: "fake"}); err != nil {
		os.Exit(1)
	}
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		original, specs, err := wire.ReadJob(in, 1<<20)
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(string(original), " ")
		switch verb {
		case "die":
			os.Exit(3)
		case "die-once": // arg is a file that says that it did
			if _, err := os.Stat(arg); err != nil {
				_ = os.WriteFile(arg, nil, 0o600)
				os.Exit(3)
			}
		case "hang":
			_ = os.WriteFile(arg, nil, 0o600)
			select {}
		case "garbage":
			fmt.Print("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff")
			os.Stdout.Close()
			select {}
		case "lie": // an image of 4 GB
			os.Stdout.Write([]byte{0, 1, byte(resize.JPEG), 1, 0, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
			select {}
		case "refuse":
			if wire.WriteAnswer(out, nil, fmt.Errorf("%w: because", resize.ErrUnsupported)) != nil {
				return
			}
			continue
		}
		images := make([]resize.Image, len(specs))
		for i, s := range specs {
			images[i] = resize.Image{Body: []byte(strconv.Itoa(os.Getpid())), Format: s.Format, Width: 1, Height: 1}
		}
		if wire.WriteAnswer(out, images, nil) != nil {
			return
		}
	}
}

func fake(cfg workers.Config) workers.Config {
	cfg.Command = []string{os.Args[0]}
	cfg.Env = []string{"FAKE_CHILD=1", "GORACE=atexit_sleep_ms=0"}
	return cfg
}

// running starts a Pool that ends with the test.
func running(t *testing.T, cfg workers.Config) *workers.Pool {
	t.Helper()
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	p, err := workers.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); run.Wait() })
	return p
}

var small = spec("10x.jpg")

func spec(name string) resize.Spec {
	s, err := resize.ParseSpecName(name)
	if err != nil {
		panic(err)
	}
	return s
}

// pid returns the process that answers.
func pid(t *testing.T, p resize.Resizer, original string) string {
	t.Helper()
	images, err := p.Resize(t.Context(), []byte(original), small)
	if err != nil {
		t.Fatal(err)
	}
	return string(images[0].Body)
}

func TestOneChildDoesManyJobs(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	if a, b := pid(t, p, "ok"), pid(t, p, "ok"); a != b {
		t.Errorf("children %s and %s, want one", a, b)
	}
}

func TestAJobWhoseChildDiesIsTriedOnceMore(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	first := pid(t, p, "ok")
	second := pid(t, p, "die-once "+filepath.Join(t.TempDir(), "died"))
	if first == second {
		t.Error("the child that died answered")
	}
	if n := p.Stats().Restarts[workers.Died]; n != 1 {
		t.Errorf("%d deaths counted, want 1", n)
	}
}

func TestAnImageThatKillsTwiceIsBrokenAndNobodyElseNotices(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 2}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := p.Resize(t.Context(), []byte("die"), small); !errors.Is(err, resize.ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
		})
		all.Go(func() { pid(t, p, "ok") })
	}
	all.Wait()
	pid(t, p, "ok")
}

func TestAHangingDecodeIsKilledAtItsDeadline(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Timeout: 50 * time.Millisecond}))
	before := pid(t, p, "ok")
	_, err := p.Resize(t.Context(), []byte("hang "+filepath.Join(t.TempDir(), "x")), small)
	if !errors.Is(err, resize.ErrTimeout) {
		t.Errorf("%v, want ErrTimeout", err)
	}
	if after := pid(t, p, "ok"); after == before {
		t.Error("the child that hung answers")
	}
	if n := p.Stats().Restarts[workers.Deadline]; n != 1 {
		t.Errorf("%d deadlines counted, want 1", n)
	}
}

// hang makes the pool's only child hang, and returns when it does.
func hang(t *testing.T, p *workers.Pool, ctx context.Context) (ended chan error) {
	t.Helper()
	began := filepath.Join(t.TempDir(), "began")
	ended = make(chan error, 1)
	go func() {
		_, err := p.Resize(ctx, []byte("hang "+began), small)
		ended <- err
	}()
	for {
		if _, err := os.Stat(began); err == nil {
			return ended
		}
		time.Sleep(time.Millisecond) // another process's progress has no channel
	}
}

func TestAJobThatNobodyWaitsForFreesItsChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	ctx, leave := context.WithCancel(t.Context())
	ended := hang(t, p, ctx)
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's own reason", err)
	}
	pid(t, p, "ok")
	if n := p.Stats().Restarts[workers.Left]; n != 1 {
		t.Errorf("%d left, want 1", n)
	}
}

func TestAFullQueueIsBusyAtOnce(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Queue: 2, WarmQueue: 1}))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	hang(t, p, ctx)
	for range 2 {
		go func() { _, _ = p.Resize(ctx, []byte("ok"), small) }()
	}
	for p.Stats().Live < 2 {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.Resize(t.Context(), []byte("ok"), small); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	go func() { _, _ = p.Warm().Resize(ctx, []byte("ok"), small) }()
	for p.Stats().Warm < 1 {
		time.Sleep(time.Millisecond)
	}
	if _, err := p.Warm().Resize(t.Context(), []byte("ok"), small); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy in the warm lane", err)
	}
}

func TestLiveJobsGoBeforeWarmOnes(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Timeout: 30 * time.Second}))
	ctx, leave := context.WithCancel(t.Context())
	ended := hang(t, p, ctx)
	var mu sync.Mutex
	var order []string
	var all sync.WaitGroup
	do := func(lane resize.Resizer, name string) {
		all.Go(func() {
			if _, err := lane.Resize(t.Context(), []byte("ok"), small); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, name)
		})
	}
	do(p.Warm(), "warm")
	for p.Stats().Warm < 1 {
		time.Sleep(time.Millisecond)
	}
	do(p, "live")
	for p.Stats().Live < 1 {
		time.Sleep(time.Millisecond)
	}
	leave()
	<-ended
	all.Wait()
	if order[0] != "live" {
		t.Errorf("order %v, want the live one first", order)
	}
}

func TestAChildThatTalksNonsenseIsReplaced(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	for _, nonsense := range []string{"garbage", "lie"} {
		if _, err := p.Resize(t.Context(), []byte(nonsense), small); !errors.Is(err, resize.ErrCorrupt) {
			t.Errorf("%s: %v, want ErrCorrupt", nonsense, err)
		}
		pid(t, p, "ok")
	}
}

func TestWhatAChildRefusesIsItsOwnWordAndNoDeath(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	before := pid(t, p, "ok")
	_, err := p.Resize(t.Context(), []byte("refuse"), small)
	if !errors.Is(err, resize.ErrUnsupported) || !strings.Contains(err.Error(), "because") {
		t.Errorf("%v, want ErrUnsupported with the child's reason", err)
	}
	if pid(t, p, "ok") != before {
		t.Error("a refusal cost a child")
	}
}

func TestAChildIsReplacedAfterItsShareOfJobs(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, MaxJobs: 3}))
	seen := map[string]int{}
	for range 9 {
		seen[pid(t, p, "ok")]++
	}
	if len(seen) != 3 {
		t.Errorf("jobs by child %v, want 3 each", seen)
	}
}

func TestAnIdleChildThatIsKilledIsReplaced(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	for range 3 {
		n, err := strconv.Atoi(pid(t, p, "ok"))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid(t, p, "ok")
	}
}

func TestAProgramThatDoesNotStartFailsJobsInsteadOfHoldingThem(t *testing.T) {
	for _, env := range []string{"FAKE_CHILD=mute", "FAKE_CHILD=stranger"} {
		cfg := fake(workers.Config{Workers: 2, Backoff: time.Millisecond})
		cfg.Env = []string{env}
		p := running(t, cfg)
		if _, err := p.Resize(t.Context(), []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
			t.Errorf("%s: %v, want ErrFailed", env, err)
		}
	}
	missing := fake(workers.Config{Workers: 1})
	missing.Command = []string{filepath.Join(t.TempDir(), "none")}
	p := running(t, missing)
	if _, err := p.Resize(t.Context(), []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("a missing program: %v, want ErrFailed", err)
	}
}

func TestThePoolEndsWithoutLeavingChildren(t *testing.T) {
	p, err := workers.New(fake(workers.Config{Workers: 2, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	n, err := strconv.Atoi(pid(t, p, "ok"))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(n, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("child %d is still there: %v", n, err)
	}
	if _, err := p.Resize(t.Context(), []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("after the end: %v, want ErrFailed", err)
	}
}

// The real program.

var realChild = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imagetier-resize-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "imagetier-resize")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/imagetier-resize").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build imagetier-resize: %w\n%s", err, out)
	}
	return path, nil
})

func withVips(t *testing.T, cfg workers.Config, args ...string) *workers.Pool {
	t.Helper()
	path, err := realChild()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Command = append([]string{path}, args...)
	return running(t, cfg)
}

func photo(t testing.TB, width, height int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, color.RGBA{uint8(x), uint8(y), uint8(x + y), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheRealChildMakesThumbnailsInsideItsSandbox(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 2})
	images, err := p.Resize(t.Context(), photo(t, 800, 600), spec("80x.jpg"), spec("40x40-cover.webp"), spec("80x.avif"), spec("80x.png"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]int{{80, 60}, {40, 40}, {80, 60}, {80, 60}} {
		if images[i].Width != want[0] || images[i].Height != want[1] || len(images[i].Body) == 0 {
			t.Errorf("image %d is %dx%d of %d bytes, want %v", i, images[i].Width, images[i].Height, len(images[i].Body), want)
		}
	}
	hello, ok := p.Hello()
	if !ok || hello.Libvips == "" || len(hello.Sandbox) == 0 || hello.Sandbox[0] != "rlimits" {
		t.Errorf("it greets with %+v", hello)
	}
}

func TestTheRealChildRefusesWithTheRightWord(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1})
	whole := photo(t, 800, 600)
	for name, c := range map[string]struct {
		original []byte
		want     error
	}{
		"a page":   {[]byte("<!doctype html>"), resize.ErrUnsupported},
		"half":     {whole[:len(whole)/2], resize.ErrCorrupt},
		"huge GIF": {[]byte("GIF89a\xff\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x02D\x01\x00;"), resize.ErrTooLarge},
	} {
		if _, err := p.Resize(t.Context(), c.original, small); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if n := p.Stats().Restarts[workers.Died]; n != 0 {
		t.Errorf("%d children died of it", n)
	}
}

func TestAChildThatWantsTooMuchMemoryDiesAloneAndItsImageIsRefused(t *testing.T) {
	p := withVips(t, workers.Config{Workers: 1}, "-memory", strconv.Itoa(160<<20))
	// 36 megapixels that are turned at their full size do not fit; a small photo does.
	_, err := p.Resize(t.Context(), photo(t, 6000, 6000), spec("6000x6000-cover-rot90.png"))
	if !errors.Is(err, resize.ErrCorrupt) && !errors.Is(err, resize.ErrFailed) {
		t.Errorf("%v, want a refusal", err)
	}
	if _, err := p.Resize(t.Context(), photo(t, 80, 60), small); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
