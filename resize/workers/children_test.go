package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers"
)

func TestPool_ReusesChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	if a, b := pid(t, p, "ok"), pid(t, p, "ok"); a != b {
		t.Errorf("children %s and %s, want one", a, b)
	}
}

// A child that decodes rare kinds sees few other originals, and none of a common kind.
func TestPool_RareKindsHaveTheirOwnChildren(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, MaxRareJobs: 3}))
	common := pid(t, p, "ok")
	jobs := map[string]int{}
	for range 7 {
		jobs[pid(t, p, tiffMagic+"ok")]++
		if again := pid(t, p, "ok"); again != common {
			t.Fatalf("child %s was replaced by %s, want rare kinds to leave it alone", common, again)
		}
	}
	if jobs[common] != 0 || len(jobs) != 3 {
		t.Errorf("rare jobs by child %v, want 3, 3 and 1, none on %s", jobs, common)
	}
	for child, n := range jobs {
		if n > 3 {
			t.Errorf("child %s did %d jobs, want at most 3", child, n)
		}
	}
	until(t, "at most two children", func() bool { return len(children(t)) <= 2 })
}

func TestPool_ReplacesDeadIdleRareChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	for range 3 {
		n, err := strconv.Atoi(pid(t, p, tiffMagic+"ok"))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		pid(t, p, tiffMagic+"ok")
	}
}

func TestPool_RecyclesAfterMaxJobs(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, MaxJobs: 3}))
	seen := map[string]int{}
	for range 9 {
		seen[pid(t, p, "ok")]++
	}
	if len(seen) != 3 {
		t.Errorf("jobs by child %v, want 3 each", seen)
	}
	until(t, "one idle child", func() bool { return p.Stats().Idle == 1 })
	if all := children(t); len(all) != 1 {
		t.Errorf("children %v, want one: those that were replaced are to go", all)
	}
}

func TestPool_ReplacesDeadIdleChild(t *testing.T) {
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

func TestPool_Resize_FailsWhenNoChildStarts(t *testing.T) {
	for _, kind := range []string{"mute", "stranger"} {
		cfg := fake(workers.Config{Workers: 2, Backoff: time.Millisecond})
		cfg.Env = fakeEnv(kind)
		p := running(t, cfg)
		if _, err := resize.Make(t.Context(), p, []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
			t.Errorf("%s: %v, want ErrFailed", kind, err)
		}
	}
	missing := fake(workers.Config{Workers: 1})
	missing.Command = []string{filepath.Join(t.TempDir(), "none")}
	p := running(t, missing)
	if _, err := resize.Make(t.Context(), p, []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("a missing program: %v, want ErrFailed", err)
	}
}

func TestPool_Run_LeavesNoChildren(t *testing.T) {
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
	if _, err := resize.Make(t.Context(), p, []byte("ok"), small); !errors.Is(err, resize.ErrFailed) {
		t.Errorf("after the end: %v, want ErrFailed", err)
	}
}

func TestPool_RecyclesAboveMaxRSS(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, MaxRSS: 100 << 20}))
	first := pid(t, p, "ok")
	if same := pid(t, p, "ok"); same != first {
		t.Fatalf("child %s was replaced by %s without a reason", first, same)
	}
	if same := pid(t, p, "grow"); same != first {
		t.Errorf("%s answers, want %s still", same, first)
	}
	if next := pid(t, p, "ok"); next == first {
		t.Error("the child still runs with 100 MiB more than MaxRSS")
	}
	if n := p.Stats().Restarts[workers.Recycled]; n != 1 {
		t.Errorf("%d recycled, want 1", n)
	}
}

func TestPool_ChildEnvironmentIsIsolated(t *testing.T) {
	t.Setenv("IMAGETIER_KEYS", "k1=secret")
	p := running(t, fake(workers.Config{Workers: 1}))
	images, err := resize.Make(t.Context(), p, []byte("environment"), small)
	if err != nil {
		t.Fatal(err)
	}
	env := strings.TrimPrefix(string(images[0].Body), jpegMagic)
	if env != "FAKE_CHILD=1 GORACE=atexit_sleep_ms=0 GOMAXPROCS=2" {
		t.Errorf("a child has the environment %q", env)
	}
}

func TestPool_LogsBoundedStderr(t *testing.T) {
	var log lockedBuffer
	p := running(t, fake(workers.Config{Workers: 1, Log: slog.New(slog.NewTextHandler(&log, nil))}))
	pid(t, p, "shout") // 10,000 lines of 10,000 bytes
	pid(t, p, "ok")
	pid(t, p, "crash-once "+filepath.Join(t.TempDir(), "died")) // by now all of it was read
	got := log.String()
	if n := strings.Count(got, "resize process wrote to stderr"); n == 0 || n > 2*20 {
		t.Errorf("%d lines were logged, want a few", n)
	}
	if len(got) > 64<<10 {
		t.Errorf("%d bytes were logged", len(got))
	}
	if !strings.Contains(got, "stderr of resize process truncated") {
		t.Error("the log does not mention dropped lines")
	}
}

func TestPool_IncompleteSandbox_LoggedOnce(t *testing.T) {
	var log lockedBuffer
	cfg := fake(workers.Config{Workers: 2, MaxJobs: 1, Unconfined: true, Log: slog.New(slog.NewTextHandler(&log, nil))})
	p := running(t, cfg)
	for range 3 { // on several children
		pid(t, p, "ok")
	}
	if n := strings.Count(log.String(), `without a complete sandbox" missing="[seccomp: disabled]"`); n != 1 {
		t.Errorf("logged %d times, want once: %s", n, log.String())
	}
}

func TestPool_ReleasesResourcesOfChildren(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close descriptors that are no longer ours
	p := running(t, fake(workers.Config{Workers: 2, MaxJobs: 2, Timeout: 200 * time.Millisecond}))
	round := func() {
		pid(t, p, "ok")
		_, _ = resize.Make(t.Context(), p, []byte("crash"), small)
		_, _ = resize.Make(t.Context(), p, []byte("garbage"), small)
		<-hang(t, p, t.Context())
		pid(t, p, "ok")
		until(t, "two idle children", func() bool { return p.Stats().Idle == 2 })
	}
	round()
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for range 5 {
		round()
	}
	if now := openFiles(t); now > files {
		t.Errorf("%d open files, there were %d", now, files)
	}
	if now := runtime.NumGoroutine(); now > goroutines+2 { // a caller of hang may be about to end
		t.Errorf("%d goroutines, there were %d", now, goroutines)
	}
	if all := children(t); len(all) != 2 {
		t.Errorf("children %v, want 2 and no zombie", all)
	}
}

func TestPool_ChildrenDieWithParent(t *testing.T) {
	// The pipe is open for writing in the child alone, so it ends when the child does.
	began := fifo(t)
	parent := startParent(t, began)
	f, err := os.Open(began)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("the child wrote")
	}
	_ = parent.Wait()
}

func TestPool_RecoversWhenProgramReturns(t *testing.T) {
	cfg := fake(workers.Config{Workers: 1, Backoff: time.Millisecond})
	path := filepath.Join(t.TempDir(), "imagetier-resize")
	cfg.Command = []string{path}
	p := running(t, cfg)
	until(t, "a failed child to be counted", func() bool { return p.Stats().Restarts[workers.Failed] > 0 })
	if err := os.Symlink(os.Args[0], path); err != nil {
		t.Fatal(err)
	}
	<-p.Ready()
	pid(t, p, "ok")
}

func TestDefaultEnv_MallocArenas(t *testing.T) {
	for _, c := range [][2]string{{"", "2"}, {"4", "4"}, {"0", "2"}, {"many", "2"}} {
		t.Setenv("MALLOC_ARENA_MAX", c[0])
		if env := workers.DefaultEnv(); !slices.Contains(env, "MALLOC_ARENA_MAX="+c[1]) {
			t.Errorf("%q: %q", c[0], env)
		}
	}
}
