package httpserver

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

func TestHTTP1_LongHead(t *testing.T) {
	addr := serve(t, engines["http1"](Config{Handler: greets}))
	get := func(lines string) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n" }
	long := get("Cookie: " + strings.Repeat("a", 20<<10) + "\r\n")

	// Many on a connection, also pipelined with short ones.
	conn := apitest.Dial(t, addr)
	in := bufio.NewReader(conn)
	for range 3 {
		apitest.Say(t, conn, long)
		if resp, _ := apitest.Hear(t, in); resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
		apitest.Say(t, conn, hello+long+hello+hello+long)
		for range 5 {
			if resp, _ := apitest.Hear(t, in); resp.StatusCode != http.StatusOK {
				t.Error(resp.Status)
			}
		}
	}

	for n, want := range map[int]int{maxHeadLines - 1: 200, maxHeadLines: 431, 7000: 431} { // and Host
		conn := apitest.Dial(t, addr)
		apitest.Say(t, conn, get(strings.Repeat("a:\r\n", n)))
		if resp, _ := apitest.Hear(t, bufio.NewReader(conn)); resp.StatusCode != want {
			t.Errorf("%d lines: %s, want %d", n, resp.Status, want)
		}
	}
}

func TestNetHTTP_HeadLines(t *testing.T) {
	addr := serve(t, Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})})
	get := func(n int) string { return "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("a:\r\n", n-1) + "\r\n" }
	body := strings.Repeat("a line\n", 1000)
	post := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)

	conn := apitest.Dial(t, addr)
	in := bufio.NewReader(conn)
	for range 3 { // bodies are not counted, whatever comes before and after them
		for _, text := range []string{get(maxHeadLines), post, hello} {
			apitest.Say(t, conn, text)
			if resp, got := apitest.Hear(t, in); resp.StatusCode != http.StatusOK {
				t.Error(resp.Status, got)
			}
		}
	}
	apitest.Say(t, conn, get(maxHeadLines+1))
	if resp, _ := apitest.Hear(t, in); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a line too many: %s", resp.Status)
	}
	// A head that never ends is cut off at once.
	conn = apitest.Dial(t, addr)
	apitest.Say(t, conn, strings.TrimSuffix(get(maxHeadLines+1), "\r\n"))
	if got := apitest.HungUp(t, conn); !strings.Contains(got, "more than 100 request header lines") {
		t.Errorf("an incomplete head: %q", got)
	}
	// A beginning like that of HTTP/2, and empty lines between requests, change nothing.
	for name, beginning := range map[string][]string{
		"a method PRI":    {"PRI / HTTP/1.1\r\nHost: a\r\n\r\n"},
		"a false preface": {"PRI * HTTP/2.0\r\nHost: a\r\n\r\n"},
		"an empty line":   {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "\r\n"},
	} {
		conn := apitest.Dial(t, addr)
		apitest.Say(t, conn, beginning[0])
		apitest.Hear(t, bufio.NewReader(conn))
		apitest.Say(t, conn, strings.Join(beginning[1:], "")+strings.TrimSuffix(get(maxHeadLines+1), "\r\n"))
		if got := apitest.HungUp(t, conn); !strings.Contains(got, "more than 100 request header lines") {
			t.Errorf("%s, then a line too many: %q", name, got)
		}
	}
	// Frames of HTTP/2 have no lines.
	client := apitest.H2CClient(t)
	for range 3 {
		resp, err := client.Post("http://"+addr, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != fmt.Sprintf("%d <nil>", len(body)) {
			t.Errorf("HTTP/2: %s, %q, %v", resp.Proto, got, err)
		}
		resp.Body.Close()
	}
}

// What begins like HTTP/2 and goes on like HTTP/1.1 is closed.
func TestHTTP1_FalsePreface(t *testing.T) {
	conn := apitest.Dial(t, serve(t, engines["http1"](Config{Handler: greets})))
	apitest.Say(t, conn, "PRI * HTTP/2.0\r\nHost: a\r\n"+strings.Repeat("a:\r\n", 2*maxHeadLines)+"\r\n")
	if got := apitest.HungUp(t, conn); strings.Contains(got, "HTTP/1.1") {
		t.Errorf("answered: %q", got)
	}
}

// A connection that waits for its next request keeps nothing of a long one, and incomplete heads are
// limited.
func TestHTTP1_LongHead_Memory(t *testing.T) {
	const n = 200
	addr := serve(t, engines["http1"](Config{Handler: greets}))
	requests := [...]string{
		"GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("abcd: "+strings.Repeat("x", 240)+"\r\n", 99) + "\r\n",
		"GET /" + strings.Repeat("x", 30<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n",
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		conn := apitest.Dial(t, addr)
		apitest.Say(t, conn, requests[i%len(requests)])
		if resp, _ := apitest.Hear(t, bufio.NewReader(conn)); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
		// What the request took is given back before the next one is read.
		apitest.Say(t, conn, "G")
	}
	time.Sleep(100 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n; each > 20<<10 {
		t.Errorf("a connection keeps %d bytes", each)
	}
}

func TestHTTP1_LongHead_Limit(t *testing.T) {
	s, err := New(engines["http1"](Config{Handler: greets}))
	if err != nil {
		t.Fatal(err)
	}
	addr := apitest.Serve(t, s.Run)
	long := "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("a", 20<<10)
	ask := func(text string) int {
		conn := apitest.Dial(t, addr)
		defer conn.Close()
		apitest.Say(t, conn, text)
		resp, _ := apitest.Hear(t, bufio.NewReader(conn))
		return resp.StatusCode
	}
	s.http1.long.Store(maxLongHeads)
	if got := ask(long + "\r\n\r\n"); got != http.StatusServiceUnavailable {
		t.Errorf("a long head too many: %d", got)
	}
	if got := ask(hello); got != http.StatusOK {
		t.Errorf("a short head: %d", got)
	}
	s.http1.long.Store(maxLongHeads - 1)
	for range 3 { // given back each time, by the end of the request or of the connection
		if got := ask(long + "\r\n\r\n"); got != http.StatusOK {
			t.Errorf("the last long head: %d", got)
		}
		for late := time.Now().Add(20 * time.Second); s.http1.long.Load() != maxLongHeads-1; runtime.Gosched() {
			if time.Now().After(late) {
				t.Fatalf("%d long heads are counted after 20 s, want %d", s.http1.long.Load(), maxLongHeads-1)
			}
		}
	}
}
