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
// it from the one that starts them, so the threads are listed again until all of them have it.
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
	// One or two times suffice. A child that keeps starting threads is not waited for.
	for range 100 {
		if !c.renice(min(20-own+n, 19)) {
			return
		}
	}
}

// renice gives the threads that the child has now a niceness, and reports whether one of them had another.
func (c *child) renice(niceness int) (changed bool) {
	dir := "/proc/" + strconv.Itoa(c.pid()) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return false // it has exited, or there is no /proc
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid) // fails if the thread has just exited
		if err == nil && raw != 20-niceness && unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) == nil {
			changed = true
		}
	}
	return changed
}
