// Package link models the way between a phone and the servers that it asks, on top of real
// requests: how long they take is real, and what the network adds is waited for.
//
//	phone ──── RTT/2 ────▶ server
//	phone ◀─── RTT/2 ───── one link of a bandwidth ◀── bodies of all answers
//
// Modelled are the round trip; one bottleneck on the way down, which the answers under way
// share packet by packet, in turns; and the round trips that opening a connection takes, once
// for each host (HTTP/2: all requests to a host share one). Not modelled are the way up (a
// request is a packet), lost packets, slow start and other limits of a sender's window, the
// bytes of headers, DNS, and the radio falling asleep.
package link

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// packet is how many bytes of a body take their turn on the link at once: what a TCP segment
// carries in an Ethernet frame.
const packet = 1460

// Config of a Network.
type Config struct {
	RTT       time.Duration // zero: none
	Bandwidth float64       // of the way down, in bits a second; zero: without limit
	// SetupRTTs are the round trips that opening a connection takes: 2 are TCP and TLS 1.3.
	// Zero: connections are open already.
	SetupRTTs int
}

// Takes returns how long the link needs for so many bytes.
func (c Config) Takes(bytes int64) time.Duration {
	if c.Bandwidth <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / c.Bandwidth * float64(time.Second))
}

// Network is the network of one phone. It is safe for concurrent use. Bodies arrive only
// while Run runs.
type Network struct {
	cfg  Config
	base http.RoundTripper
	wake chan struct{} // something waits for the link

	mu    sync.Mutex
	flows []*flow              // that have something to send, in the order of their turns
	open  map[string]time.Time // by host: from when on its connection can be used
}

// New returns a network, whose far end asks base.
func New(cfg Config, base http.RoundTripper) *Network {
	return &Network{cfg: cfg, base: base, wake: make(chan struct{}, 1), open: map[string]time.Time{}}
}

// Run is the link, until ctx is done.
func (n *Network) Run(ctx context.Context) {
	var free time.Time // when the link is done with what it was given
	for {
		f, s := n.next()
		if f == nil {
			select {
			case <-n.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		// What is reckoned with is when the link could begin, not when this goroutine woke:
		// a late timer delays a packet and not all that follow.
		if s.at.After(free) {
			free = s.at
		}
		free = free.Add(n.cfg.Takes(int64(len(s.data))))
		if !sleepUntil(ctx, free) {
			return
		}
		s.at = free.Add(n.cfg.RTT / 2)
		f.arrive(s)
	}
}

// next takes the first segment of the flow whose turn it is; nil if none has any.
func (n *Network) next() (*flow, segment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.flows) == 0 {
		return nil, segment{}
	}
	f := n.flows[0]
	n.flows = n.flows[1:]
	s := f.backlog[0]
	if f.backlog = f.backlog[1:]; len(f.backlog) > 0 {
		n.flows = append(n.flows, f)
	}
	return f, s
}

// send gives the link a segment of f. The end of a body needs no turn of its own: it goes
// with the last bytes, or before everybody else's where these have left.
func (n *Network) send(f *flow, s segment) {
	n.mu.Lock()
	switch waiting := len(f.backlog); {
	case waiting > 0 && s.err != nil:
		f.backlog[waiting-1].err = s.err
	case waiting > 0:
		f.backlog = append(f.backlog, s)
	case s.err != nil:
		f.backlog = append(f.backlog, s)
		n.flows = slices.Insert(n.flows, 0, f)
	default:
		f.backlog = append(f.backlog, s)
		n.flows = append(n.flows, f)
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// connected waits until there is a connection to host, which the first to ask opens.
func (n *Network) connected(ctx context.Context, host string) error {
	n.mu.Lock()
	usable, ok := n.open[host]
	if !ok {
		usable = time.Now().Add(time.Duration(n.cfg.SetupRTTs) * n.cfg.RTT)
		n.open[host] = usable
	}
	n.mu.Unlock()
	if !sleepUntil(ctx, usable) {
		return context.Cause(ctx)
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (n *Network) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	if err := n.connected(ctx, req.URL.Host); err != nil {
		return nil, err
	}
	if !sleepUntil(ctx, time.Now().Add(n.cfg.RTT/2)) {
		return nil, context.Cause(ctx)
	}
	resp, err := n.base.RoundTrip(req)
	answered := time.Now()
	if err == nil {
		resp.Body = n.carry(ctx, resp.Body)
	}
	if !sleepUntil(ctx, answered.Add(n.cfg.RTT/2)) {
		if err == nil {
			resp.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	return resp, err
}

// sleepUntil reports whether it slept until then: ctx was not done first.
func sleepUntil(ctx context.Context, then time.Time) bool {
	d := time.Until(then)
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
