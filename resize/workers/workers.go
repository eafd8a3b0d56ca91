// Package workers makes variants in child processes (cmd/imagetier-resize), because no
// decode can be cancelled and some inputs end the process that decodes them: an image
// costs at most its own answer, never the tier. It implements resize.Resizer.
package workers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// Config of a Pool.
type Config struct {
	// Command is the path of imagetier-resize and its arguments. Required.
	Command []string
	// Env is the whole environment of a child; nil is DefaultEnv: no secret of the
	// parent's reaches a process that decodes foreign bytes.
	Env []string
	// Workers is how many children there are. 0 is one per core: more gain nothing.
	Workers int
	// Queue is how many live jobs may wait. 0 is 16 per worker. One more is ErrBusy.
	Queue int
	// WarmQueue is the same of the warm lane. 0 is 4 per worker.
	WarmQueue int
	// Timeout is how long one job may run before its child is killed. 0 is 10 s.
	Timeout time.Duration
	// MaxJobs is after how many jobs a child is replaced. 0 is 5,000.
	MaxJobs int
	// MaxRSS is the resident memory in bytes over which a child that has just done a job
	// is replaced. 0 is 256 MiB.
	MaxRSS int64
	// Backoff is the pause after a child that did not start; it doubles up to 32 times
	// that. 0 is 100 ms.
	Backoff time.Duration
	// Waited is told how long each job waited for a child; nil: nobody is.
	Waited func(time.Duration)
	// Log gets deaths, restarts and what children write to standard error. nil: slog's default.
	Log *slog.Logger
}

// DefaultEnv is the environment of a child: no loaders of foreign code, one thread a
// picture, and two malloc arenas, which were fastest and smallest.
func DefaultEnv() []string {
	return []string{"VIPS_BLOCK_UNTRUSTED=1", "VIPS_CONCURRENCY=1", "MALLOC_ARENA_MAX=2", "LANG=C", "TMPDIR=/nonexistent"}
}

// Reasons for which a child was replaced.
const (
	Died     = "died"     // by itself, in the middle of a job or idle
	Deadline = "deadline" // killed: its job ran out of time
	Left     = "left"     // killed: nobody waits for its job any more
	Recycled = "recycled" // after MaxJobs, or grown over MaxRSS
	Failed   = "failed"   // it did not start
)

var reasons = [...]string{Died, Deadline, Left, Recycled, Failed}

// Pool is a set of children. Use is safe for concurrent callers; Run must be running.
type Pool struct {
	cfg   Config
	live  chan *job
	warm  chan *job
	ready chan struct{} // closed when the first child has greeted
	once  sync.Once
	ended chan struct{} // closed when Run returns

	starting, idle, busy atomic.Int64
	restarts             [len(reasons)]atomic.Int64
	hello                atomic.Pointer[wire.Hello]
}

// New returns a Pool. It starts nothing: Run does.
func New(cfg Config) (*Pool, error) {
	if len(cfg.Command) == 0 {
		return nil, errors.New("resize workers: Config.Command is needed")
	}
	if cfg.Env == nil {
		cfg.Env = DefaultEnv()
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.NumCPU()
	}
	cfg.Queue = cmp.Or(cfg.Queue, 16*cfg.Workers)
	cfg.WarmQueue = cmp.Or(cfg.WarmQueue, 4*cfg.Workers)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.MaxJobs = cmp.Or(cfg.MaxJobs, 5000)
	cfg.MaxRSS = cmp.Or(cfg.MaxRSS, 256<<20)
	cfg.Backoff = cmp.Or(cfg.Backoff, 100*time.Millisecond)
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Waited == nil {
		cfg.Waited = func(time.Duration) {}
	}
	return &Pool{
		cfg:   cfg,
		live:  make(chan *job, cfg.Queue),
		warm:  make(chan *job, cfg.WarmQueue),
		ready: make(chan struct{}),
		ended: make(chan struct{}),
	}, nil
}

// Run starts the children and keeps them until ctx is done; then it ends them, answers
// jobs that wait with ErrFailed, and returns nil.
func (p *Pool) Run(ctx context.Context) error {
	var all sync.WaitGroup
	for range p.cfg.Workers {
		all.Go(func() { (&worker{Pool: p}).run(ctx) })
	}
	all.Wait()
	close(p.ended)
	for {
		select {
		case j := <-p.live:
			j.end(nil, errStopped)
		case j := <-p.warm:
			j.end(nil, errStopped)
		default:
			return nil
		}
	}
}

var errStopped = fmt.Errorf("%w: it was stopped", resize.ErrFailed)

// Ready is closed when the first child has started and can work.
func (p *Pool) Ready() <-chan struct{} { return p.ready }

// Resize has a child make the variants, as resize.Resizer says. It waits in the live
// lane. A child that dies of a job is replaced and the job tried once more; a second
// death is ErrCorrupt, as no process survives decoding it.
//
// When ctx ends while the job runs, the job goes on for a moment, as most end soon, and
// its child is killed if it does not: an image that nobody waits for keeps no worker.
func (p *Pool) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	return p.resize(ctx, p.live, original, specs)
}

// Warm returns a Resizer whose jobs run only when no live job waits, and of which fewer
// may wait.
func (p *Pool) Warm() resize.Resizer { return warmLane{p} }

type warmLane struct{ pool *Pool }

func (w warmLane) Resize(ctx context.Context, original []byte, specs ...resize.Spec) ([]resize.Image, error) {
	return w.pool.resize(ctx, w.pool.warm, original, specs)
}

func (p *Pool) resize(ctx context.Context, lane chan *job, original []byte, specs []resize.Spec) ([]resize.Image, error) {
	if len(specs) == 0 {
		return nil, nil
	}
	for _, s := range specs {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	j := &job{ctx: ctx, original: original, specs: specs, queued: time.Now(), done: make(chan struct{})}
	select {
	case lane <- j:
	default:
		return nil, fmt.Errorf("%w: %d jobs wait", resize.ErrBusy, cap(lane))
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if !j.taken.CompareAndSwap(false, true) {
			<-j.done // a child has the bytes: its worker ends soon, and original is in use until then
		}
		if j.images == nil {
			return nil, fmt.Errorf("resize: %w", context.Cause(ctx))
		}
	case <-p.ended:
		if !j.taken.CompareAndSwap(false, true) {
			<-j.done
		} else {
			return nil, errStopped
		}
	}
	return j.images, j.err
}

// job is one call of Resize. images and err are written before done is closed.
type job struct {
	ctx      context.Context
	original []byte
	specs    []resize.Spec
	queued   time.Time
	taken    atomic.Bool // by a worker, or by a caller who left before one took it
	done     chan struct{}
	images   []resize.Image
	err      error
}

func (j *job) end(images []resize.Image, err error) {
	j.images, j.err = images, err
	close(j.done)
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
		Live: len(p.live), Warm: len(p.warm),
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
