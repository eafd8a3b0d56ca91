package workers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

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
	in    io.WriteCloser
	out   *bufio.Reader
	hello wire.Hello
	jobs  int
	dead  chan struct{} // closed when it has been waited for
	state string        // valid then
}

func startChild(ctx context.Context, cfg Config) (*child, error) {
	cmd := exec.Command(cfg.Command[0], cfg.Command[1:]...)
	cmd.Env = cfg.Env
	cmd.Dir = "/"
	// A group of its own: a Ctrl-C at the terminal is the tier's to answer, which drains.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.Stderr = &logWriter{log: cfg.Log}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cfg.Command[0], err)
	}
	c := &child{cmd: cmd, in: in, out: bufio.NewReaderSize(out, 64<<10), dead: make(chan struct{})}
	late := time.AfterFunc(startTimeout, c.kill)
	stop := context.AfterFunc(ctx, c.kill)
	c.hello, err = wire.ReadHello(c.out)
	late.Stop()
	stop()
	go func() {
		defer close(c.dead)
		// Not cmd.Wait: it closes the pipe that an answer may still be read from.
		state, err := cmd.Process.Wait()
		if err != nil {
			c.state = err.Error()
			return
		}
		c.state = state.String()
	}()
	if err != nil {
		c.kill()
		return nil, fmt.Errorf("start %s: %w (%s)", cfg.Command[0], err, c.end())
	}
	return c, nil
}

func (c *child) exchange(original []byte, specs []resize.Spec) ([]resize.Image, error) {
	c.jobs++
	if err := wire.WriteJob(c.in, original, specs); err != nil {
		return nil, err
	}
	return wire.ReadAnswer(c.out, specs)
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// kill ends the process at once. Reads and writes of its pipes end with it.
func (c *child) kill() { _ = c.cmd.Process.Kill() }

// end kills the process if it lives, frees what it had, and says how it ended.
func (c *child) end() string {
	c.kill()
	<-c.dead
	c.in.Close()
	// With the process gone this ends the copying of its standard error too.
	_ = c.cmd.Wait()
	return c.state
}

// close ends the process in its own time, which between jobs is at once.
func (c *child) close() {
	c.in.Close()
	late := time.AfterFunc(2*time.Second, c.kill)
	defer late.Stop()
	<-c.dead
	_ = c.cmd.Wait()
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

// logWriter logs what a child writes to standard error, a bounded part of each line.
type logWriter struct {
	log  *slog.Logger
	rest string
}

func (w *logWriter) Write(p []byte) (int, error) {
	w.rest += string(p)
	for {
		line, rest, found := strings.Cut(w.rest, "\n")
		if !found {
			if len(w.rest) > 4096 {
				w.rest = w.rest[:4096]
			}
			return len(p), nil
		}
		if w.rest = rest; line != "" {
			w.log.Warn("resize process says", "text", line[:min(len(line), 500)])
		}
	}
}

// Probe starts a child of its own, asks it what it can, and ends it: for the doctor.
func Probe(ctx context.Context, cfg Config) (wire.Hello, error) {
	if len(cfg.Command) == 0 {
		return wire.Hello{}, errors.New("resize workers: Config.Command is needed")
	}
	if cfg.Env == nil {
		cfg.Env = DefaultEnv()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c, err := startChild(ctx, cfg)
	if err != nil {
		return wire.Hello{}, err
	}
	defer c.close()
	return c.hello, nil
}
