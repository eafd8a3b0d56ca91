package httpserver

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

// wire records what is written to it.
type wire struct {
	net.Conn
	writes []string
	err    error
}

func (w *wire) Close() error { return nil }

func (w *wire) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.writes = append(w.writes, string(p))
	return len(p), nil
}

// top is how net/http begins an answer.
const top = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"

func TestConn_Write_Gathers(t *testing.T) {
	w := &wire{}
	c := &conn{Conn: w}
	sent := ""
	for _, step := range []struct {
		gather      bool
		lines, text string
		goes        string // over the wire, now
	}{
		{false, "", "a", "a"},
		{true, "", top, ""},
		{false, "", "body", top + "body"},
		{false, "", "b", "b"},
		{true, "A: 1\r\nB: 2\r\n", top + "mo", ""},
		{false, "", "last", "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nContent-Length: 9\r\n\r\nmolast"},
		{false, "", top, top}, // not gathered: no lines
	} {
		if step.gather {
			c.gathered.lines = append(c.gathered.lines[:0], step.lines...)
			c.gather()
		}
		if n, err := io.WriteString(c, step.text); n != len(step.text) || err != nil {
			t.Errorf("write %q: %d, %v", step.text, n, err)
		}
		sent += step.goes
		if got := strings.Join(w.writes, ""); got != sent {
			t.Errorf("after %q the wire has %q, want %q", step.text, got, sent)
		}
	}
}

func TestConn_Release_SendsHeldWrite(t *testing.T) {
	w := &wire{}
	c := &conn{Conn: w}
	c.gather()
	if err := c.release(); err != nil || len(w.writes) != 0 {
		t.Errorf("with nothing kept back: %q, %v", w.writes, err)
	}
	_, _ = io.WriteString(c, "a")
	if len(w.writes) != 1 {
		t.Errorf("it gathers after its release: %q", w.writes)
	}
	c.gather()
	_, _ = io.WriteString(c, top)
	if err := c.release(); err != nil || strings.Join(w.writes, "") != "a"+top {
		t.Errorf("the wire has %q, %v", w.writes, err)
	}
}

func TestConn_Release_ReturnsError(t *testing.T) {
	cut := errors.New("cut")
	c := &conn{Conn: &wire{err: cut}}
	c.gather()
	_, _ = io.WriteString(c, top)
	if n, err := io.WriteString(c, "body"); n != 0 || !errors.Is(err, cut) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestConn_Write_RejectsMissingStatusLine(t *testing.T) {
	for _, text := range []string{"HTTP/1.1 200 OK", "body\r\n", "\n", ""} {
		w := &wire{}
		c := &conn{Conn: w}
		c.gathered.lines = []byte("A: 1\r\n")
		c.gather()
		if n, err := io.WriteString(c, text); n != 0 || err == nil || len(w.writes) != 0 {
			t.Errorf("%q: %d, %v, the wire has %q", text, n, err, w.writes)
		}
	}
}
