// Package workers makes variants in child processes (cmd/imagetier-resize), because a decode
// cannot be cancelled and some inputs crash the process that decodes them: a bad image fails only
// its own request. It implements resize.Resizer. Start reading at Pool.Resize, then queue.go (what
// runs when) and worker.go (what happens to one job).
//
// # The life of a job
//
// A job waits in one of three bounded queues, live, page or warm, for an idle child. Cheap jobs go first;
// the cost is predicted from the header and the Specs. Expensive jobs run on niced children of
// their own, which start with the first such job, so cheap jobs never wait for them. At most some
// of several children encode AVIF at a time, and large jobs are admitted by the memory that all
// of them need together. HEIC, AVIF, JPEG XL and TIFF originals are decoded by children that
// decode nothing else and do few jobs (family.go). The child receives the original and the names of
// the Specs over a pipe (package wire) and answers with each image as soon as it is encoded, or an error.
// If that fails:
//
//   - the queue is full: ErrBusy, at once;
//   - the child crashes: one retry on a fresh child of what it has not made, and ErrCorrupt if that crashes too;
//   - the child is killed, reaches its memory limit or sends an invalid answer: one retry, then
//     ErrFailed;
//   - the time is up: the child is killed, ErrTimeout;
//   - the caller's ctx ends: the caller gets its error at once. A waiting job is removed. A running
//     job has a tenth of a second to finish, which is enough for most; then its child is killed;
//   - no child starts, three times in a row: ErrFailed, at once, while starting is retried with
//     increasing pauses.
//
// A job whose original is still arriving is not queued: see early.go.
package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// Config configures a Pool.
type Config struct {
	// Command is the path of imagetier-resize, followed by arguments that precede those that
	// this package adds. Required.
	Command []string
	// Env is the whole environment of a child. If nil, DefaultEnv is used. Secrets of the parent
	// never reach a process that decodes untrusted bytes.
	Env []string
	// Workers is the number of children for cheap jobs. 0 is one per core; more do not help. If
	// there are several, the first one takes no warm jobs.
	Workers int
	// Queue is how many live jobs may wait; further ones get ErrBusy. 0 is 16 per worker.
	Queue int
	// PageQueue is how many page jobs may wait. 0 is 8 per worker.
	PageQueue int
	// WarmQueue is how many warm jobs may wait. 0 is 8 per worker.
	WarmQueue int
	// MaxWait is how much work may wait before a cheap live or page job, per worker: predicted CPU time ×
	// the recent ratio of measured to predicted time. A job behind more work gets ErrBusy. 0 is
	// 2 s, so the queue recovers within 2 s of an overload. MaxWaitExpensive is the same for
	// expensive jobs; 0 is 5 s, enough for an album of ten HEICs.
	MaxWait, MaxWaitExpensive time.Duration
	// ExpensiveWorkers is the number of children for expensive jobs (predicted to take 300 ms of
	// CPU or more), in addition to Workers. AVIFWorkers is how many of Workers may encode AVIF at
	// once. 0 is half of Workers, at least one.
	ExpensiveWorkers, AVIFWorkers int
	// LargeMemory bounds the predicted memory, in bytes, of all running jobs that need 128 MiB or
	// more. A single job may exceed it. 0 is DefaultLargeMemory.
	LargeMemory int64
	// Timeout is how long one job may run, including its retry, before its child is killed. 0 is
	// 10 s.
	Timeout time.Duration
	// EarlyPatience is how much longer than its predicted CPU time an early job (resize.Job.Early) may wait for its
	// original. 0 is 100 ms: a caller begins the job when the rest is expected within its CPU time.
	EarlyPatience time.Duration
	// Memory is how many bytes of data a child may have (RLIMIT_DATA). A job whose encoder needs
	// more is refused with resize.ErrTooLarge; any other that needs more ends the child. 0 is
	// DefaultMemory.
	Memory int64
	// MaxJobs is the number of jobs after which a child for common kinds of originals (JPEG,
	// PNG, WebP, GIF) is replaced. 0 is 5,000. MaxRareJobs is the same for rare kinds (HEIC,
	// AVIF, JPEG XL, TIFF), which run on children of their own. 0 is 8.
	MaxJobs, MaxRareJobs int
	// MaxRSS is the resident memory in bytes of the children of a worker above which a child is
	// replaced after its job. 0 is 256 MiB.
	MaxRSS int64
	// Limits are the limits for originals; the child checks them again. A field that is 0 means
	// its default.
	Limits resize.Limits
	// Watermarks are image files by the name that Specs use (wm.NAME), at most
	// resize.MaxWatermarks.
	Watermarks map[string][]byte
	// Unconfined starts children without Landlock and seccomp, but with resource limits, to find
	// out whether the sandbox causes a fault. Never use it in production.
	Unconfined bool
	// Backoff is the pause after a failed start. It doubles with each further failure, up to 50
	// times, and is randomized by ±50 %. 0 is 100 ms.
	Backoff time.Duration
	// Waited, if not nil, is called with the time that each job waited for a child.
	Waited func(time.Duration)
	// Log receives deaths, restarts and a bounded part of the children's standard error. If nil,
	// slog.Default is used.
	Log *slog.Logger
}

// DefaultExpensiveWorkers returns the default of Config.ExpensiveWorkers.
func DefaultExpensiveWorkers(workers int) int { return max(1, workers/2) }

// DefaultEnv returns the default environment of a child: no loaders of untrusted formats, one
// thread per image, and two malloc arenas, which halve glibc's memory at nearly the same CPU time
// (BenchmarkAllocators), unless MALLOC_ARENA_MAX is set in the parent.
func DefaultEnv() []string {
	arenas, err := strconv.Atoi(os.Getenv("MALLOC_ARENA_MAX"))
	if err != nil || arenas < 1 {
		arenas = 2
	}
	return []string{
		"VIPS_BLOCK_UNTRUSTED=1", "VIPS_CONCURRENCY=1", "MALLOC_ARENA_MAX=" + strconv.Itoa(arenas),
		"LANG=C", "TMPDIR=/nonexistent",
	}
}

func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return cfg, errors.New("resize workers: Config.Command is required")
	}
	if cfg.Env == nil {
		cfg.Env = DefaultEnv()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.NumCPU()
	}
	cfg.Queue = cmp.Or(cfg.Queue, 16*cfg.Workers)
	cfg.PageQueue = cmp.Or(cfg.PageQueue, 8*cfg.Workers)
	cfg.WarmQueue = cmp.Or(cfg.WarmQueue, 8*cfg.Workers)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, 2*time.Second)
	cfg.MaxWaitExpensive = cmp.Or(cfg.MaxWaitExpensive, 5*time.Second)
	cfg.ExpensiveWorkers = cmp.Or(cfg.ExpensiveWorkers, DefaultExpensiveWorkers(cfg.Workers))
	cfg.AVIFWorkers = cmp.Or(cfg.AVIFWorkers, max(1, cfg.Workers/2))
	cfg.LargeMemory = cmp.Or(cfg.LargeMemory, DefaultLargeMemory)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.EarlyPatience = cmp.Or(cfg.EarlyPatience, 100*time.Millisecond)
	cfg.Memory = cmp.Or(cfg.Memory, DefaultMemory)
	cfg.MaxJobs = cmp.Or(cfg.MaxJobs, 5000)
	cfg.MaxRareJobs = cmp.Or(cfg.MaxRareJobs, 8)
	cfg.MaxRSS = cmp.Or(cfg.MaxRSS, 256<<20)
	cfg.Limits.MaxBytes = cmp.Or(cfg.Limits.MaxBytes, resize.DefaultLimits().MaxBytes)
	cfg.Backoff = cmp.Or(cfg.Backoff, 100*time.Millisecond)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Waited == nil {
		cfg.Waited = func(time.Duration) {}
	}
	if len(cfg.Watermarks) > resize.MaxWatermarks {
		return cfg, fmt.Errorf("resize workers: %d watermarks, the limit is %d",
			len(cfg.Watermarks), resize.MaxWatermarks)
	}
	if cfg.Limits.MaxBytes > wire.MaxOriginal {
		return cfg, fmt.Errorf("resize workers: Config.Limits.MaxBytes is %d, the limit of the protocol is %d",
			cfg.Limits.MaxBytes, wire.MaxOriginal)
	}
	return cfg, nil
}

// Reasons why a child was replaced. The values are metric labels.
const (
	Crashed       = "crashed"  // by a signal such as SIGSEGV, or a panic
	Killed        = "killed"   // by another process or by the kernel, which is short of memory
	OutOfMemory   = "memory"   // reached Config.Memory
	Died          = "died"     // exited for another reason
	InvalidAnswer = "nonsense" // killed after an answer that violates the protocol
	Deadline      = "deadline" // killed because its job timed out
	Abandoned     = "left"     // killed because the caller abandoned its job
	Recycled      = "recycled" // after MaxJobs, or above MaxRSS
	Failed        = "failed"   // did not start
)

var reasons = [...]string{Crashed, Killed, OutOfMemory, Died, InvalidAnswer, Deadline, Abandoned, Recycled, Failed}

// Pool is a set of children. It is safe for concurrent use. Jobs run while Run runs, and wait
// before that.
type Pool struct {
	cfg        Config
	watermarks atomic.Pointer[watermarkFiles] // of children that start now
	queue      queue
	ready      chan struct{} // closed when the first child has sent its greeting
	once       sync.Once

	starting, idle, busy atomic.Int64
	restarts             [len(reasons)]atomic.Int64
	hello                atomic.Pointer[wire.Hello]

	mu     sync.Mutex
	usable int // children that work or are being started; guarded by mu
}

// New returns a Pool. It starts no process: Run does.
func New(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	watermarks, err := sealWatermarks(cfg.Watermarks)
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, ready: make(chan struct{})}
	p.watermarks.Store(watermarks)
	p.queue.capacity = [numPriorities]int{live: cfg.Queue, page: cfg.PageQueue, warm: cfg.WarmQueue}
	p.queue.maxWait = [2]time.Duration{cfg.MaxWait, cfg.MaxWaitExpensive}
	p.queue.workers, p.queue.expensiveWorkers = cfg.Workers, cfg.ExpensiveWorkers
	p.queue.limits = limits{avif: cfg.AVIFWorkers, memory: cfg.LargeMemory}
	return p, nil
}

var errStopped = fmt.Errorf("%w: the pool was stopped", resize.ErrFailed)

// Run starts the children and keeps them running until ctx is done. Then running jobs finish,
// waiting and new jobs get ErrFailed, and Run returns nil when no process is left. Call it once.
func (p *Pool) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i := range p.cfg.Workers + p.cfg.ExpensiveWorkers {
		w := &worker{Pool: p, slot: newSlot(slotKindOf(i, p.cfg.Workers))}
		all.Go(func() { w.run(ctx) })
	}
	<-ctx.Done()
	p.mu.Lock()
	p.usable = -1 << 30 // so that no worker ends the refusal below
	p.mu.Unlock()
	p.queue.refuse(errStopped)
	all.Wait()
	return nil
}

// Ready is closed when the first child has started and can work.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Resize lets a child make the variants, as described at resize.Resizer; see the package comment
// for failures. The job is queued by its priority (resize.PriorityOf): page jobs are due a second
// later than live ones; warm jobs run only when no other waits, never occupy all of several
// children, and fewer of them may wait. A job is admitted by its first priority and waits by its current one.
//
// Optional Specs are made on the child that has made the others, if no live or page job waits for
// it then, or left out. They are not retried: if they fail, or the child dies, the error says so.
func (p *Pool) Resize(ctx context.Context, request resize.Job) error {
	if len(request.Specs) == 0 {
		return nil
	}
	if err := p.check(request); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("resize: %w", context.Cause(ctx))
	}
	j := jobOf(ctx, request)
	if err := p.begin(j); err != nil {
		return err
	}
	defer resize.OnRaise(ctx, func(to resize.Priority) { p.queue.raise(j, to) })()
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	if !p.queue.remove(j) {
		// A worker has it and may be reading the original: at most for one write to a pipe, which
		// the death of the child ends.
		j.using.Lock()
		defer j.using.Unlock()
	}
	return fmt.Errorf("resize: %w", context.Cause(ctx))
}

// begin queues j, or hands it to an idle worker if it is early.
func (p *Pool) begin(j *job) error {
	original := j.Original
	if j.Early != nil {
		original = j.Early.Progress().Bytes
	}
	j.family = familyOf(original)
	j.cost = costOf(original, j.Specs).within(p.cfg.Timeout)
	if err := p.checkEncoder(j.cost); err != nil {
		return err
	}
	if j.Early == nil {
		return p.queue.push(j)
	}
	if !p.queue.pushEarly(j) {
		return fmt.Errorf("%w: no child is idle", resize.ErrNotEarly)
	}
	return nil
}

// check refuses jobs that cannot be sent to a child.
func (p *Pool) check(request resize.Job) error {
	specs := request.All()
	size := len(request.Original)
	if request.Early != nil {
		size = request.Early.Size()
	}
	if n, most := int64(size), p.cfg.Limits.MaxBytes; n > most {
		return fmt.Errorf("%w: it has %d bytes, the limit is %d", resize.ErrTooLarge, n, most)
	}
	if len(specs) > wire.MaxSpecs {
		return fmt.Errorf("%w: %d variants at once, the limit is %d", resize.ErrSpec, len(specs), wire.MaxSpecs)
	}
	for _, s := range specs {
		if err := s.CheckJob(); err != nil {
			return fmt.Errorf("%s: %w", s.Name(), err)
		}
	}
	return nil
}

// Stats is the current state of a Pool.
type Stats struct {
	Live, Page, Warm     int              // waiting jobs, by the priority by which they were admitted
	Starting, Idle, Busy int              // children
	Restarts             map[string]int64 // by reason
}

// Stats returns the current state. Restarts has an entry for every reason.
func (p *Pool) Stats() Stats {
	s := Stats{
		Live: p.queue.depth(live), Page: p.queue.depth(page), Warm: p.queue.depth(warm),
		Starting: int(p.starting.Load()), Idle: int(p.idle.Load()), Busy: int(p.busy.Load()),
		Restarts: make(map[string]int64, len(reasons)),
	}
	for i, reason := range reasons {
		s.Restarts[reason] = p.restarts[i].Load()
	}
	return s
}

// Hello returns the greeting of the children, or false before the first one has started.
func (p *Pool) Hello() (wire.Hello, bool) {
	if h := p.hello.Load(); h != nil {
		return *h, true
	}
	return wire.Hello{}, false
}

func (p *Pool) count(reason string) {
	for i := range reasons {
		if reasons[i] == reason {
			p.restarts[i].Add(1)
		}
	}
}
