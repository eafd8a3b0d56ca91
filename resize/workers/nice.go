package workers

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// expensiveNice is how much the niceness of children for expensive jobs exceeds this process's: such a child gets a
// quarter of a core that another process competes for, and all of an idle one.
const expensiveNice = 5

// nice sets the niceness of all threads of the child to n above that of this process, at most 19. New threads inherit
// it.
func (c *child) nice(n int) {
	own, err := unix.Getpriority(unix.PRIO_PROCESS, 0) // 20 less the niceness
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return
	}
	dir := "/proc/" + strconv.Itoa(c.pid()) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return // it has exited, or there is no /proc
	}
	for _, thread := range threads {
		if tid, err := strconv.Atoi(thread.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, 20-own+n) // fails if the thread has just exited
		}
	}
}
