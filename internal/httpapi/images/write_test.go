package images

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
)

// Both engines send the same fields, for every answer and every length of its body.
func TestHandler_Respond_SameFields(t *testing.T) {
	for _, live := range []bool{false, true} {
		for _, header := range []string{"X-Nothing: 1", "Range: bytes=100-99999"} {
			want := fieldsOfAnswer(t, 1, live, header, 300)
			for _, size := range []int{300, 30_000, 300_000} {
				if got := fieldsOfAnswer(t, 0, live, header, size); !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %d bytes:\n%v\nnet/http:\n%v", header, size, got, want)
				}
			}
		}
	}
}

// fieldsOfAnswer returns the header fields of an answer of that size, or of a part of it, without
// those that depend on the answer.
func fieldsOfAnswer(t *testing.T, engine int, live bool, header string, size int) http.Header {
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
	conn := apitest.Dial(t, serveBy(t, engines[engine].config(New(cfg))))
	apitest.Say(
		t,
		conn,
		"GET "+apitest.SignBytes(
			t,
			"/640x480/v.1/posts/cat.jpg.auto",
		)+" HTTP/1.1\r\nHost: a\r\nX-Request-Id: 7\r\nConnection: close\r\n"+header+"\r\n\r\n",
	)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.ContentLength != int64(len(body)) || len(body) < 200 ||
		answer.Header.Get("Content-Length") != strconv.Itoa(len(body)) {
		t.Fatalf("%d bytes announced, %d came: %v", answer.ContentLength, len(body), err)
	}
	if got := answer.Header.Get("Content-Type"); got != "image/x  Set-Cookie: a=b" {
		t.Errorf("Content-Type %q", got)
	}
	for _, own := range []string{"Date", "Content-Length", "Content-Range", "X-Request-Id", "Age"} {
		absent := own == "Content-Range" && answer.StatusCode == 200 || own == "Age" && !live
		if (len(answer.Header[own]) != 1) != absent {
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

func TestHandler_Respond_IsOneWrite(t *testing.T) {
	const rounds = 300
	cache := newFakeCache()
	cache.img.Body = bytes.Repeat([]byte("0123456789"), 2000)
	addr := serve(t, New(publicConfig(t, cache)))
	conn := apitest.Dial(t, addr)
	request := "GET " + apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp") + " HTTP/1.1\r\nHost: a\r\n\r\n"
	var length int
	answer := make([]byte, 64<<10)
	ask := func() {
		apitest.Say(t, conn, request)
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
		if _, err := io.ReadFull(conn, answer[:length]); err != nil ||
			!bytes.HasSuffix(answer[:length], cache.img.Body) {
			t.Fatalf("unexpected answer: %v", err)
		}
	}
	ask()
	before := writeCalls(t)
	for range rounds {
		ask()
	}
	// One write for the request, one for the answer; the runtime makes some more to wake itself.
	if each := float64(writeCalls(t)-before) / rounds; each > 2.6 {
		t.Errorf("%.2f writes for a request and its answer, want 2", each)
	}
}

func TestHandler_Respond_HeadHasNoBody(t *testing.T) {
	cache := newFakeCache()
	cache.img.Body = large
	addr := serve(t, New(publicConfig(t, cache)))
	resp, err := http.Head("http://" + addr + apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(large)) {
		t.Errorf("%s, %d bytes", resp.Status, resp.ContentLength)
	}
}
