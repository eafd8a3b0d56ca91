// Package stack runs everything behind a feed page on this machine: the three services, Redis if it
// is installed, the tier and the gateway, each as a process with its own port. Each can be frozen,
// killed and restarted, and all of them end with the stack.
package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// starting bounds the time until a program reports that it is serving.
const starting = 30 * time.Second

// Process is a running program.
type Process struct {
	Name string

	path, log string
	args, env []string
	ready     func(line string) bool // reports whether a line of output says that it is serving

	mu     sync.Mutex
	pauses []time.Duration // guarded by mu; of the garbage collector

	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and its output has been read
}

// start starts the program and waits until it is ready.
func (p *Process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	output, out, err := os.Pipe()
	if err != nil {
		log.Close()
		return err
	}
	p.cmd = exec.Command(p.path, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	// Settings in the environment of the user must not affect these programs.
	p.cmd.Env = append(
		slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "IMAGETIER_") }),
		p.env...)
	// The kernel kills it if this program is killed; the SIGINT of a terminal reaches only this
	// program.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", p.Name, err), log.Close(), output.Close(), out.Close())
	}
	out.Close()
	serves := make(chan struct{})
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		defer log.Close()
		defer output.Close()
		var once sync.Once
		lines := bufio.NewScanner(io.TeeReader(output, log))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if p.ready(lines.Text()) {
				once.Do(func() { close(serves) })
			}
			if pauses := gcPauses(lines.Text()); pauses != nil {
				p.mu.Lock()
				p.pauses = append(p.pauses, pauses...)
				p.mu.Unlock()
			}
		}
		_ = p.cmd.Wait() // its log says how it ended, unless it was stopped
	}()
	timer := time.NewTimer(starting)
	defer timer.Stop()
	select {
	case <-serves:
		return nil
	case <-p.ended:
		return fmt.Errorf("%s ended at once: %s", p.Name, p.lastWords())
	case <-timer.C:
		return fmt.Errorf("%s does not serve after %s: %s", p.Name, starting, p.lastWords())
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *Process) lastWords() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-500):])
}

// signal sends a signal to the process, unless it has ended.
func (p *Process) signal(s syscall.Signal) error {
	select {
	case <-p.ended:
		return nil
	default:
		return p.cmd.Process.Signal(s)
	}
}

// Freeze suspends the process: its connections stay open and unanswered.
func (p *Process) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw resumes the process.
func (p *Process) Thaw() error { return p.signal(syscall.SIGCONT) }

// Kill sends SIGKILL.
func (p *Process) Kill() error {
	err := p.signal(syscall.SIGKILL)
	<-p.ended
	return err
}

// Restart starts it again with the same arguments after Kill.
func (p *Process) Restart(ctx context.Context) error { return p.start(ctx) }

// stop sends SIGTERM, and SIGKILL if that does not end it.
func (p *Process) stop() {
	if p.ended == nil {
		return // it was never started
	}
	_ = p.signal(syscall.SIGCONT)
	_ = p.signal(syscall.SIGTERM)
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		_ = p.Kill()
	}
}

// RSS returns its resident memory in bytes; 0 if it has ended.
func (p *Process) RSS() int64 {
	text, err := os.ReadFile(filepath.Join("/proc", pid(p), "statm"))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func pid(p *Process) string { return strconv.Itoa(p.cmd.Process.Pid) }
