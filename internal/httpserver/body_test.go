package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are pipes, so that a server runs in the fake time of
// synctest.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	p.accepted <- theirs
	t.Cleanup(func() { ours.Close() })
	return ours
}

// inBubble runs a server and the test of it in a synctest bubble. stop ends the server and
// returns what Run returned.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, ln *pipes, stop func() error)) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ln := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx, ln) }()
		stop := func() error {
			cancel()
			err := <-ended
			ended <- err
			return err
		}
		test(t, ln, stop)
		_ = stop()
	})
}

// closedAfter returns the time until the end of r.
func closedAfter(t *testing.T, r io.Reader) time.Duration {
	t.Helper()
	start := time.Now()
	if n, err := io.Copy(io.Discard, r); n != 0 || err != nil {
		t.Errorf("%d more bytes, %v", n, err)
	}
	return time.Since(start)
}

func TestServer_Run_ClosesUnreadBody(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		for name, body := range map[string]string{
			"length":          "Content-Length: 5\r\n\r\n",
			"length, begun":   "Content-Length: 5\r\n\r\nab",
			"long":            "Content-Length: 300000\r\n\r\n",
			"endless":         "Content-Length: 9223372036854775807\r\n\r\n",
			"chunked":         "Transfer-Encoding: chunked\r\n\r\n",
			"chunked, begun":  "Transfer-Encoding: chunked\r\n\r\n5\r\nab",
			"chunked, size":   "Transfer-Encoding: chunked\r\n\r\n0000",
			"trailers":        "Transfer-Encoding: chunked\r\nTrailer: A\r\n\r\n0\r\nA: b",
			"expect":          "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
			"whole":           "Content-Length: 5\r\n\r\nabcde",
			"whole and again": "Content-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				t.Run(method+" "+name, func(t *testing.T) {
					cfg := on(Config{Handler: greets})
					inBubble(t, cfg, func(t *testing.T, ln *pipes, stop func() error) {
						conn := ln.dial(t)
						// may be cut
						go io.WriteString(conn, method+" / HTTP/1.1\r\nHost: a\r\n"+body)
						r := bufio.NewReader(conn)
						start := time.Now()
						resp, err := http.ReadResponse(r, &http.Request{Method: method})
						if err != nil {
							t.Fatal(err)
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						if waited := time.Since(start); !resp.Close || resp.StatusCode != 200 || waited > 0 {
							t.Errorf("%s, close %v, after %s", resp.Status, resp.Close, waited)
						}
						if took := closedAfter(t, r); took > time.Second {
							t.Errorf("the connection was closed after %s", took)
						}
					})
				})
			}
		}
	})
}

// A client that reads the end of an answer late does not lose its next request.
func TestServer_Run_ContextAfterSlowAnswer(t *testing.T) {
	cfg := Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Context().Err())
	})}
	inBubble(t, cfg, func(t *testing.T, ln *pipes, stop func() error) {
		conn := ln.dial(t)
		r := bufio.NewReader(conn)
		for range 3 {
			_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na")
			time.Sleep(time.Second)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if text, _ := io.ReadAll(resp.Body); string(text) != "<nil>" {
				t.Errorf("the context of the request: %s", text)
			}
		}
	})
}

func TestServer_Run_DrainsUnreadBody(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		inBubble(t, on(Config{Handler: greets}), func(t *testing.T, ln *pipes, stop func() error) {
			conn := ln.dial(t)
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1024))
			start := time.Now()
			if err := stop(); err != nil || time.Since(start) > 2*time.Second {
				t.Errorf("Run returned %v after %s", err, time.Since(start))
			}
		})
	})
}

// reads is a handler that reads the whole body and answers its length, or 408.
var reads = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.WriteHeader(http.StatusRequestTimeout)
	}
	_, _ = io.WriteString(w, strings.Repeat("+", len(body)))
})

func TestServer_Run_BodyPace(t *testing.T) {
	const grace = 10 * time.Second
	for name, row := range map[string]struct {
		parts  int
		size   int
		every  time.Duration
		status int
		took   time.Duration // until the answer, at most
	}{
		"at once":      {1, 1000, 0, 200, 0},
		"steady":       {100, 10, 500 * time.Millisecond, 200, 50 * time.Second},
		"trickle":      {100, 1, 2 * time.Second, 408, grace + time.Second},
		"stall":        {2, 900, time.Hour, 408, grace},
		"stall at end": {100, 10, 9900 * time.Millisecond, 408, 20 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Handler: reads, BodyPace: Pace{Grace: grace, Rate: 10}}
			inBubble(t, cfg, func(t *testing.T, ln *pipes, stop func() error) {
				conn := ln.dial(t)
				start := time.Now()
				sent := make(chan struct{})
				go func() {
					defer close(sent)
					_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
					chunk := strconv.FormatInt(int64(row.size), 16) + "\r\n" + strings.Repeat("a", row.size) + "\r\n"
					for range row.parts {
						if _, err := io.WriteString(conn, chunk); err != nil {
							return
						}
						time.Sleep(row.every)
					}
					_, _ = io.WriteString(conn, "0\r\n\r\n")
				}()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if took := time.Since(start); resp.StatusCode != row.status || took > row.took {
					t.Errorf("%d after %s", resp.StatusCode, took)
				}
				if resp.Close != (row.status != 200) {
					t.Errorf("close: %v", resp.Close)
				}
				conn.Close()
				<-sent
			})
		})
	}
}

// h2c returns a client that speaks HTTP/2 over connections of ln.
func h2c(t *testing.T, ln *pipes) *http.Transport {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: &only}
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) { return ln.dial(t), nil }
	return tr
}

func TestServer_Run_ResetsUnreadBodyH2(t *testing.T) {
	onBoth(t, func(t *testing.T, on engine) {
		inBubble(t, on(Config{Handler: greets}), func(t *testing.T, ln *pipes, stop func() error) {
			tr := h2c(t, ln)
			body, never := io.Pipe()
			defer never.Close()
			req, _ := http.NewRequest(http.MethodGet, "http://a/", body)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "hello" {
				t.Errorf("%q, %v", text, err)
			}
			resp.Body.Close()
			// The stream has ended, so it does not delay the end of the server.
			start := time.Now()
			if err := stop(); err != nil || time.Since(start) > 2*time.Second {
				t.Errorf("Run returned %v after %s", err, time.Since(start))
			}
			tr.CloseIdleConnections()
		})
	})
}

func TestServer_Run_BodyPaceH2(t *testing.T) {
	inBubble(t, Config{Handler: reads}, func(t *testing.T, ln *pipes, stop func() error) {
		tr := h2c(t, ln)
		body, w := io.Pipe()
		go func() { _, _ = w.Write([]byte("a")) }()
		req, _ := http.NewRequest(http.MethodPost, "http://a/", body)
		start := time.Now()
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); resp.StatusCode != 408 || took > 10*time.Second {
			t.Errorf("%s after %s", resp.Status, took)
		}
		resp.Body.Close()
		w.Close()
		tr.CloseIdleConnections()
	})
}

// A body that stalls while the server drains is abandoned after a second, one that continues is
// read.
func TestServer_Run_DrainsBodies(t *testing.T) {
	for name, row := range map[string]struct {
		parts  int
		status int
	}{"stalled": {0, 408}, "steady": {50, 200}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, Config{Handler: reads}, func(t *testing.T, ln *pipes, stop func() error) {
				conn := ln.dial(t)
				_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
				synctest.Wait()
				start := time.Now()
				go func() {
					for range row.parts {
						_, _ = io.WriteString(conn, strings.Repeat("a", 1000))
						time.Sleep(100 * time.Millisecond)
					}
				}()
				status := make(chan int, 1)
				go func() {
					resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
					if err != nil {
						t.Error(err)
					} else {
						status <- resp.StatusCode
						_, _ = io.Copy(io.Discard, resp.Body)
					}
					conn.Close()
				}()
				limit := 2*time.Second + time.Duration(row.parts)*100*time.Millisecond
				if err := stop(); err != nil || time.Since(start) > limit {
					t.Errorf("Run returned %v after %s", err, time.Since(start))
				}
				if got := <-status; got != row.status {
					t.Errorf("status %d, want %d", got, row.status)
				}
			})
		})
	}
}
