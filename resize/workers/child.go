package workers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// startTimeout is how long a child may take to send its greeting. libvips starts in 30 ms, on a
// busy machine in a few hundred.
const startTimeout = 10 * time.Second

// child is one process. It reads jobs from standard input and writes answers to standard output.
// It exits when its input ends, so it cannot outlive the tier.
type child struct {
	cmd    *exec.Cmd
	in     *os.File
	from   *os.File
	out    *bufio.Reader // reads from
	stderr stderrLog
	hello  wire.Hello
	jobs   int // number sent

	watermarks *watermarkFiles // that it was started with
	patience   time.Duration   // Config.EarlyPatience

	dead       chan struct{} // closed when the process has exited and its resources are freed
	exitStatus string        // valid once dead is closed

	mu     sync.Mutex
	reaped bool // the process ID may be reused by now; guarded by mu
}

// startChild starts a child and waits for its greeting. The caller must keep its thread
// (runtime.LockOSThread) for the lifetime of the child: see Pdeathsig in processAttributes and [worker.run].
func startChild(ctx context.Context, cfg Config, m *watermarkFiles) (*child, error) {
	c := &child{
		dead: make(chan struct{}), stderr: stderrLog{logger: cfg.Log}, watermarks: m, patience: cfg.EarlyPatience,
	}
	c.cmd = exec.Command(cfg.Command[0], slices.Concat(cfg.Command[1:], arguments(cfg), m.args)...)
	c.cmd.ExtraFiles = m.files
	c.cmd.Env = cfg.Env
	c.cmd.Dir = "/"
	// Its own process group, so that a Ctrl-C reaches only the tier, which drains, and that
	// kill reaches any process that the child may have started.
	c.cmd.SysProcAttr = processAttributes()
	stderr, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Command[0], err)
	}
	go c.await(stderr)

	timer := time.AfterFunc(startTimeout, c.kill)
	stop := context.AfterFunc(ctx, c.kill)
	c.hello, err = wire.ReadHello(c.out)
	timer.Stop()
	stop()
	if err != nil {
		status := c.end()
		return nil, fmt.Errorf("start %s: %w (%s; stderr: %q)", cfg.Command[0], err, status, c.stderr.last())
	}
	return c, nil
}

// arguments returns the command-line flags that pass cfg to a child.
func arguments(cfg Config) []string {
	args := []string{"-memory=" + strconv.FormatInt(cfg.Memory, 10)}
	for _, limit := range []struct {
		flag  string
		value int64
	}{
		{"-max-bytes=", cfg.Limits.MaxBytes},
		{"-max-pixels=", cfg.Limits.MaxPixels},
		{"-max-side=", int64(cfg.Limits.MaxSide)},
		{"-max-frames=", int64(cfg.Limits.MaxFrames)},
	} {
		if limit.value != 0 {
			args = append(args, limit.flag+strconv.FormatInt(limit.value, 10))
		}
	}
	if cfg.Unconfined {
		args = append(args, "-unconfined")
	}
	return args
}

// launch starts the process with three pipes and returns the read end of its standard error. If
// it fails, it closes all of them.
func (c *child) launch() (stderr *os.File, err error) {
	var open []*os.File
	pipe := func() (r, w *os.File) {
		if err != nil {
			return nil, nil
		}
		if r, w, err = os.Pipe(); err == nil {
			open = append(open, r, w)
		}
		return r, w
	}
	stdin, in := pipe()
	from, stdout := pipe()
	stderr, stderrWriter := pipe()
	if err == nil {
		c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdout, stderrWriter
		err = c.cmd.Start()
	}
	if err != nil {
		for _, f := range open {
			f.Close()
		}
		return nil, err
	}
	// Only the child holds these ends now, so the pipes end when it exits.
	stdin.Close()
	stdout.Close()
	stderrWriter.Close()
	c.in, c.from, c.out = in, from, bufio.NewReaderSize(from, 64<<10)
	return stderr, nil
}

// await logs the child's standard error and frees its resources when it has exited.
func (c *child) await(stderr *os.File) {
	var reading sync.WaitGroup
	reading.Go(func() { c.stderr.read(stderr) })
	// Wait without reaping, so that the process ID still identifies the process group: any
	// process that the child has started is killed too, and kill cannot hit a reused ID.
	awaitExit(c.pid())
	c.mu.Lock()
	c.reaped = true
	_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	c.mu.Unlock()
	c.exitStatus = "exit status 0"
	if err := c.cmd.Wait(); err != nil {
		c.exitStatus = err.Error()
	}
	reading.Wait()
	stderr.Close()
	c.in.Close()
	close(c.dead)
}

var errGone = errors.New("the process has exited")

// exchange sends the Specs of j that are not made yet, and delivers the images of the answer. spare
// is called once all Specs are made, and reports whether there is time for the Optional ones.
// exchange does not read the original after it returns. The error of an early job that was given up
// is resize.ErrNotEarly.
func (c *child) exchange(j *job, spare func() bool) error {
	left := j.left()
	specs := make([]resize.Spec, len(left))
	for i, of := range left {
		specs[i] = j.Specs[of]
	}
	j.using.Lock()
	if j.ctx.Err() != nil {
		j.using.Unlock()
		return errNotSent
	}
	c.jobs++
	c.stderr.reset()
	spent := c.cpu()
	request := wire.Job{ID: uint32(c.jobs), Original: j.Original, Specs: specs, Optional: j.Optional, Quick: j.Quick}
	if j.Early != nil {
		request.Early = j.Early.Size()
	}
	err := wire.WriteJob(c.in, request)
	j.using.Unlock()
	var givenUp error
	if err == nil && j.Early != nil {
		givenUp, err = c.feed(j)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	err = wire.Reader{
		Specs: specs, Optional: j.Optional,
		Made: func(i int, img resize.Image) {
			if i < len(left) {
				if now := c.cpu(); now > spent { // counted before the caller may read the sum
					resize.AddCPU(j.ctx, now-spent)
					spent = now
				}
				j.deliver(left[i], img)
				return
			}
			j.deliver(len(j.Specs)+i-len(left), img)
		},
		Ready: func() error {
			if err := wire.WriteReply(c.in, spare()); err != nil {
				return fmt.Errorf("%w: %w", errGone, err)
			}
			return nil
		},
	}.Read(c.out, request.ID)
	var refusal *wire.JobError
	if givenUp != nil && (err == nil || errors.As(err, &refusal)) {
		return givenUp
	}
	return err
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process and any process it has started. Its pipes then end too.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	}
}

// end kills the process if it is alive, and returns its exit status.
func (c *child) end() string {
	c.kill()
	<-c.dead
	c.from.Close()
	return c.exitStatus
}

// close lets the process exit by itself, which between jobs happens at once.
func (c *child) close() {
	c.in.Close()
	timer := time.AfterFunc(2*time.Second, c.kill)
	defer timer.Stop()
	<-c.dead
	c.from.Close()
}

// rss returns the resident memory in bytes, or 0 if it is unknown.
func (c *child) rss() int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid()) + "/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
