package workers

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpu returns the CPU time that the child has taken, over all its threads; 0 if it has ended, or if the
// system does not report it.
func (c *child) cpu() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return 0
	}
	return c.cpuLocked()
}

func (c *child) cpuLocked() time.Duration {
	// The clock ID of another process, computed as clock_getcpuclockid does.
	const allThreads = 2 // CPUCLOCK_SCHED
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^c.pid())<<3|allThreads, &used); err != nil {
		return 0
	}
	return time.Duration(used.Nano())
}

// limitCPU allows the child d more CPU time, over all its threads, before the kernel sends it
// SIGXCPU, on which it exits. The deadline of a job comes first; this stops a child whose parent
// no longer watches it because it was stopped or hangs.
func (c *child) limitCPU(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	used := c.cpuLocked()
	if used == 0 {
		return
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(c.pid(), unix.RLIMIT_CPU, nil, &limit); err != nil {
		return
	}
	limit.Cur = min(limit.Max, uint64((used+d)/time.Second)+1)
	_ = unix.Prlimit(c.pid(), unix.RLIMIT_CPU, &limit, nil) // lowering the soft limit is always allowed
}
