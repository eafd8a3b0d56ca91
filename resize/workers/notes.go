package workers

import (
	"bufio"
	"io"
	"log/slog"
	"sync"

	"github.com/novasocial/imagetier/resize/workers/wire"
)

const (
	notesAJob = 20  // lines that are logged of each job
	noteSize  = 500 // bytes of a line that are logged
)

// notes logs what a child writes to its standard error, which may be what an image wants
// it to be: a bounded number of lines a job, a bounded part of each, nothing unprintable.
type notes struct {
	log *slog.Logger

	mu      sync.Mutex
	lines   int    // since allow
	newest  string // line
	dropped int    // lines since allow
}

// read logs until r ends. It always reads on: a full pipe would stop the child.
func (n *notes) read(r io.Reader) {
	lines := bufio.NewReaderSize(r, noteSize)
	for {
		line, more, err := lines.ReadLine()
		if len(line) > 0 {
			n.note(wire.Printable(string(line)))
		}
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
		if err != nil {
			return
		}
	}
}

func (n *notes) note(line string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.newest = line
	if n.lines++; n.lines > notesAJob {
		n.dropped++
		return
	}
	n.log.Warn("a resize process says", "text", line)
}

// allow begins a new job.
func (n *notes) allow() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dropped > 0 {
		n.log.Warn("a resize process said too much", "dropped_lines", n.dropped)
	}
	n.lines, n.dropped = 0, 0
}

// last returns the last line.
func (n *notes) last() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.newest
}
