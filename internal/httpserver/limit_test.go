package httpserver

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

// As many connections as the limit on descriptors allows send nothing, or only the beginning of a
// request. Even so, new clients are served, and busy connections stay open.
func TestServer_Run_ReplacesSilentConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		var descriptors syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &descriptors); err != nil {
			t.Fatal(err)
		}
		// Each connection takes two descriptors of this process.
		limit := min(8192, int(descriptors.Cur)/3)
		attackers := min(10_000, limit*5/4)
		for name, beginning := range map[string]string{"silent": "", "begun": "GET / HT"} {
			t.Run(name, func(t *testing.T) {
				limit, attackers := limit, attackers
				if name == "begun" || testing.Short() {
					limit, attackers = 256, 320
				}
				addr := serve(t, on(Config{Handler: greets, MaxConnections: limit, HeaderTimeout: time.Hour}))
				good := apitest.Dial(t, addr)
				r := bufio.NewReader(good)
				apitest.Say(t, good, hello)
				apitest.Hear(t, r)
				for range attackers {
					conn, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					if _, err := io.WriteString(conn, beginning); err != nil {
						t.Fatal(err)
					}
				}
				for range 10 {
					client := apitest.Dial(t, addr)
					start := time.Now()
					apitest.Say(t, client, hello)
					if _, body := apitest.Hear(t, bufio.NewReader(client)); body != "hello" {
						t.Error(body)
					}
					t.Log("a new client was served after", time.Since(start))
				}
				if name == "begun" {
					return // which of them go first depends on how long opening them took
				}
				apitest.Say(t, good, hello)
				if _, body := apitest.Hear(t, r); body != "hello" {
					t.Error(body)
				}
			})
		}
	})
}

func TestConnLimit_Replaceable_Order(t *testing.T) {
	l := newConnLimit(10, 0)
	now := time.Now()
	add := func(age time.Duration) *conn {
		c := &conn{Conn: closes{}, limit: l}
		l.addLocked(c)
		c.opened = now.Add(-age)
		return c
	}
	silent, begun, idle := add(time.Second), add(5*time.Second), add(time.Hour)
	l.move(begun, l.begun)
	l.move(idle, nil)
	idle.idleSince.Store(now.Add(-time.Second).UnixNano())
	busy := add(time.Hour)
	l.move(busy, nil)
	begunNow := add(900 * time.Millisecond)
	l.move(begunNow, l.begun)
	silentNow := add(200 * time.Millisecond)
	for _, want := range []*conn{silent, begun, idle, nil} {
		got, due := l.replaceableLocked(now)
		if got != want || got == nil && due != 100*time.Millisecond {
			t.Fatalf("%p, due in %s, want %p", got, due, want)
		}
		if got != nil {
			l.remove(got)
		}
	}
	l.remove(begunNow)
	if got, due := l.replaceableLocked(now); got != nil || due != 300*time.Millisecond {
		t.Errorf("%p, due in %s, want that of %p", got, due, silentNow)
	}
	// A full limit of new connections does not replace an idle one.
	idle.idleSince.Store(now.UnixNano())
	l.addLocked(idle)
	l.move(idle, nil)
	l.max = 1
	if got, _ := l.replaceableLocked(now); got != nil {
		t.Errorf("%p is replaced", got)
	}
}

// The grace of a connection begins when there is room for it.
func TestLimitedListener_Accept_GraceAfterWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newConnLimit(1, 0)
		busy := &conn{Conn: closes{}, limit: l}
		l.addLocked(busy)
		l.move(busy, nil)
		pipe := &pipes{make(chan net.Conn), make(chan struct{})}
		defer pipe.Close()
		go pipe.dial(t)
		time.AfterFunc(time.Minute, func() { l.remove(busy) })
		accepted, err := l.listen(pipe, false).Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got, due := l.replaceableLocked(time.Now()); got != nil || due != silentGrace {
			t.Errorf("%p of %p is replaceable, due in %v", got, accepted, due)
		}
	})
}

func TestServer_Run_MaxPerAddress(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		addr := serve(t, on(Config{Handler: greets, MaxPerAddress: 2}))
		conns := make([]net.Conn, 3)
		for i := range conns {
			conns[i] = apitest.Dial(t, addr)
		}
		if received := apitest.HungUp(t, conns[2]); received != "" {
			t.Errorf("the third connection received %q", received)
		}
		for _, conn := range conns[:2] {
			apitest.Say(t, conn, strings.Replace(hello, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
			if received := apitest.HungUp(t, conn); !strings.HasSuffix(received, "hello") {
				t.Errorf("the client received %q", received)
			}
		}
		// A closed connection makes room.
		for {
			conn := apitest.Dial(t, addr)
			_, _ = io.WriteString(conn, hello)
			if resp := make([]byte, 8); func() bool { _, err := io.ReadFull(conn, resp); return err == nil }() {
				break
			}
		}
	})
}

type remote struct {
	net.Conn
	addr netip.AddrPort
}

func (r remote) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(r.addr) }

func TestAddressOf_Networks(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7:1": "192.0.2.7/32", "[::ffff:192.0.2.7]:1": "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:1": "2001:db8:1:2::/64", "[fe80::1%eth0]:1": "fe80::/64",
	} {
		if got := addressOf(remote{addr: netip.MustParseAddrPort(addr)}).String(); got != want {
			t.Errorf("%s is counted as %s, want %s", addr, got, want)
		}
	}
}

// Connections without a complete request delay the end of the server by a second.
func TestServer_Run_DrainsNewcomers(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		for _, beginning := range []string{"", "GET / HTTP/1.1\r\n"} {
			inBubble(t, on(Config{Handler: greets}), func(t *testing.T, ln *pipes, stop func() error) {
				conn := ln.dial(t)
				if beginning != "" {
					_, _ = io.WriteString(conn, beginning)
				}
				start := time.Now()
				if err := stop(); err != nil || time.Since(start) > 2*time.Second {
					t.Errorf("after %q Run returned %v after %s", beginning, err, time.Since(start))
				}
			})
		}
	})
}

// Idle connections do not delay the end of the server.
func TestServer_Run_DrainsIdleConnections(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		inBubble(t, on(Config{Handler: greets}), func(t *testing.T, ln *pipes, stop func() error) {
			conn := ln.dial(t)
			go io.WriteString(conn, hello) // read below
			r := bufio.NewReader(conn)
			expectHello(t, r)
			time.Sleep(10 * time.Second)
			start := time.Now()
			if err := stop(); err != nil || time.Since(start) > time.Second {
				t.Errorf("Run returned %v after %s", err, time.Since(start))
			}
		})
	})
}

// closes is a connection that can be closed.
type closes struct{ net.Conn }

func (closes) Close() error { return nil }
