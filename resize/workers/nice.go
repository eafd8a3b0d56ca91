package workers

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// dearNice is how nice the children are that do dear jobs: such a one gets a quarter of a
// core for which another process competes, and all of one that is free.
const dearNice = 5

// nice sets the niceness of all threads of the child, which those that they start inherit.
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
		if tid, err := strconv.Atoi(thread.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, n) // one that has just ended
		}
	}
}
