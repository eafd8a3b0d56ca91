// Package link models the network between a phone and servers on top of real requests: it adds the
// delays of the network to the real response times.
//
//	phone ──── RTT/2 ────▶ server
//	phone ◀─── RTT/2 ───── one link of a bandwidth ◀── bodies of all answers
//
// It models the round trip time; one downlink bottleneck, which concurrent responses share packet
// by packet; and the round trips to open one connection per host (HTTP/2: all requests to a host
// share it). It does not model the uplink (a request is one packet), packet loss, slow start and
// other congestion windows, header bytes, DNS, and radio sleep.
package link

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// packet is the number of bytes that the link sends of one body before it turns to the next: the
// payload of a TCP segment in an Ethernet frame.
const packet = 1460

// Config of a Network.
type Config struct {
	RTT       time.Duration // zero: none
	Bandwidth float64       // of the way down, in bits a second; zero: without limit
	// SetupRTTs are the round trips that opening a connection takes: 2 are TCP and TLS 1.3.
	// Zero: connections are open already.
	SetupRTTs int
}

// Takes returns how long the link needs to send n bytes.
func (c Config) Takes(bytes int64) time.Duration {
	if c.Bandwidth <= 0 {
		return 0
	}
	return time.Duration(float64(bytes) * 8 / c.Bandwidth * float64(time.Second))
}

// Network is the network of one phone. It is safe for concurrent use. Bodies arrive only while Run
// is running.
type Network struct {
	cfg  Config
	base http.RoundTripper
	wake chan struct{} // a flow has something to send

	mu    sync.Mutex
	flows []*flow              // those with something to send, in round-robin order
	open  map[string]time.Time // by host: when its connection is open
}

// New returns a Network that sends requests through base.
func New(cfg Config, base http.RoundTripper) *Network {
	return &Network{cfg: cfg, base: base, wake: make(chan struct{}, 1), open: map[string]time.Time{}}
}

// Run sends queued bytes until ctx is done.
func (n *Network) Run(ctx context.Context) {
	var free time.Time // when the link has sent everything so far
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
		// The packet starts when the link became free, not when this goroutine woke up: a late
		// timer delays one packet, not all later ones.
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

// next takes the first segment of the next flow. It returns nil if no flow has one.
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

// send queues a segment of f. The end of a body takes no time on the link: it goes with the last
// bytes, or at once if these have been sent.
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

// connected waits until the connection to host is open. The first request opens it.
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

// sleepUntil sleeps until a time. It returns false if ctx is done first.
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
