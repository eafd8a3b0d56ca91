package workers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/resize"
	"github.com/novasocial/imagetier/resize/workers/wire"
)

// startTimeout is how long a child may take to greet: libvips starts in 30 ms, on a
// machine that is busy in a few hundred.
const startTimeout = 10 * time.Second

// child is one process: jobs go in by its standard input, answers come out of its
// standard output. It ends when its input does, so none outlives the tier.
type child struct {
	cmd   *exec.Cmd
	in    *os.File
	from  *os.File
	out   *bufio.Reader // of from
	notes notes
	hello wire.Hello
	jobs  int // sent to it
	niced int // how nice it is

	dead chan struct{} // closed when it is gone and all it had is freed
	how  string        // it ended; valid then

	mu   sync.Mutex
	gone bool // its process id may be another's by now; guarded by mu
}

// startChild starts a child and waits for its greeting. Whoever calls it keeps its thread
// (runtime.LockOSThread) for as long as the child is to live.
func startChild(ctx context.Context, cfg Config, m marks) (*child, error) {
	c := &child{dead: make(chan struct{}), notes: notes{log: cfg.Log}}
	c.cmd = exec.Command(cfg.Command[0], append(cfg.Command[1:len(cfg.Command):len(cfg.Command)], append(arguments(cfg), m.args...)...)...)
	c.cmd.ExtraFiles = m.files
	c.cmd.Env = cfg.Env
	c.cmd.Dir = "/"
	// A group of its own: a Ctrl-C at the terminal is the tier's to answer, which drains,
	// and whatever it may have started is killed with it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	said, err := c.launch()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Command[0], err)
	}
	go c.await(said)

	late := time.AfterFunc(startTimeout, c.kill)
	stop := context.AfterFunc(ctx, c.kill)
	c.hello, err = wire.ReadHello(c.out)
	late.Stop()
	stop()
	if err != nil {
		how := c.end()
		return nil, fmt.Errorf("start %s: %w (%s; it said: %q)", cfg.Command[0], err, how, c.notes.last())
	}
	return c, nil
}

// arguments tell a child what it must know of cfg.
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

// launch starts the process on three pipes and returns the end of its standard error.
// On an error nothing is left open.
func (c *child) launch() (said *os.File, err error) {
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
	said, stderr := pipe()
	if err == nil {
		c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = stdin, stdout, stderr
		err = c.cmd.Start()
	}
	if err != nil {
		for _, f := range open {
			f.Close()
		}
		return nil, err
	}
	// Only the child has these now, so its end is the end of what it says.
	stdin.Close()
	stdout.Close()
	stderr.Close()
	c.in, c.from, c.out = in, from, bufio.NewReaderSize(from, 64<<10)
	return said, nil
}

// await passes on what the child says, and frees all it had when it is gone.
func (c *child) await(said *os.File) {
	var reading sync.WaitGroup
	reading.Go(func() { c.notes.read(said) })
	// First without taking its process id away, under which others may live that it has
	// started, against all odds: they go with it. And no kill can hit a stranger.
	for {
		if err := unix.Waitid(unix.P_PID, c.pid(), nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	c.mu.Lock()
	c.gone = true
	_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	c.mu.Unlock()
	c.how = "exit status 0"
	if err := c.cmd.Wait(); err != nil {
		c.how = err.Error()
	}
	reading.Wait()
	said.Close()
	c.in.Close()
	close(c.dead)
}

var errGone = errors.New("the process is gone")

// exchange sends j and reads the answer. Nothing of j.original is read once it returns.
func (c *child) exchange(j *job) ([]resize.Image, error) {
	j.reading.Lock()
	if j.ctx.Err() != nil {
		j.reading.Unlock()
		return nil, errUnsent
	}
	c.jobs++
	c.notes.allow()
	id := uint32(c.jobs)
	err := wire.WriteJob(c.in, wire.Job{ID: id, Original: j.original, Specs: j.specs})
	j.reading.Unlock()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return wire.ReadAnswer(c.out, id, j.specs)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process, and all that it may have started, at once. Reads and writes of
// its pipes end with it.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gone {
		_ = syscall.Kill(-c.pid(), syscall.SIGKILL)
	}
}

// end kills the process if it lives, and says how it ended.
func (c *child) end() string {
	c.kill()
	<-c.dead
	c.from.Close()
	return c.how
}

// close ends the process in its own time, which between jobs is at once.
func (c *child) close() {
	c.in.Close()
	late := time.AfterFunc(2*time.Second, c.kill)
	defer late.Stop()
	<-c.dead
	c.from.Close()
}

// rss returns the resident memory in bytes, 0 if it is not known.
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
