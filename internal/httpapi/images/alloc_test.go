//go:build !race

package images

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/metrics"
)

// The target of the request, its id and its context; nothing grows with the request or the image.
func TestHandler_Hit_AllocatesThreeTimes(t *testing.T) {
	for _, header := range []string{"", "Surrogate-Key"} {
		hitAllocates(t, header, 3)
	}
}

// hitAllocates counts the allocations of the engine and the handler for a hit. The client allocates nothing.
func hitAllocates(t *testing.T, tagHeader string, most float64) {
	cache := newFakeCache()
	cache.img.Body = bytes.Repeat([]byte("0123456789"), 2000)
	cfg := publicConfig(t, &constant{img: cache.img, out: cache.out})
	cfg.Observe = func(metrics.Observation) {}
	cfg.TagHeader = tagHeader
	conn := apitest.Dial(t, serve(t, New(cfg)))
	path := apitest.SignBytes(t, "/640x640-cover-q70/v.1/posts/2026/11/abc.jpg.webp")
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: img.example.com\r\nAccept: image/avif,image/webp,*/*\r\n\r\n")
	answer := make([]byte, 64<<10)
	length := 0
	ask := func() {
		if _, err := conn.Write(request); err != nil {
			t.Fatal(err)
		}
		n, err := io.ReadFull(conn, answer[:max(length, 1)])
		for length == 0 && err == nil && !bytes.HasSuffix(answer[:n], cache.img.Body) {
			var more int
			more, err = conn.Read(answer[n:])
			n += more
		}
		if length = n; err != nil {
			t.Fatal(err)
		}
	}
	ask()
	if got := testing.AllocsPerRun(1000, ask); got > most {
		t.Errorf("tag header %q: %v allocations, want at most %v", tagHeader, got, most)
	}
	tag := imagecache.Original{Source: "posts", Name: "2026/11/abc.jpg"}.CDNTag()
	head, _, _ := strings.Cut(string(answer[:length]), "\r\n\r\n")
	if !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") ||
		tagHeader != "" && !strings.Contains(head, "\r\n"+tagHeader+": "+tag+"\r\n") {
		t.Errorf("tag header %q: %s", tagHeader, head)
	}
}
