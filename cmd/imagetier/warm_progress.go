package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/novasocial/imagetier/internal/warmlist"
)

// progress is a line at the bottom of a terminal. Without a terminal it prints nothing.
type progress struct {
	out      io.Writer
	terminal bool
	size     int64 // of the input, in bytes; 0 if unknown
	began    time.Time
	drawn    time.Time
	onLine   bool  // the line is drawn
	start    int64 // images of earlier runs
	started  bool
}

// drawEvery limits how often the line is drawn.
const drawEvery = 100 * time.Millisecond

func newProgress(out io.Writer, size int64) *progress {
	p := &progress{out: out, size: size, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show draws how far the run is; read is how much of the input has been read, in bytes.
func (p *progress) show(counts warmlist.Counts, read int64) {
	if !p.started {
		p.started, p.start = true, counts.Images-1
	}
	if !p.terminal || time.Since(p.drawn) < drawEvery {
		return
	}
	p.drawn, p.onLine = time.Now(), true
	fmt.Fprintf(p.out, "\r%s\x1b[K", p.line(counts, read, time.Since(p.began)))
}

// line returns the line, at most 79 columns wide for counts below ten million.
func (p *progress) line(counts warmlist.Counts, read int64, took time.Duration) string {
	rate := float64(counts.Images-p.start) / max(took.Seconds(), 0.001)
	text := fmt.Sprintf("%d images %.0f/s  hit %d made %d failed %d",
		counts.Images, rate, counts.Hit, counts.Made, counts.Failed)
	if p.size == 0 {
		return text
	}
	const wide = 12
	share := min(float64(read)/float64(p.size), 1)
	full := int(share * wide)
	return fmt.Sprintf("[%s%s] %3.0f%%  %s", strings.Repeat("=", full), strings.Repeat(" ", wide-full), share*100, text)
}

// print prints text above the line.
func (p *progress) print(text string) {
	p.clear()
	fmt.Fprint(p.out, text)
}

// clear removes the line.
func (p *progress) clear() {
	if p.onLine {
		p.onLine = false
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
