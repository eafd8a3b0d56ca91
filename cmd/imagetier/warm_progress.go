package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// progress is a line at the bottom of a terminal. Where there is none it is silent.
type progress struct {
	out      io.Writer
	terminal bool
	size     int64 // of the input in bytes; 0 is not known
	began    time.Time
	drawn    time.Time
	onLine   bool  // the line is there
	start    int64 // images that were done before this run
	started  bool
}

// drawEvery is how often the line changes.
const drawEvery = 100 * time.Millisecond

func newProgress(out io.Writer, size int64) *progress {
	p := &progress{out: out, size: size, began: time.Now()}
	if f, ok := out.(*os.File); ok {
		info, err := f.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// show draws how far it is; read is how much of the input was read, in bytes.
func (p *progress) show(sums warmSums, read int64) {
	if !p.started {
		p.started, p.start = true, sums.Images-1
	}
	if !p.terminal || time.Since(p.drawn) < drawEvery {
		return
	}
	p.drawn, p.onLine = time.Now(), true
	fmt.Fprintf(p.out, "\r%s\x1b[K", p.line(sums, read, time.Since(p.began)))
}

// line is at most 79 columns wide for counts below ten millions.
func (p *progress) line(sums warmSums, read int64, took time.Duration) string {
	rate := float64(sums.Images-p.start) / max(took.Seconds(), 0.001)
	text := fmt.Sprintf("%d images %.0f/s  hit %d made %d failed %d", sums.Images, rate, sums.Hit, sums.Made, sums.Failed)
	if p.size == 0 {
		return text
	}
	const wide = 12
	share := min(float64(read)/float64(p.size), 1)
	full := int(share * wide)
	return fmt.Sprintf("[%s%s] %3.0f%%  %s", strings.Repeat("=", full), strings.Repeat(" ", wide-full), share*100, text)
}

// say prints text above the line.
func (p *progress) say(text string) {
	p.clear()
	fmt.Fprint(p.out, text)
}

// end takes the line away.
func (p *progress) end() { p.clear() }

func (p *progress) clear() {
	if p.onLine {
		p.onLine = false
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
