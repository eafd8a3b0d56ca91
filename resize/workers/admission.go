package workers

// caps bound what runs at once. Beyond a cap a job waits, and others pass it.
type caps struct {
	avif   int   // of the children that do cheap jobs, those that encode AVIF
	memory int64 // bytes of all large jobs together; one alone may need more
}

// load is what runs.
type load struct {
	avif, large int
	memory      int64 // of the large jobs
}

func (l *load) add(c cost, by int) {
	if c.avif && !c.dear() {
		l.avif += by
	}
	if c.large() {
		l.large += by
		l.memory += int64(by) * c.memory
	}
}

// admits reports whether a job of that cost may begin beside what runs.
func (k caps) admits(running load, c cost) bool {
	return !(c.avif && !c.dear() && running.avif >= k.avif ||
		c.large() && running.large > 0 && running.memory+c.memory > k.memory)
}

// DefaultLargeMemory is Config.LargeMemory where that is 0: one job of the largest kind
// that the default limits let in, or several of those that are half as large.
const DefaultLargeMemory = 768 << 20
