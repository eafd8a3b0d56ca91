package upstream_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay forwards bytes until its connections are frozen. Then it discards them, like a stopped
// process or a firewall that dropped its state. New connections work.
type relay struct {
	l        net.Listener
	accepted atomic.Int64

	mu  sync.Mutex
	now *atomic.Bool // freezes connections that are accepted now; guarded by mu
}

func relayTo(t *testing.T, addr string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, now: &atomic.Bool{}}
	var running sync.WaitGroup
	var open []net.Conn // of the accepting goroutine
	running.Go(func() {
		defer func() {
			for _, c := range open {
				c.Close()
			}
		}()
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", addr)
			if err != nil {
				from.Close()
				continue
			}
			open = append(open, from, to)
			r.accepted.Add(1)
			r.mu.Lock()
			frozen := r.now
			r.mu.Unlock()
			running.Go(func() { pass(to, from, frozen) })
			running.Go(func() { pass(from, to, frozen) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

func (r *relay) freeze() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Store(true)
	r.now = &atomic.Bool{}
}

func pass(to, from net.Conn, frozen *atomic.Bool) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if !frozen.Load() {
			if n > 0 {
				to.Write(b[:n])
			}
			if err != nil {
				to.Close()
			}
		}
		if err != nil {
			return
		}
	}
}
