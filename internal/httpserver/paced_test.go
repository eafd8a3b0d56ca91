package httpserver

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// h2Opening is the beginning of an HTTP/2 connection whose client takes no bytes of bodies
// (SETTINGS_INITIAL_WINDOW_SIZE 0), and a GET of "/".
const h2Opening = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
	"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x04\x00\x00\x00\x00" +
	"\x00\x00\x06\x01\x05\x00\x00\x00\x01" + "\x82\x86\x84\x41\x01a"

// A client that sends its request and reads nothing.
func TestPaced_Write_ClosesSilentReader(t *testing.T) {
	pace := Pace{Grace: 10 * time.Second, Rate: 1000, Step: 1000}
	for name, row := range map[string]struct {
		bytes int
		flush bool
	}{"long": {1 << 20, false}, "flushed": {100, true}, "buffered": {100, false}} {
		for _, protocol := range []string{"HTTP/1.1", "h2c"} {
			t.Run(protocol+" "+name, func(t *testing.T) {
				var ended chan error // made in the synctest bubble
				cfg := Config{Handler: Paced(pace, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, err := io.WriteString(w, strings.Repeat("a", row.bytes))
					if row.flush && err == nil {
						err = http.NewResponseController(w).Flush()
					}
					ended <- err
				}))}
				inBubble(t, cfg, func(t *testing.T, ln *pipes, stop func() error) {
					ended = make(chan error, 1)
					conn := ln.dial(t)
					if protocol == "h2c" {
						go io.Copy(io.Discard, conn) // its HTTP/2 window stays closed
						_, _ = io.WriteString(conn, h2Opening)
					} else {
						_, _ = io.WriteString(conn, hello)
					}
					start := time.Now()
					if err := <-ended; (err == nil) != (name == "buffered") {
						t.Errorf("writing: %v", err)
					}
					if err := stop(); err != nil || time.Since(start) > 13*time.Second {
						t.Errorf("Run returned %v after %s", err, time.Since(start))
					}
				})
			})
		}
	}
}

// A handler that pauses for longer than the grace between its writes loses nothing.
func TestPaced_Write_HandlerMayPause(t *testing.T) {
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			time.Sleep(time.Minute)
			_, _ = io.WriteString(w, "line\n")
			_ = http.NewResponseController(w).Flush()
		}
		time.Sleep(time.Minute)
	})
	inBubble(t, Config{Handler: Paced(Pace{}, slow)}, func(t *testing.T, ln *pipes, stop func() error) {
		conn := ln.dial(t)
		_, _ = io.WriteString(conn, hello)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		tr := h2c(t, ln)
		req, _ := http.NewRequest(http.MethodGet, "http://a/", nil)
		resp2, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		for _, resp := range []*http.Response{resp, resp2} {
			if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 15 {
				t.Errorf("%s: %q, %v", resp.Proto, body, err)
			}
			resp.Body.Close()
		}
		tr.CloseIdleConnections()
		synctest.Wait()
	})
}

// A WebSocket client that reads nothing is disconnected too.
func TestPaced_Hijack_ClosesSilentReader(t *testing.T) {
	var ended chan error // made in the synctest bubble
	cfg := Config{Handler: Paced(Pace{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, err = conn.Write(make([]byte, 32<<10))
		ended <- err
	}))}
	inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
		ended = make(chan error, 1)
		_, _ = io.WriteString(ln.dial(t), hello)
		start := time.Now()
		select {
		case err := <-ended:
			if took := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || took > 18*time.Second {
				t.Errorf("%v after %s", err, took)
			}
		case <-time.After(time.Hour):
			t.Error("the connection of a client that reads nothing is open after an hour")
		}
	})
}
