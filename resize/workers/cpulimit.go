package workers

import (
	"time"

	"golang.org/x/sys/unix"
)

// limitCPU lets the child use d more of CPU time, on all its threads together, before the
// kernel tells it to end (SIGXCPU, upon which it does). The deadline of a job comes first;
// this is for a child that nobody watches any more because the tier was stopped or hangs.
func (c *child) limitCPU(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	// The clock of another process, as clock_getcpuclockid makes its number.
	const ofAllThreads = 2
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^c.pid())<<3|ofAllThreads, &used); err != nil {
		return
	}
	var limit unix.Rlimit
	if err := unix.Prlimit(c.pid(), unix.RLIMIT_CPU, nil, &limit); err != nil {
		return
	}
	limit.Cur = min(limit.Max, uint64((time.Duration(used.Nano())+d)/time.Second)+1)
	_ = unix.Prlimit(c.pid(), unix.RLIMIT_CPU, &limit, nil) // a smaller limit than the hard one may be set always
}
