package workers

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// dearNice is how nice a child is while it does a dear job: it gets a quarter of a core for
// which another process competes, and all of one that is free.
const dearNice = 5

// nice sets the niceness of all threads of the child, which those that they start inherit.
// Taking it back needs a right (CAP_SYS_NICE) that servers seldom have; a child that stays
// niced is replaced after its job.
func (c *child) nice(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	dir := "/proc/" + strconv.Itoa(c.pid()) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return // it is gone, or there is no /proc
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, n); err != nil && n < c.niced {
			return
		}
	}
	c.niced = n
}
