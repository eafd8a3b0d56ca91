package workers

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// expensiveNice is the niceness of children for expensive jobs: such a child gets a quarter of a
// core that another process competes for, and all of an idle one.
const expensiveNice = 5

// nice sets the niceness of all threads of the child. New threads inherit it.
func (c *child) nice(n int) {
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
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, n) // fails if the thread has just exited
		}
	}
}
