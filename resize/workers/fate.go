package workers

import (
	"strings"
	"syscall"
	"time"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

// fate waits until the child has exited, and returns why: Crashed, Killed, OutOfMemory or Died.
// Only a crash can be the fault of the original.
func (c *child) fate() string {
	select {
	case <-c.dead:
	case <-time.After(time.Second): // it has closed its pipes, but it runs
		c.end()
		return Died
	}
	status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case !ok:
		return Died
	case status.Exited() && status.ExitStatus() == wire.ExitMemory, c.stderr.outOfMemory():
		return OutOfMemory
	case status.Exited() && status.ExitStatus() == goCrash:
		return Crashed
	case !status.Signaled():
		return Died
	}
	switch status.Signal() {
	case syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGILL, syscall.SIGFPE, syscall.SIGABRT, syscall.SIGTRAP,
		syscall.SIGSYS:
		return Crashed
	}
	return Killed // by the kernel, which is short of memory, or by an operator
}

// goCrash is the exit status of a Go program that panics or gets a signal such as SIGSEGV, also
// in C code.
const goCrash = 2

// saysOutOfMemory reports whether a line that a child writes to standard error means that it
// failed to get memory outside of malloc, which exits with [wire.ExitMemory].
func saysOutOfMemory(line string) bool {
	for _, text := range []string{
		"fatal error: runtime: out of memory", "fatal error: runtime: cannot allocate memory",
		"fatal error: out of memory", "runtime/cgo: pthread_create failed", "Error creating thread",
	} {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}
