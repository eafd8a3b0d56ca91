package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

const hello = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

var greets = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })

// serve runs a server until the test ends, and returns the address.
func serve(t *testing.T, cfg Config) string {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Serve(t, s.Run)
}

func TestServer_Run_HeaderTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		addr := serve(t, on(Config{Handler: greets, HeaderTimeout: 100 * time.Millisecond}))
		for _, beginning := range []string{"", "G", "GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP"} {
			conn := apitest.Dial(t, addr)
			apitest.Say(t, conn, beginning)
			if received := apitest.HungUp(t, conn); strings.Contains(received, "200") {
				t.Errorf("after %q it said %q", beginning, received)
			}
		}
		// Sending a byte now and then does not keep it open either.
		conn := apitest.Dial(t, addr)
		done := make(chan struct{})
		go func() {
			defer close(done)
			say := "GET / HTTP/1.1\r\nX: " + strings.Repeat("a", 10_000)
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for i := range len(say) {
				if _, err := conn.Write([]byte{say[i]}); err != nil {
					return
				}
				<-tick.C
			}
		}()
		apitest.HungUp(t, conn)
		conn.Close()
		<-done
	})
}

func TestServer_Run_IdleTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		addr := serve(t, on(Config{Handler: greets, IdleTimeout: 50 * time.Millisecond}))
		conn := apitest.Dial(t, addr)
		r := bufio.NewReader(conn)
		apitest.Say(t, conn, hello)
		if _, body := apitest.Hear(t, r); body != "hello" {
			t.Fatal(body)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("reading on: %v, want the end", err)
		}
	})
}

func TestServer_Run_MaxHeaderBytes(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		addr := serve(t, on(Config{Handler: greets, MaxHeaderBytes: 8 << 10}))
		for size, want := range map[int]int{7 << 10: 200, 9 << 10: 431} {
			conn := apitest.Dial(t, addr)
			apitest.Say(t, conn, "GET / HTTP/1.1\r\nHost: a\r\nCookie: "+strings.Repeat("a", size)+"\r\n\r\n")
			if resp, _ := apitest.Hear(t, bufio.NewReader(conn)); resp.StatusCode != want {
				t.Errorf("headers of %d bytes: %d, want %d", size, resp.StatusCode, want)
			}
		}
	})
}

// The server notices that a connection is idle a moment after its client has read the answer, so
// the client cannot tell which of two has been idle longest.
func TestServer_Run_ReplacesIdleConnection(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		addr := serve(t, on(Config{Handler: greets, MaxConnections: 2}))
		conns := make([]net.Conn, 3)
		for i := range conns {
			conns[i] = apitest.Dial(t, addr)
			apitest.Say(t, conns[i], hello)
			apitest.Hear(t, bufio.NewReader(conns[i]))
		}
		closed := make(chan int, 2)
		for i, conn := range conns[:2] {
			go func() {
				var one [1]byte
				if _, err := conn.Read(one[:]); err == io.EOF {
					closed <- i
				}
			}()
		}
		out := <-closed
		for _, conn := range []net.Conn{conns[1-out], conns[2]} {
			// The goroutine above reads the first byte of one of the answers.
			apitest.Say(t, conn, hello)
		}
		if resp, _ := apitest.Hear(t, bufio.NewReader(conns[2])); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
	})
}

func TestServer_Run_ReplacesLongestIdle(t *testing.T) {
	l := newConnLimit(3, 0)
	var conns []*conn
	for _, since := range []int64{30, 10, 20, 0} {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		c := &conn{Conn: ours, limit: l}
		c.idleSince.Store(since)
		l.open[c] = struct{}{}
		conns = append(conns, c)
	}
	for _, want := range []*conn{conns[1], conns[2], conns[0], nil} {
		l.mu.Lock()
		got := l.longestIdleLocked()
		l.mu.Unlock()
		if got != want {
			t.Fatalf("%v, want the one that has been idle longest", got)
		}
	}
}

func TestServer_Run_WaitsWhenAllBusy(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		entered, leave := make(chan struct{}), make(chan struct{})
		var running, most atomic.Int32
		h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			entered <- struct{}{}
			<-leave
			running.Add(-1)
			fmt.Fprint(w, "hello")
		})
		addr := serve(t, on(Config{Handler: h, MaxConnections: 2}))
		var conns []net.Conn
		for range 5 {
			conn := apitest.Dial(t, addr)
			apitest.Say(t, conn, hello)
			conns = append(conns, conn)
		}
		<-entered
		<-entered
		for range conns {
			leave <- struct{}{}
			if running.Load() > 2 {
				t.Error("more are served than may be")
			}
			select {
			case <-entered:
			default:
				go func() { <-entered }()
			}
		}
		for _, conn := range conns {
			if resp, body := apitest.Hear(t, bufio.NewReader(conn)); resp.StatusCode != 200 || body != "hello" {
				t.Errorf("%s %q", resp.Status, body)
			}
		}
		if most.Load() != 2 {
			t.Errorf("%d were served at once, want 2", most.Load())
		}
	})
}

// running is a server that a test ends itself.
type running struct {
	addr  string
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T, cfg Config) *running {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{addr: ln.Addr().String(), stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- s.Run(ctx, ln) }()
	return r
}

// stall is a handler that reports when it was called, and answers when the test releases it, unless
// its request's context ends first.
type stall struct{ entered, leave chan struct{} }

func (s stall) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.entered <- struct{}{}
	select {
	case <-s.leave:
		fmt.Fprint(w, strings.Repeat("whole", 100_000))
	case <-r.Context().Done():
	}
}

func TestServer_Run_DrainsRequests(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		for name, client := range map[string]func(t *testing.T) *http.Client{
			"HTTP/1.1": func(*testing.T) *http.Client { return &http.Client{Transport: &http.Transport{}} },
			"h2c":      apitest.H2CClient,
		} {
			t.Run(name, func(t *testing.T) {
				h := stall{make(chan struct{}), make(chan struct{})}
				s := run(t, on(Config{Handler: h}))
				c := client(t)
				got := make(chan error, 3)
				for range 3 {
					go func() {
						resp, err := c.Get("http://" + s.addr)
						if err == nil {
							var body []byte
							if body, err = io.ReadAll(resp.Body); err == nil && len(body) != 500_000 {
								err = fmt.Errorf("%d bytes", len(body))
							}
							resp.Body.Close()
						}
						got <- err
					}()
					<-h.entered
				}
				s.stop()
				// New connections are refused,
				for {
					conn, err := net.Dial("tcp", s.addr)
					if err != nil {
						break
					}
					conn.Close()
				}
				// and a request that is being handled is answered completely.
				close(h.leave)
				for range 3 {
					if err := <-got; err != nil {
						t.Error(err)
					}
				}
				if err := <-s.ended; err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func TestServer_Run_DrainTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		h := stall{make(chan struct{}, 1), make(chan struct{})}
		s := run(t, on(Config{Handler: h, DrainTimeout: 50 * time.Millisecond}))
		conn := apitest.Dial(t, s.addr)
		apitest.Say(t, conn, hello)
		<-h.entered
		s.stop()
		if err := <-s.ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run ended with %v", err)
		}
		apitest.HungUp(t, conn)
	})
}

func TestServer_Run_Linger(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		s := run(t, on(Config{Handler: greets, Linger: time.Hour}))
		conn := apitest.Dial(t, s.addr)
		r := bufio.NewReader(conn)
		apitest.Say(t, conn, hello)
		if resp, _ := apitest.Hear(t, r); resp.Close {
			t.Error("a server that is not ending closes the connection")
		}
		s.stop()
		for { // until Run has seen it
			c := apitest.Dial(t, s.addr)
			apitest.Say(t, c, hello)
			resp, body := apitest.Hear(t, bufio.NewReader(c))
			if body != "hello" {
				t.Fatal(body)
			}
			if resp.Close {
				break
			}
		}
		apitest.Say(t, conn, hello)
		if resp, body := apitest.Hear(t, r); !resp.Close || body != "hello" {
			t.Errorf("the old connection: close %v, %q", resp.Close, body)
		}
	})
}

func TestServer_Run_ServeError(t *testing.T) {
	s, err := New(Config{Handler: greets})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := s.Run(t.Context(), ln); !errors.Is(err, net.ErrClosed) ||
		!strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("Run: %v", err)
	}
	for _, cfg := range []Config{
		{}, {Handler: greets, CertFile: "a.pem"}, {Handler: greets, KeyFile: "a.key"},
		{Handler: greets, CertFile: "none.pem", KeyFile: "none.key"},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("New(%+v) found no fault", cfg)
		}
	}
}

func TestServer_Run_H2C(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		proto := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) })
		addr := serve(t, on(Config{Handler: proto}))
		resp, err := apitest.H2CClient(t).Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); string(body) != "HTTP/2.0" {
			t.Errorf("protocol %s, want HTTP/2.0", body)
		}
	})
}

// The first frame of an HTTP/2 server is SETTINGS; its SETTINGS_MAX_CONCURRENT_STREAMS (3) is
// what net/http then enforces.
func TestServer_Run_Streams(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		conn := apitest.Dial(t, serve(t, on(Config{Handler: greets, Streams: 100})))
		apitest.Say(t, conn, h2Opening)
		var head [9]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil || head[3] != 4 {
			t.Fatalf("% x, %v: not SETTINGS", head, err)
		}
		payload := make([]byte, int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(conn, payload); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(payload), "\x00\x03\x00\x00\x00\x64") {
			t.Errorf("SETTINGS % x do not allow 100 streams", payload)
		}
	})
}

// Requests of all connections together are bounded. HTTP/1 clients are served meanwhile.
func TestServer_Run_MaxStreams(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		var begun, finish chan struct{} // made in the synctest bubble
		const problem = `{"code":"overloaded"}`
		refused := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, problem)
		})
		answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor == 2 {
				begun <- struct{}{}
				select {
				case <-finish:
				case <-time.After(time.Minute):
				}
			}
			_, _ = io.WriteString(w, "hello")
		})
		want := problem
		check := func(t *testing.T, ln *pipes, _ func() error) {
			begun, finish = make(chan struct{}, 4), make(chan struct{})
			get := func(tr *http.Transport) (status int, body string) {
				defer tr.CloseIdleConnections()
				req, _ := http.NewRequest(http.MethodGet, "http://a/", nil)
				resp, err := tr.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return 0, ""
				}
				defer resp.Body.Close()
				text, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Error(err)
				}
				return resp.StatusCode, string(text)
			}
			held := make(chan int)
			for range 2 {
				go func() {
					status, _ := get(h2c(t, ln))
					held <- status
				}()
				<-begun
			}
			if status, body := get(h2c(t, ln)); status != 503 || body != want {
				t.Errorf("the third was answered %d, %q", status, body)
			}
			conn := ln.dial(t)
			_, _ = io.WriteString(conn, hello)
			if _, body := apitest.Hear(t, bufio.NewReader(conn)); body != "hello" {
				t.Errorf("HTTP/1 meanwhile: %q", body)
			}
			close(finish)
			for range 2 {
				if status := <-held; status != 200 {
					t.Errorf("a request within the limit: status %d", status)
				}
			}
			if status, _ := get(h2c(t, ln)); status != 200 {
				t.Errorf("a request after the others ended: status %d", status)
			}
		}
		inBubble(t, on(Config{MaxStreams: 2, Overloaded: refused, Handler: answer}), check)
		want = "too many HTTP/2 requests at once\n"
		inBubble(t, on(Config{MaxStreams: 2, Handler: answer}), check)
	})
}

// A client that reads no body cannot keep the answer of a refused request open.
func TestServer_Run_MaxStreams_CutsSilentReader(t *testing.T) {
	var answered chan struct{} // made in the synctest bubble
	cfg := Config{
		MaxStreams: 1,
		Handler:    http.HandlerFunc(func(http.ResponseWriter, *http.Request) { answered <- struct{}{}; <-answered }),
		Overloaded: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "later")
		}),
	}
	inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
		answered = make(chan struct{})
		go func() {
			tr := h2c(t, ln)
			defer tr.CloseIdleConnections()
			req, _ := http.NewRequest(http.MethodGet, "http://a/", nil)
			if resp, err := tr.RoundTrip(req); err == nil {
				resp.Body.Close()
			}
		}()
		<-answered
		defer func() { answered <- struct{}{} }()

		conn := ln.dial(t)
		defer conn.Close()
		begun := time.Now()
		go func() {
			_, _ = io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+
				"\x00\x00\x06\x04\x00\x00\x00\x00\x00"+"\x00\x04\x00\x00\x00\x00"+ // SETTINGS_INITIAL_WINDOW_SIZE 0
				"\x00\x00\x06\x01\x05\x00\x00\x00\x01"+"\x82\x86\x84\x41\x01a") // GET http://a/ as stream 1
		}()
		const dataFrame, resetFrame = 0, 3
		for {
			head := make([]byte, 9) // RFC 9113, 4.1
			if _, err := io.ReadFull(conn, head); err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, conn, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
				t.Fatal(err)
			}
			if head[3] == dataFrame {
				t.Error("a body was sent into a closed window")
			}
			if head[3] == resetFrame {
				break
			}
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("the stream was reset after %s", took)
		}
	})
}

// Accept must not fail before connections are replaced.
func TestNew_FitsLimitOfOpenFiles(t *testing.T) {
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was) // it was like that
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 900, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	for wanted, want := range map[int]int{0: 300, 1000: 300, 100: 100} {
		s, err := New(Config{Handler: greets, MaxConnections: wanted})
		if err != nil {
			t.Fatal(err)
		}
		if s.limit.max != want {
			t.Errorf("%d connections wanted, limited to %d, want %d", wanted, s.limit.max, want)
		}
	}
}
