// Package workers makes variants in child processes (cmd/imagetier-resize), because no
// decode can be cancelled and some inputs end the process that decodes them: an image
// costs at most its own answer, never the tier. It implements resize.Resizer.
//
// # What happens to a job
//
// It waits in one of two bounded lanes, live or warm, for a child that is idle, the cheap
// before the dear: its cost is predicted by header and Specs. Dear jobs have children of
// their own, niced, which start with the first of them: no cheap one ever waits for a dear
// one. Those that encode AVIF are never on all of several children; large ones are admitted
// by the memory that all of them need together. The child
// gets the original and the names of the Specs over a pipe (package wire) and answers with
// images or with a refusal. Where that does not come about:
//
//   - the lane is full: ErrBusy, at once;
//   - the child dies of it: once more on a fresh child, then ErrCorrupt;
//   - the child answers nonsense: likewise, then ErrFailed;
//   - the time is up: the child is killed, ErrTimeout;
//   - the caller's ctx ends: the caller has its error at once. A job that waited is gone;
//     one that runs has a tenth of a second to end by itself, for which most need no more,
//     and then its child is killed: nobody's image keeps no worker;
//   - no child starts, three times in a row: ErrFailed, at once, while it is tried again
//     with growing pauses.
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

// Config of a Pool.
type Config struct {
	// Command is the path of imagetier-resize and, in front of what this package adds,
	// its arguments. Required.
	Command []string
	// Env is the whole environment of a child; nil is DefaultEnv: no secret of the
	// parent's reaches a process that decodes foreign bytes.
	Env []string
	// Workers is how many children do what is not dear. 0 is one per core: more gain
	// nothing. With more than one, the first of them takes live jobs only.
	Workers int
	// Queue is how many live jobs may wait. 0 is 16 per worker. One more is ErrBusy.
	Queue int
	// WarmQueue is the same of the warm lane. 0 is 4 per worker.
	WarmQueue int
	// MaxWait is how much work may wait before a job, for each child that does such jobs:
	// CPU time as predicted, times how much longer jobs took lately. One that would come
	// behind more is ErrBusy. 0 is 2 s: so long after the end of an overload all is as
	// before. MaxWaitDear is the same of dear jobs, which are in no other's way; 0 is 5 s:
	// an album of HEICs has ten.
	MaxWait, MaxWaitDear time.Duration
	// Dear is how many children there are beside Workers for dear jobs (300 ms of CPU and
	// more, as predicted), and AVIF how many of Workers may encode AVIF at once. 0 is half of
	// Workers, at least one.
	Dear, AVIF int
	// LargeMemory bounds what the jobs that need 128 MiB or more take together, in bytes, as
	// predicted. One alone may take more. 0 is DefaultLargeMemory.
	LargeMemory int64
	// Timeout is how long one job may run, on both children if the first dies of it,
	// before its child is killed. 0 is 10 s.
	Timeout time.Duration
	// Memory is how many bytes of data a child may have (RLIMIT_DATA): what would need
	// more is refused, by the child or by its death. 0 is DefaultMemory.
	Memory int64
	// MaxJobs is after how many jobs a child is replaced. 0 is 5,000.
	MaxJobs int
	// MaxRSS is the resident memory in bytes over which a child that has just done a job
	// is replaced. 0 is 256 MiB.
	MaxRSS int64
	// Limits are those of originals; the child checks them once more. A field that is 0
	// means its default.
	Limits resize.Limits
	// Watermarks are files of images by the name that Specs know them by (wm.NAME): at most
	// resize.MaxWatermarks of them.
	Watermarks map[string][]byte
	// Unconfined starts children without Landlock and seccomp, the limits stay: to tell
	// a fault of the sandbox from others. Never for serving.
	Unconfined bool
	// Backoff is the pause after a child that did not start; it doubles with each that
	// follows, up to 50 times that, give or take a half. 0 is 100 ms.
	Backoff time.Duration
	// Waited is told how long each job waited for a child; nil: nobody is.
	Waited func(time.Duration)
	// Log gets deaths, restarts and a bounded part of what children write to standard
	// error. nil: slog's default.
	Log *slog.Logger
}

// DearChildren is Config.Dear where that is 0.
func DearChildren(workers int) int { return max(1, workers/2) }

// DefaultEnv is the environment of a child: no loaders of foreign code, one thread a
// picture, and two malloc arenas, which take half of the memory of glibc's own number at nearly
// the same CPU time (BenchmarkAllocators), unless the parent's MALLOC_ARENA_MAX says another.
func DefaultEnv() []string {
	arenas, err := strconv.Atoi(os.Getenv("MALLOC_ARENA_MAX"))
	if err != nil || arenas < 1 {
		arenas = 2
	}
	return []string{"VIPS_BLOCK_UNTRUSTED=1", "VIPS_CONCURRENCY=1", "MALLOC_ARENA_MAX=" + strconv.Itoa(arenas), "LANG=C", "TMPDIR=/nonexistent"}
}

func (cfg Config) withDefaults() (Config, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return cfg, errors.New("resize workers: Config.Command, the path of imagetier-resize, is needed")
	}
	if cfg.Env == nil {
		cfg.Env = DefaultEnv()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.NumCPU()
	}
	cfg.Queue = cmp.Or(cfg.Queue, 16*cfg.Workers)
	cfg.WarmQueue = cmp.Or(cfg.WarmQueue, 4*cfg.Workers)
	cfg.MaxWait = cmp.Or(cfg.MaxWait, 2*time.Second)
	cfg.MaxWaitDear = cmp.Or(cfg.MaxWaitDear, 5*time.Second)
	cfg.Dear = cmp.Or(cfg.Dear, DearChildren(cfg.Workers))
	cfg.AVIF = cmp.Or(cfg.AVIF, max(1, cfg.Workers/2))
	cfg.LargeMemory = cmp.Or(cfg.LargeMemory, DefaultLargeMemory)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.Memory = cmp.Or(cfg.Memory, DefaultMemory)
	cfg.MaxJobs = cmp.Or(cfg.MaxJobs, 5000)
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
		return cfg, fmt.Errorf("resize workers: %d watermarks, the most is %d", len(cfg.Watermarks), resize.MaxWatermarks)
	}
	if cfg.Limits.MaxBytes > wire.MaxOriginal {
		return cfg, fmt.Errorf("resize workers: Config.Limits.MaxBytes is %d, the most that can be sent is %d", cfg.Limits.MaxBytes, wire.MaxOriginal)
	}
	return cfg, nil
}

// Reasons for which a child was replaced.
const (
	Died     = "died"     // by itself, in the middle of a job or idle
	Nonsense = "nonsense" // killed: its answer was none
	Deadline = "deadline" // killed: its job ran out of time
	Left     = "left"     // killed: nobody waits for its job any more
	Recycled = "recycled" // after MaxJobs, or grown over MaxRSS
	Failed   = "failed"   // it did not start
)

var reasons = [...]string{Died, Nonsense, Deadline, Left, Recycled, Failed}

// Pool is a set of children. It is safe for concurrent callers. Jobs are done while Run
// runs, and wait before.
type Pool struct {
	cfg   Config
	marks marks
	queue queue
	ready chan struct{} // closed when the first child has greeted
	once  sync.Once

	starting, idle, busy atomic.Int64
	restarts             [len(reasons)]atomic.Int64
	hello                atomic.Pointer[wire.Hello]

	mu   sync.Mutex
	able int // children that work or are being started; guarded by mu
}

// New returns a Pool. It starts nothing: Run does.
func New(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	marks, err := seal(cfg.Watermarks)
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, marks: marks, ready: make(chan struct{})}
	p.queue.room = [lanes]int{live: cfg.Queue, warm: cfg.WarmQueue}
	p.queue.most = [2]time.Duration{cfg.MaxWait, cfg.MaxWaitDear}
	p.queue.workers, p.queue.dear = cfg.Workers, cfg.Dear
	p.queue.caps = caps{avif: cfg.AVIF, memory: cfg.LargeMemory}
	return p, nil
}

var errStopped = fmt.Errorf("%w: it was stopped", resize.ErrFailed)

// Run starts the children and keeps them until ctx is done. Then jobs that run are
// finished, those that wait or come are answered with ErrFailed, the children are ended,
// and it returns nil: no process is left. It is called once.
func (p *Pool) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for i := range p.cfg.Workers + p.cfg.Dear {
		kind := forBoth
		switch {
		case i >= p.cfg.Workers:
			kind = forDear
		case i == 0 && p.cfg.Workers > 1:
			kind = forLive
		}
		w := &worker{Pool: p, seat: newSeat(kind)}
		all.Go(func() { w.run(ctx) })
	}
	<-ctx.Done()
	p.mu.Lock()
	p.able = -1 << 30 // nothing that a worker still does lets jobs in again
	p.mu.Unlock()
	p.queue.refuse(errStopped)
	all.Wait()
	return nil
}

// Ready is closed when the first child has started and can work.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Resize has a child make the variants, as resize.Resizer says; the package comment says what
// happens to a job that cannot be done. The job waits in the lane of its priority
// (resize.PriorityOf): jobs of PriorityWarm run only when no live job waits, never on all of
// several children at once, and fewer of them may wait.
func (p *Pool) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	if err := p.check(original, specs); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("resize: %w", context.Cause(ctx))
	}
	j := &job{
		ctx: ctx, original: original, specs: specs, lane: resize.PriorityOf(ctx),
		cost: costOf(original, specs).within(p.cfg.Timeout), queued: time.Now(), begun: resize.IsContinuation(ctx), done: make(chan struct{}),
	}
	if err := p.queue.push(j); err != nil {
		return nil, err
	}
	select {
	case <-j.done:
		return j.images, j.err
	case <-ctx.Done():
	}
	if !p.queue.leave(j) {
		// A worker has it and may be reading original, no longer than a write to a pipe
		// takes, which the child's death ends.
		j.reading.Lock()
		defer j.reading.Unlock()
	}
	return nil, fmt.Errorf("resize: %w", context.Cause(ctx))
}

// check refuses what no child could be told.
func (p *Pool) check(original []byte, specs []resize.Spec) error {
	if n, most := int64(len(original)), p.cfg.Limits.MaxBytes; n > most {
		return fmt.Errorf("%w: it has %d bytes, allowed are %d", resize.ErrTooLarge, n, most)
	}
	if len(specs) > wire.MaxSpecs {
		return fmt.Errorf("%w: %d at once, allowed are %d", resize.ErrSpec, len(specs), wire.MaxSpecs)
	}
	for _, s := range specs {
		if err := s.CheckJob(); err != nil {
			return fmt.Errorf("%s: %w", s.Name(), err)
		}
	}
	return nil
}

// Stats is what a Pool is doing.
type Stats struct {
	Live, Warm           int // jobs that wait
	Starting, Idle, Busy int // children
	Restarts             map[string]int64
}

// Stats returns what the Pool is doing now. Restarts has every reason.
func (p *Pool) Stats() Stats {
	s := Stats{
		Live: p.queue.depth(live), Warm: p.queue.depth(warm),
		Starting: int(p.starting.Load()), Idle: int(p.idle.Load()), Busy: int(p.busy.Load()),
		Restarts: make(map[string]int64, len(reasons)),
	}
	for i, reason := range reasons {
		s.Restarts[reason] = p.restarts[i].Load()
	}
	return s
}

// Hello returns what the children say of themselves; false before the first has started.
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
