package workers_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
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

// running starts a Pool that ends with the test.
func running(t testing.TB, cfg workers.Config) *workers.Pool {
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
	images, err := resize.Make(t.Context(), p, []byte(original), small)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(string(images[0].Body), jpegMagic)
}

func TestPool_Resize_RetriesAfterCrash(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	first := pid(t, p, "ok")
	second := pid(t, p, "crash-once "+filepath.Join(t.TempDir(), "died"))
	if first == second {
		t.Error("the child that died answered")
	}
	if n := p.Stats().Restarts[workers.Crashed]; n != 1 {
		t.Errorf("%d crashes counted, want 1", n)
	}
}

func TestPool_Resize_TwoCrashesAreCorrupt(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 2}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := resize.Make(t.Context(), p, []byte("crash"), small); !errors.Is(err, resize.ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
		})
		all.Go(func() { pid(t, p, "ok") })
	}
	all.Wait()
	pid(t, p, "ok")
}

func TestPool_Resize_KillsAtDeadline(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Timeout: 300 * time.Millisecond}))
	before := pid(t, p, "ok")
	err := <-hang(t, p, t.Context())
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

// hang makes a child of the pool hang, and returns when it does.
func hang(t *testing.T, r resize.Resizer, ctx context.Context) (ended chan error) {
	t.Helper()
	began := fifo(t)
	ended = make(chan error, 1)
	go func() {
		_, err := resize.Make(ctx, r, []byte("hang "+began), small)
		ended <- err
	}()
	if _, err := os.ReadFile(began); err != nil { // until the child has opened and closed it
		t.Fatal(err)
	}
	return ended
}

// fifo returns the path of a new named pipe. Opening it for reading waits for a writer.
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "began")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// until waits until another goroutine has made done return true.
func until(t *testing.T, condition string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !done(); runtime.Gosched() {
		if time.Now().After(late) {
			t.Fatalf("waited 20 s for %s", condition)
		}
	}
}

func TestPool_Resize_AbandonedJobFreesChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	ctx, leave := context.WithCancel(t.Context())
	ended := hang(t, p, ctx)
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the caller's own reason", err)
	}
	pid(t, p, "ok")
	if n := p.Stats().Restarts[workers.Abandoned]; n != 1 {
		t.Errorf("%d left, want 1", n)
	}
}

func TestPool_Resize_FullQueueIsBusy(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Queue: 2, WarmQueue: 1}))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	hang(t, p, ctx)
	for range 2 {
		go func() { _, _ = resize.Make(ctx, p, []byte("ok"), small) }()
	}
	until(t, "two waiting live jobs", func() bool { return p.Stats().Live == 2 })
	if _, err := resize.Make(t.Context(), p, []byte("ok"), small); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
	go func() { _, _ = resize.Make(warm(ctx), p, []byte("ok"), small) }()
	until(t, "a waiting warm job", func() bool { return p.Stats().Warm == 1 })
	if _, err := resize.Make(warm(t.Context()), p, []byte("ok"), small); !errors.Is(err, resize.ErrBusy) {
		t.Errorf("%v, want ErrBusy in the warm queue", err)
	}
}

func warm(ctx context.Context) context.Context {
	return resize.WithPriority(ctx, resize.PriorityWarm)
}

// warmPool is a Pool that makes every job a warm one.
type warmPool struct{ *workers.Pool }

func (p warmPool) Resize(ctx context.Context, job resize.Job) error {
	return p.Pool.Resize(warm(ctx), job)
}

func TestPool_Resize_LiveBeforeWarm(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Timeout: 30 * time.Second}))
	ctx, leave := context.WithCancel(t.Context())
	ended := hang(t, p, ctx)
	turn := map[string]string{} // by priority: the number of the job, as its child counts
	var mu sync.Mutex
	var all sync.WaitGroup
	do := func(r resize.Resizer, priority string) {
		all.Go(func() {
			n := pid(t, r, "turn")
			mu.Lock()
			defer mu.Unlock()
			turn[priority] = n
		})
	}
	do(warmPool{p}, "warm")
	until(t, "a waiting warm job", func() bool { return p.Stats().Warm == 1 })
	do(p, "live")
	until(t, "a waiting live job", func() bool { return p.Stats().Live == 1 })
	leave()
	<-ended
	all.Wait()
	if turn["live"] != "1" || turn["warm"] != "2" {
		t.Errorf("turns %v, want the live one first", turn)
	}
}

func TestPool_Resize_InvalidAnswerIsErrFailed(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	for _, verb := range []string{
		"garbage", "lie", "lie-hugely", "wrong-id", "wrong-index", "no-image",
		"wrong-format", "page", "no-size", "chatter", "unknown-code", "unknown-kind", "ready",
	} {
		if _, err := resize.Make(t.Context(), p, []byte(verb), small); !errors.Is(err, resize.ErrFailed) {
			t.Errorf("%s: %v, want ErrFailed", verb, err)
		}
		pid(t, p, "ok")
	}
	// The bytes after the image of "chatter" and "ready" are invalid. All Specs are made, so the
	// job is not retried.
	if n := p.Stats().Restarts[workers.InvalidAnswer]; n != 24 {
		t.Errorf("%d restarts for invalid answers, want 2 for each of 11 and 1 for 2", n)
	}
}

// Only an original that crashes two children is corrupt.
func TestPool_Resize_OtherDeathsAreErrFailed(t *testing.T) {
	for _, c := range []struct{ original, reason string }{
		{"be-killed", workers.Killed},
		{"exit " + strconv.Itoa(wire.ExitMemory), workers.OutOfMemory},
		{"say-and-exit fatal error: runtime: out of memory", workers.OutOfMemory},
		{"say-and-exit runtime/cgo: pthread_create failed: Resource temporarily unavailable", workers.OutOfMemory},
		{"exit 1", workers.Died},
		{"half", workers.Died}, // half an answer, then exit status 0
		{"crash-then-be-killed " + filepath.Join(t.TempDir(), "crashed"), workers.Killed},
	} {
		t.Run(c.original, func(t *testing.T) {
			p := running(t, fake(workers.Config{Workers: 1}))
			_, err := resize.Make(t.Context(), p, []byte(c.original), small)
			if !errors.Is(err, resize.ErrFailed) || errors.Is(err, resize.ErrCorrupt) {
				t.Errorf("%v, want ErrFailed", err)
			}
			restarts, total := p.Stats().Restarts, int64(0)
			for _, n := range restarts {
				total += n
			}
			if restarts[c.reason] == 0 || total != 2 {
				t.Errorf("restarts %v, want two, by %q", restarts, c.reason)
			}
			pid(t, p, "ok")
		})
	}
}

func TestPool_Resize_MemoryLimitNamesSetting(t *testing.T) {
	var log lockedBuffer
	p := running(t, fake(workers.Config{
		Workers: 1, Memory: 300 << 20, Log: slog.New(slog.NewTextHandler(&log, nil)),
	}))
	_, err := resize.Make(t.Context(), p, []byte("exit "+strconv.Itoa(wire.ExitMemory)), small)
	if err == nil || !strings.Contains(err.Error(), "300 MiB of memory (--resize-memory)") {
		t.Errorf("%v, want the limit and its setting", err)
	}
	if want := "limit_bytes=314572800 setting=--resize-memory"; !strings.Contains(log.String(), want) {
		t.Errorf("log %q has no %q", log.String(), want)
	}
}

func TestPool_Resize_EncoderOverMemoryIsTooLarge(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Memory: 1 << 30, Timeout: 2 * time.Minute}))
	refuses(t, p, "the limit is 1024 MiB (--resize-memory)", map[string]bool{
		"4500x3375-up.jxl": true, "2000x1500-up.jxl": false, "4032x3024-up.jpg": false,
		"8000x6000-up.avif": true, "8000x6000-up.heic": true, "3000x2000-up.heic": false,
	})
}

func TestPool_Resize_EncoderOverTimeIsTooLarge(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Timeout: 10 * time.Second}))
	refuses(t, p, "takes about 27 s, the limit is 10s (--resize-timeout)", map[string]bool{
		"4032x3024-up.heic": true, "2000x1500-up.heic": false, "4032x3024-up.avif": false, "4032x3024-up.png": false,
	})
}

// refuses fails the test unless the pool refuses the Specs whose value is true, with the text in the error.
func refuses(t *testing.T, p *workers.Pool, text string, specs map[string]bool) {
	t.Helper()
	original := photo(t, 400, 300)
	for name, refused := range specs {
		ctx, leave := context.WithCancel(t.Context())
		if !refused {
			leave() // it is not made: the fake child cannot
		}
		_, err := resize.Make(ctx, p, original, spec(name))
		leave()
		if got := errors.Is(err, resize.ErrTooLarge); got != refused {
			t.Errorf("%s: %v, want refused %v", name, err, refused)
		}
		if refused && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want the limit and its setting", name, err)
		}
	}
}

func TestPool_Resize_JobErrorKeepsChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	before := pid(t, p, "ok")
	_, err := resize.Make(t.Context(), p, []byte("refuse"), small)
	if !errors.Is(err, resize.ErrUnsupported) || !strings.Contains(err.Error(), "because") {
		t.Errorf("%v, want ErrUnsupported with the child's reason", err)
	}
	if pid(t, p, "ok") != before {
		t.Error("the child was replaced after a job error")
	}
}

// delivered records what a job delivers.
type delivered struct {
	mu   sync.Mutex
	pids map[int]string // by index
}

func (d *delivered) made(i int, img resize.Image) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pids == nil {
		d.pids = map[int]string{}
	}
	d.pids[i] += strings.TrimPrefix(string(img.Body), jpegMagic)
}

func (d *delivered) of(i int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pids[i]
}

func TestPool_Resize_DeliversEachImageWhenItIsMade(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	ctx, leave := context.WithCancel(t.Context())
	var d delivered
	ended := make(chan error, 1)
	go func() {
		ended <- p.Resize(ctx, resize.Job{
			Original: []byte("hang-after-one"), Specs: []resize.Spec{small, small}, Made: d.made,
		})
	}()
	until(t, "the first image", func() bool { return d.of(0) != "" })
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) || d.of(1) != "" {
		t.Errorf("%v, and the second image is %q", err, d.of(1))
	}
}

func TestPool_Resize_RetryMakesOnlyWhatIsMissing(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	var d delivered
	err := p.Resize(t.Context(), resize.Job{
		Original: []byte("crash-after-one " + filepath.Join(t.TempDir(), "died")),
		Specs:    []resize.Spec{small, small, small}, Optional: []resize.Spec{small}, Made: d.made,
	})
	if err != nil {
		t.Fatal(err)
	}
	first, second := d.of(0), d.of(1)
	if first == "" || first == second || d.of(2) != second || d.of(3) != second {
		t.Errorf("images were made by %v, want the first by one child and the others by a second", d.pids)
	}
}

func TestPool_Resize_OptionalCrashIsNotRetried(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	var d delivered
	err := p.Resize(t.Context(), resize.Job{
		Original: []byte("crash-in-optional"), Specs: []resize.Spec{small}, Optional: []resize.Spec{small},
		Made: d.made,
	})
	if !errors.Is(err, resize.ErrFailed) || d.of(0) == "" || d.of(1) != "" {
		t.Errorf("%v, made by %v, want ErrFailed and the first image", err, d.pids)
	}
	if n := p.Stats().Restarts[workers.Crashed]; n != 1 {
		t.Errorf("%d crashes, want 1", n)
	}
}

// The Optional Specs of a job are made unless a live job waits, either when it starts or when its
// Specs are made.
func TestPool_Resize_OptionalOnlyWhileNoLiveJobWaits(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	job := func(original string, d *delivered) resize.Job {
		return resize.Job{
			Original: []byte(original), Specs: []resize.Spec{small}, Optional: []resize.Spec{small}, Made: d.made,
		}
	}
	for name, c := range map[string]struct {
		waits func(context.Context) context.Context // nil: no job waits
		want  bool
	}{
		"none": {nil, true},
		"live": {func(ctx context.Context) context.Context { return ctx }, false},
		"warm": {warm, true},
	} {
		t.Run(name, func(t *testing.T) {
			var d delivered
			began, goOn := fifo(t), filepath.Join(t.TempDir(), "go on")
			if err := syscall.Mkfifo(goOn, 0o600); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 2)
			go func() { ended <- p.Resize(t.Context(), job("wait "+began+" "+goOn, &d)) }()
			if _, err := os.ReadFile(began); err != nil {
				t.Fatal(err)
			}
			if c.waits != nil {
				go func() {
					_, err := resize.Make(c.waits(t.Context()), p, []byte("ok"), small)
					ended <- err
				}()
				until(t, "a waiting job", func() bool { s := p.Stats(); return s.Live+s.Warm == 1 })
			} else {
				ended <- nil
			}
			if err := os.WriteFile(goOn, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if got := d.of(1) != ""; d.of(0) == "" || got != c.want {
				t.Errorf("the optional image was made: %v, want %v", got, c.want)
			}
		})
	}
}

func TestPool_Resize_WarmJobsLeaveOneChild(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 2}))
	until(t, "two idle children", func() bool { return p.Stats().Idle == 2 })
	ctx, leave := context.WithCancel(t.Context())
	first := hang(t, p, warm(ctx))
	second := make(chan error, 1)
	go func() {
		_, err := resize.Make(warm(ctx), p, []byte("ok"), small)
		second <- err
	}()
	until(t, "a waiting warm job", func() bool { return p.Stats().Warm == 1 })
	pid(t, p, "ok") // at once: a child is kept for it
	// The child becomes idle a moment after it has answered, and must stay so.
	until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
	pid(t, p, "ok")
	if s := p.Stats(); s.Warm != 1 {
		t.Errorf("%+v, want the second warm job to wait", s)
	}
	leave()
	<-first
	<-second
}

func TestPool_Resize_CancelReturnsOriginalAtOnce(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	hangForever := hang(t, p, t.Context())
	ctx, leave := context.WithCancelCause(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, err := resize.Make(ctx, p, []byte("ok"), small)
		waits <- err
	}()
	until(t, "a waiting live job", func() bool { return p.Stats().Live == 1 })
	why := errors.New("the reader closed the page")
	leave(why)
	if err := <-waits; !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
	if n := p.Stats().Live; n != 0 {
		t.Errorf("%d jobs wait, want 0 after cancellation", n)
	}
	select {
	case err := <-hangForever:
		t.Errorf("the other job ended: %v", err)
	default:
	}
}

func TestPool_Resize_CancelDuringRetryReturnsOriginal(t *testing.T) {
	// The race detector sees it if a worker still reads them.
	p := running(t, fake(workers.Config{Workers: 1}))
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		original := append([]byte("crash "), make([]byte, 1<<19)...)
		ended := make(chan struct{})
		go func() {
			_, _ = resize.Make(ctx, p, original, small)
			for i := range original {
				original[i] = 1
			}
			close(ended)
		}()
		until(t, "one busy child", func() bool { return p.Stats().Busy == 1 })
		leave()
		<-ended
	}
}

func TestPool_Resize_RefusesUnsendableJobs(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1, Limits: resize.Limits{MaxBytes: 100}}))
	many := make([]resize.Spec, 65)
	for i := range many {
		many[i] = small
	}
	for name, c := range map[string]struct {
		original []byte
		specs    []resize.Spec
		want     error
	}{
		"too many bytes": {make([]byte, 101), []resize.Spec{small}, resize.ErrTooLarge},
		"too many Specs": {[]byte("ok"), many, resize.ErrSpec},
		"no variant":     {[]byte("ok"), []resize.Spec{spec("orig")}, resize.ErrSpec},
		"auto":           {[]byte("ok"), []resize.Spec{spec("10x.auto")}, resize.ErrSpec},
		"no Spec at all": {[]byte("ok"), []resize.Spec{{Width: -1, Format: resize.JPEG}}, resize.ErrSpec},
	} {
		if _, err := resize.Make(t.Context(), p, c.original, c.specs...); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if images, err := resize.Make(t.Context(), p, []byte("ok"), many[:64]...); err != nil || len(images) != 64 {
		t.Errorf("64 Specs: %d images, %v", len(images), err)
	}
}

func TestPool_Run_FinishesRunningJobs(t *testing.T) {
	p, err := workers.New(fake(workers.Config{Workers: 1, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	began, leave := fifo(t), fifo(t)
	result := make(chan error, 1)
	go func() {
		_, err := resize.Make(t.Context(), p, []byte("wait "+began+" "+leave), small)
		result <- err
	}()
	if _, err := os.ReadFile(began); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		_, err := resize.Make(t.Context(), p, []byte("ok"), small)
		waits <- err
	}()
	until(t, "a waiting live job", func() bool { return p.Stats().Live == 1 })
	stop()
	if err := <-waits; !errors.Is(err, resize.ErrFailed) {
		t.Errorf("a job that waited: %v, want ErrFailed", err)
	}
	if err := os.WriteFile(leave, nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("the job that ran: %v", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPool_Resize_BeforeRunWaits(t *testing.T) {
	p, err := workers.New(fake(workers.Config{Workers: 1, Log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := resize.Make(t.Context(), p, []byte("ok"), small)
		done <- err
	}()
	until(t, "a waiting live job", func() bool { return p.Stats().Live == 1 })
	ctx, stop := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() { _ = p.Run(ctx) })
	if err := <-done; err != nil {
		t.Error(err)
	}
	<-p.Ready()
	stop()
	run.Wait()
}

func TestNew_RequiresCommand(t *testing.T) {
	if _, err := workers.New(workers.Config{}); err == nil || !strings.Contains(err.Error(), "Command") {
		t.Errorf("%v, want an error that names Command", err)
	}
	_, err := workers.New(workers.Config{Command: []string{"x"}, Limits: resize.Limits{MaxBytes: 1 << 40}})
	if err == nil {
		t.Error("a limit that cannot be sent is accepted")
	}
}

// A Meter counts the CPU time of the children, which have at least used some to start.
func TestPool_Resize_CountsCPU(t *testing.T) {
	p := running(t, fake(workers.Config{Workers: 1}))
	meter := &resize.Meter{}
	ctx := resize.WithMeter(t.Context(), meter)
	for range 20 {
		if _, err := resize.Make(ctx, p, []byte("ok"), small); err != nil {
			t.Fatal(err)
		}
	}
	if meter.CPU() <= 0 || meter.CPU() > 10*time.Second {
		t.Errorf("%v for 20 small jobs", meter.CPU())
	}
}
