package httpserver

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

// responderFunc is a Responder.
type responderFunc func(r *Request, w *Response)

func (f responderFunc) Respond(r *Request, w *Response) { f(r, w) }

// answer says hello.
func answer(w *Response) {
	pace := Pace{}.WithDefaults()
	_, _ = w.Send(http.StatusOK, []byte("hello"), &pace)
}

// expectHello reads one answer.
func expectHello(t *testing.T, r *bufio.Reader) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); string(body) != "hello" || err != nil {
		t.Errorf("%s %q, %v", resp.Status, body, err)
	}
}

func TestWatched_Done_ClientLeaves(t *testing.T) {
	var ended chan error // made in the synctest bubble
	cfg := Config{Responder: responderFunc(func(r *Request, w *Response) {
		select {
		case <-r.Context().Done():
			ended <- r.Context().Err()
		case <-time.After(time.Hour):
			ended <- nil
		}
		answer(w)
	})}
	inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
		ended = make(chan error, 1)
		conn := ln.dial(t)
		_, _ = io.WriteString(conn, hello)
		synctest.Wait()
		_ = conn.Close()
		if err := <-ended; err != context.Canceled {
			t.Errorf("the context ended with %v", err)
		}
	})
}

// A request that arrives while the server waits for the end of another one is read after it,
// however much of it has arrived.
func TestWatched_Done_KeepsNextRequest(t *testing.T) {
	for _, first := range []string{"", "G", hello[:len(hello)-1], hello, hello + hello} {
		wait := time.Hour // longer than any deadline
		cfg := Config{IdleTimeout: time.Minute, Responder: responderFunc(func(r *Request, w *Response) {
			select {
			case <-r.Context().Done():
				t.Error("the client has not left")
			case <-time.After(wait):
			}
			wait = time.Second // shorter than what moves a deadline
			answer(w)
		})}
		inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
			conn := ln.dial(t)
			go io.WriteString(conn, hello+first) // read below
			r := bufio.NewReader(conn)
			synctest.Wait()
			go io.WriteString(conn, (hello + hello)[len(first):]) // read below
			for range 3 {
				expectHello(t, r)
			}
			// The deadline for the next request is set again.
			if took := closedAfter(t, r); took != time.Minute {
				t.Errorf("the connection was closed after %s", took)
			}
		})
	}
}

func TestWatched_NotWatchedWithoutDone(t *testing.T) {
	var of []*watched
	cfg := Config{Responder: responderFunc(func(r *Request, w *Response) {
		ctx := r.Context().(*watched)
		if ctx.Err() != nil || ctx.Value("key") != nil {
			t.Error("the context has ended, or has a value")
		}
		of = append(of, ctx)
		answer(w)
	})}
	inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
		conn := ln.dial(t)
		go io.WriteString(conn, hello+hello) // read below
		r := bufio.NewReader(conn)
		expectHello(t, r)
		expectHello(t, r)
		synctest.Wait()
		for _, ctx := range of {
			if ctx.ended != nil {
				t.Error("a goroutine watched the connection")
			}
			select {
			case <-ctx.Done():
			default:
				t.Error("the context is not done after the answer")
			}
			if ctx.Err() != context.Canceled {
				t.Error(ctx.Err())
			}
		}
	})
}

// Heads come in any number of parts, also those that need a larger buffer.
func TestServer_Run_HeadInParts(t *testing.T) {
	long := "GET /b HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 20<<10) + "\r\n\r\n"
	for _, part := range []int{1, 7, 4095, 4096, 4097, 1 << 20} {
		onBoth(t, func(t *testing.T, on engine) {
			inBubble(t, on(Config{Handler: greets}), func(t *testing.T, ln *pipes, _ func() error) {
				conn := ln.dial(t)
				go func() {
					for rest := hello + long + hello + long; rest != ""; {
						n := min(part, len(rest))
						_, _ = io.WriteString(conn, rest[:n])
						rest = rest[n:]
					}
				}()
				r := bufio.NewReader(conn)
				for range 4 {
					expectHello(t, r)
				}
			})
		})
	}
}

// The head of a later request has its own deadline.
func TestServer_Run_HeaderTimeoutOfNextRequest(t *testing.T) {
	cfg := engines["http1"](Config{Handler: greets})
	inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
		conn := ln.dial(t)
		r := bufio.NewReader(conn)
		go io.WriteString(conn, hello) // read below
		expectHello(t, r)
		time.Sleep(time.Minute)
		_, _ = io.WriteString(conn, hello[:10])
		if took := closedAfter(t, r); took != 10*time.Second {
			t.Errorf("the connection was closed after %s", took)
		}
	})
}

// A panic closes its own connection, and no other.
func TestServer_Run_Panic(t *testing.T) {
	for name, row := range map[string]responderFunc{
		"before the answer": func(*Request, *Response) { panic("out of order") },
		"no answer":         func(*Request, *Response) {},
		"aborted":           func(*Request, *Response) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Config{Responder: responderFunc(func(r *Request, w *Response) {
				if r.Target == "/" {
					answer(w)
					return
				}
				row(r, w)
			})}
			inBubble(t, cfg, func(t *testing.T, ln *pipes, _ func() error) {
				conn, other := ln.dial(t), ln.dial(t)
				go io.WriteString(conn, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n") // read below
				if took := closedAfter(t, conn); took != 0 {
					t.Errorf("the connection was closed after %s, want 0", took)
				}
				go io.WriteString(other, hello) // read below
				expectHello(t, bufio.NewReader(other))
			})
		})
	}
}

// A line end within a value does not end its header line.
func TestResponse_Set_ControlCharacters(t *testing.T) {
	w := Response{}
	w.Set(NewName("A"), "b\r\nSet-Cookie: c\x00\x7f\td")
	w.SetBytes(NewName("E"), []byte("f\ng"))
	if got, want := string(w.lines), "A: b  Set-Cookie: c  \td\r\nE: f g\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range []string{"", "a b", "a:", "a\r\n", "ä", "a\x00"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is a name", name)
				}
			}()
			NewName(name)
		}()
	}
}

// A body is sent whole, whatever the step of its Pace.
func TestResponse_Send_SmallSteps(t *testing.T) {
	body := strings.Repeat("hello ", 1000)
	addr := serve(t, Config{Responder: responderFunc(func(_ *Request, w *Response) {
		pace := Pace{Step: 1000}.WithDefaults()
		_, _ = w.Send(http.StatusOK, []byte(body), &pace)
	})})
	conn := apitest.Dial(t, addr)
	in := bufio.NewReader(conn)
	for range 2 {
		apitest.Say(t, conn, hello)
		if resp, got := apitest.Hear(t, in); resp.StatusCode != http.StatusOK || got != body {
			t.Errorf("%s, %d bytes", resp.Status, len(got))
		}
	}
}
