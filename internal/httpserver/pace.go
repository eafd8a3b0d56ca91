package httpserver

import (
	"cmp"
	"time"
)

// Pace is the slowest client that is still served. Bodies are written in steps. Each step may take
// Grace plus its bytes at Rate until the kernel has accepted it; a late step ends the connection
// (HTTP/1) or the stream (HTTP/2). So a phone on a slow connection gets its image however long that
// takes, while a client that stopped reading holds a goroutine for at most 42 s.
//
// Known gap: Linux wakes a blocked writer only when a third of the send buffer is free,
// and that buffer grows to 4 MB for a fast client. A client that then slows down to Rate
// within a large body may miss a deadline and be cut off. (nginx has the same gap: its
// send_timeout of 60 s applies between two writes.)
type Pace struct {
	Grace time.Duration // 0 is 10 s
	Rate  int           // bytes per second; 0 is 4,096, slower than a phone on EDGE
	Step  int           // bytes; 0 is 131,072. Shorter bodies are one write
}

// WithDefaults returns p with its zero fields set to their defaults.
func (p Pace) WithDefaults() Pace {
	return Pace{
		Grace: cmp.Or(p.Grace, 10*time.Second),
		Rate:  cmp.Or(p.Rate, 4<<10),
		Step:  cmp.Or(p.Step, 128<<10),
	}
}

// allowance is how long writing n bytes may take.
func (p *Pace) allowance(n int) time.Duration {
	return p.Grace + time.Duration(n)*time.Second/time.Duration(p.Rate)
}
