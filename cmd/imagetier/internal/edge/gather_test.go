package edge

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
)

// wire records what is written to it.
type wire struct {
	net.Conn
	writes []string
	err    error
}

func (w *wire) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	w.writes = append(w.writes, string(p))
	return len(p), nil
}

func TestWhatIsGatheredGoesOutWholeAndInOrder(t *testing.T) {
	w := &wire{}
	c := &limitedConn{Conn: w}
	for _, step := range []struct {
		gather bool
		text   string
		sent   string // so far
	}{
		{false, "a", "a"},
		{true, "head", "a"},
		{false, "body", "aheadbody"},
		{false, "b", "aheadbodyb"},
		{true, "more", "aheadbodyb"},
		{false, "last", "aheadbodybmorelast"},
	} {
		if step.gather {
			c.gather()
		}
		if n, err := io.WriteString(c, step.text); n != len(step.text) || err != nil {
			t.Errorf("write %q: %d, %v", step.text, n, err)
		}
		if sent := strings.Join(w.writes, ""); sent != step.sent {
			t.Errorf("after %q the wire has %q, want %q", step.text, sent, step.sent)
		}
	}
}

func TestReleaseSendsWhatIsKeptBack(t *testing.T) {
	w := &wire{}
	c := &limitedConn{Conn: w}
	c.gather()
	if err := c.release(); err != nil || len(w.writes) != 0 {
		t.Errorf("with nothing kept back: %q, %v", w.writes, err)
	}
	_, _ = io.WriteString(c, "a")
	if len(w.writes) != 1 {
		t.Errorf("it gathers after its release: %q", w.writes)
	}
	c.gather()
	_, _ = io.WriteString(c, "head")
	if err := c.release(); err != nil || strings.Join(w.writes, "") != "ahead" {
		t.Errorf("the wire has %q, %v", w.writes, err)
	}
}

func TestAnErrorOfWhatWasKeptBackIsTold(t *testing.T) {
	cut := errors.New("cut")
	c := &limitedConn{Conn: &wire{err: cut}}
	c.gather()
	_, _ = io.WriteString(c, "head")
	if n, err := io.WriteString(c, "body"); n != 0 || !errors.Is(err, cut) {
		t.Errorf("%d, %v", n, err)
	}
}

// writeCalls is how many times this process has asked the kernel to write.
func writeCalls(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("counting system calls needs /proc/self/io: ", err)
	}
	_, rest, _ := strings.Cut(string(b), "syscw: ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Skip("/proc/self/io has no syscw: ", err)
	}
	return n
}

func TestAnAnswerIsOneWrite(t *testing.T) {
	const rounds = 300
	cache := newFakeCache()
	cache.img.Body = bytes.Repeat([]byte("0123456789"), 2000)
	addr := serveHandler(t, ServerConfig{Handler: Public(publicConfig(t, cache))})
	conn := dial(t, addr)
	request := "GET " + signBytes(t, "/640x480/v.1/posts/cat.jpg.webp") + " HTTP/1.1\r\nHost: a\r\n\r\n"
	var length int
	answer := make([]byte, 64<<10)
	ask := func() {
		say(t, conn, request)
		if length == 0 { // the first tells how long they are
			for !bytes.HasSuffix(answer[:length], cache.img.Body) {
				n, err := conn.Read(answer[length:])
				if err != nil {
					t.Fatal(err)
				}
				length += n
			}
			return
		}
		if _, err := io.ReadFull(conn, answer[:length]); err != nil || !bytes.HasSuffix(answer[:length], cache.img.Body) {
			t.Fatalf("another answer: %v", err)
		}
	}
	ask()
	before := writeCalls(t)
	for range rounds {
		ask()
	}
	// One write asks, one answers; the runtime wakes itself with some more.
	if each := float64(writeCalls(t)-before) / rounds; each > 2.6 {
		t.Errorf("%.2f writes for a request and its answer, want 2", each)
	}
}

func TestAHeadHasNoBodyToGather(t *testing.T) {
	cache := newFakeCache()
	cache.img.Body = large
	addr := serveHandler(t, ServerConfig{Handler: Public(publicConfig(t, cache))})
	resp, err := http.Head("http://" + addr + signBytes(t, "/640x480/v.1/posts/cat.jpg.webp"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(large)) {
		t.Errorf("%s, %d bytes", resp.Status, resp.ContentLength)
	}
}
