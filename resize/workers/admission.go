package workers

// limits bound what runs at once. A job over a limit waits, and other jobs may overtake it.
type limits struct {
	avif   int   // cheap jobs that encode AVIF
	memory int64 // bytes of all large jobs together; a single job may exceed it
}

// load is the sum of the running jobs.
type load struct {
	avif, large int
	memory      int64 // of the large jobs
}

func (l *load) add(c cost, by int) {
	if c.avif && !c.expensive() {
		l.avif += by
	}
	if c.large() {
		l.large += by
		l.memory += int64(by) * c.peak()
	}
}

// admits reports whether a job of cost c may start beside running.
func (l limits) admits(running load, c cost) bool {
	return !(c.avif && !c.expensive() && running.avif >= l.avif ||
		c.large() && running.large > 0 && running.memory+c.peak() > l.memory)
}

// DefaultLargeMemory is the default of Config.LargeMemory: one job of the largest kind that the
// default limits admit, or several that are half as large.
const DefaultLargeMemory = 768 << 20
