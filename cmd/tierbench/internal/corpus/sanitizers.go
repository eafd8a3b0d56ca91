package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/novasocial/imagetier/resize/workers"
)

// noMemoryLimit is more than the address space that the address sanitizer reserves.
const noMemoryLimit = 1 << 60

// sanitized configures the pool for a program that was built with sanitizers. It is slower, needs more
// memory, and reads its own file to name functions in a report.
func sanitized(c *workers.Config) {
	c.Unconfined = true
	c.Memory, c.MaxRSS = noMemoryLimit, 2<<30
	c.Timeout = 5 * time.Minute
	c.Env = append(workers.DefaultEnv(),
		"ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:max_allocation_size_mb=2048:quarantine_size_mb=32",
		"UBSAN_OPTIONS=print_stacktrace=1")
}

// A stderrLog receives the pool's log and counts the reports of sanitizers in it. It copies their first
// lines to out: the pool limits the lines of a job.
type stderrLog struct {
	out io.Writer

	mu      sync.Mutex
	reports int // guarded by mu
	rest    int // lines to copy; guarded by mu
}

func (l *stderrLog) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write implements io.Writer. p is one record.
func (l *stderrLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes.Contains(p, []byte("ERROR: AddressSanitizer")) || bytes.Contains(p, []byte("runtime error:")) {
		l.reports++
		l.rest = 20
	}
	if l.rest > 0 || bytes.Contains(p, []byte("level=ERROR")) {
		l.rest--
		return l.out.Write(p)
	}
	return len(p), nil
}

// deaths returns an error if the resize program crashed or a sanitizer reported.
func (r *runner) deaths() error {
	var failures []error
	if n := r.stderr.count(); n > 0 {
		failures = append(failures, fmt.Errorf("%d reports of sanitizers", n))
	}
	restarts := r.pool.Stats().Restarts
	for _, reason := range []string{workers.Crashed, workers.Died, workers.InvalidAnswer, workers.Failed} {
		if n := restarts[reason]; n > 0 {
			failures = append(failures, fmt.Errorf("the resize program ended %d times: %s", n, reason))
		}
	}
	return errors.Join(failures...)
}

func (l *stderrLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reports
}

func newStderrLog() *stderrLog { return &stderrLog{out: os.Stderr} }
