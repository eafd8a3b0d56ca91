package workers

import (
	"bufio"
	"io"
	"log/slog"
	"sync"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

const (
	maxLinesPerJob = 20  // logged lines
	maxLineLength  = 500 // logged bytes of a line
)

// stderrLog logs the lines that a child writes to its standard error. An image may control that
// text, so the number and length of lines per job are bounded and unprintable characters replaced.
type stderrLog struct {
	logger *slog.Logger

	mu      sync.Mutex
	lines   int    // since reset
	newest  string // last line
	dropped int    // lines since reset
	memory  bool   // a line since reset says that memory ran out
}

// read logs until r ends. It always keeps reading: a full pipe would block the child.
func (n *stderrLog) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, maxLineLength)
	for {
		line, more, err := lines.ReadLine()
		if len(line) > 0 {
			n.log(wire.Printable(string(line)))
		}
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

func (n *stderrLog) log(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.newest = line
	n.memory = n.memory || saysOutOfMemory(line)
	if n.lines++; n.lines > maxLinesPerJob {
		n.dropped++
		return
	}
	n.logger.Warn("resize process wrote to stderr", "text", line)
}

// reset starts counting for a new job.
func (n *stderrLog) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dropped > 0 {
		n.logger.Warn("stderr of resize process truncated", "dropped_lines", n.dropped)
	}
	n.lines, n.dropped, n.memory = 0, 0, false
}

// last returns the newest line.
func (n *stderrLog) last() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.newest
}

// outOfMemory reports whether a line since reset says that memory ran out.
func (n *stderrLog) outOfMemory() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.memory
}
