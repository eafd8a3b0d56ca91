package edge

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
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

// top is how net/http begins an answer.
const top = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"

func TestWhatIsGatheredGoesOutWholeAndInOrder(t *testing.T) {
	w := &wire{}
	c := &limitedConn{Conn: w}
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
	_, _ = io.WriteString(c, top)
	if err := c.release(); err != nil || strings.Join(w.writes, "") != "a"+top {
		t.Errorf("the wire has %q, %v", w.writes, err)
	}
}

func TestAnErrorOfWhatWasKeptBackIsTold(t *testing.T) {
	cut := errors.New("cut")
	c := &limitedConn{Conn: &wire{err: cut}}
	c.gather()
	_, _ = io.WriteString(c, top)
	if n, err := io.WriteString(c, "body"); n != 0 || !errors.Is(err, cut) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestLinesAreNotPutIntoWhatIsNoAnswer(t *testing.T) {
	for _, text := range []string{"HTTP/1.1 200 OK", "body\r\n", "\n", ""} {
		w := &wire{}
		c := &limitedConn{Conn: w}
		c.gathered.lines = []byte("A: 1\r\n")
		c.gather()
		if n, err := io.WriteString(c, text); n != 0 || err == nil || len(w.writes) != 0 {
			t.Errorf("%q: %d, %v, the wire has %q", text, n, err, w.writes)
		}
	}
}

// The map and the lines are two ways to send the same fields, whatever they are.
func TestGatheredAnswersHaveTheSameFieldsAsOthers(t *testing.T) {
	for _, live := range []bool{false, true} {
		for _, header := range []string{"X-Nothing: 1", "Range: bytes=100-99999"} {
			short, long := fieldsOfAnswer(t, live, header, 300), fieldsOfAnswer(t, live, header, 30_000)
			if !reflect.DeepEqual(short, long) {
				t.Errorf("%s: the map sends\n%v\nthe lines\n%v", header, short, long)
			}
		}
	}
}

// fieldsOfAnswer returns the header fields of an answer of so many bytes, or of a part of it,
// without those that are its own.
func fieldsOfAnswer(t *testing.T, live bool, header string, size int) http.Header {
	t.Helper()
	held := newFakeCache()
	cache := &constant{img: held.img, out: held.out}
	cache.img.ContentType = "image/x\r\nSet-Cookie: a=b\n"
	cache.img.Body = bytes.Repeat([]byte("x"), size)
	if live {
		cache.img.Fresh = imagecache.Freshness{Generated: time.Now(), Until: time.Now().Add(time.Hour)}
	}
	cfg := publicConfig(t, cache)
	cfg.TagHeader = "Surrogate-Key"
	conn := dial(t, serveHandler(t, ServerConfig{Handler: Public(cfg)}))
	say(t, conn, "GET "+signBytes(t, "/640x480/v.1/posts/cat.jpg.auto")+" HTTP/1.1\r\nHost: a\r\nX-Request-Id: 7\r\nConnection: close\r\n"+header+"\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.ContentLength != int64(len(body)) || len(body) < 200 || answer.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Fatalf("%d bytes announced, %d came: %v", answer.ContentLength, len(body), err)
	}
	if got := answer.Header.Get("Content-Type"); got != "image/x  Set-Cookie: a=b" {
		t.Errorf("Content-Type %q", got)
	}
	for _, own := range []string{"Date", "Content-Length", "Content-Range", "X-Request-Id", "Age"} {
		if (len(answer.Header[own]) != 1) != (own == "Content-Range" && answer.StatusCode == 200 || own == "Age" && !live) {
			t.Errorf("%d: %s %q", answer.StatusCode, own, answer.Header[own])
		}
		answer.Header.Del(own)
	}
	return answer.Header
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
