package images

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/novasocial/imagetier/imagecache"
	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpapi/problem"
	"github.com/novasocial/imagetier/internal/httpserver"
	"github.com/novasocial/imagetier/internal/metrics"
)

// large is more than the kernel buffers for a client that does not read.
var large = bytes.Repeat([]byte("0123456789abcdef"), 1<<20)

// servesLarge serves large at that pace, and returns the address, the path and the observations.
func servesLarge(t *testing.T, pace httpserver.Pace) (addr, path string, seen chan metrics.Observation) {
	t.Helper()
	cache := newFakeCache()
	cache.img.Body = large
	seen = make(chan metrics.Observation, 10)
	cfg := publicConfig(t, cache)
	cfg.Pace = pace
	cfg.Observe = func(o metrics.Observation) { seen <- o }
	return serve(t, New(cfg)), apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp"), seen
}

// observed waits for the next observation.
func observed(t *testing.T, seen chan metrics.Observation) metrics.Observation {
	t.Helper()
	select {
	case o := <-seen:
		return o
	case <-time.After(20 * time.Second):
		t.Fatal("the request does not end")
		return metrics.Observation{}
	}
}

func TestHandler_StalledClient_IsDisconnected(t *testing.T) {
	for name, step := range map[string]int{"in steps": 64 << 10, "in one write": len(large)} {
		t.Run(name, func(t *testing.T) {
			pace := httpserver.Pace{Grace: 100 * time.Millisecond, Rate: 1 << 30, Step: step}
			addr, path, seen := servesLarge(t, pace)
			conn := apitest.Dial(t, addr)
			apitest.Say(t, conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
			o := observed(t, seen)
			if o.Status != problem.StatusClientGone || o.Bytes >= int64(len(large)) ||
				o.Outcome.Detail != imagecache.Memory {
				t.Errorf("%+v", o)
			}
			// The client gets a truncated body, and can detect that.
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err == nil {
				t.Error("a cut body reads like a whole one")
			}
			if resp.Header.Get("Content-Length") != strconv.Itoa(len(large)) {
				t.Errorf("Content-Length %s", resp.Header.Get("Content-Length"))
			}
		})
	}
}

func TestHandler_StalledH2Stream_IsReset(t *testing.T) {
	addr, path, seen := servesLarge(t, httpserver.Pace{Grace: 100 * time.Millisecond, Rate: 1 << 30, Step: 64 << 10})
	client := apitest.H2CClient(t)
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if o := observed(t, seen); o.Status != problem.StatusClientGone {
		t.Errorf("%+v", o)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a cut body reads like a whole one")
	}
	again, err := client.Head("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	again.Body.Close()
	if again.StatusCode != 200 || again.ContentLength != int64(len(large)) {
		t.Errorf("%s, %d bytes", again.Status, again.ContentLength)
	}
}

// tightListener makes the kernel buffer little for each client, as on a slow line.
type tightListener struct{ net.Listener }

func (ln tightListener) Accept() (net.Conn, error) {
	conn, err := ln.Listener.Accept()
	if err == nil {
		_ = conn.(*net.TCPConn).SetWriteBuffer(64 << 10)
	}
	return conn, err
}

func TestHandler_SlowClient_GetsWholeImage(t *testing.T) {
	if testing.Short() {
		t.Skip("reads slowly for 2 s")
	}
	const grace = time.Second
	cache := newFakeCache()
	cache.img.Body = large
	seen := make(chan metrics.Observation, 1)
	cfg := publicConfig(t, cache)
	cfg.Pace = httpserver.Pace{Grace: grace, Rate: 1 << 30, Step: 64 << 10}
	cfg.Observe = func(o metrics.Observation) { seen <- o }
	path := apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")
	conn := apitest.Dial(t, serve(t, New(cfg), func(ln net.Listener) net.Listener { return tightListener{ln} }))
	_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	began := time.Now()
	apitest.Say(t, conn, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := io.CopyN(&got, resp.Body, 64<<10)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("after %d bytes and %s: %v", got.Len(), time.Since(began), err)
		}
		<-tick.C
	}
	if !bytes.Equal(got.Bytes(), large) {
		t.Error("the client received other bytes")
	}
	if took := time.Since(began); took < 2*grace {
		t.Errorf("the client took only %s: too fast for this test", took)
	}
	if o := observed(t, seen); o.Status != 200 || o.Bytes != int64(len(large)) {
		t.Errorf("%+v", o)
	}
}

func TestHandler_ClientGone_IsNotAnError(t *testing.T) {
	seen := make(chan metrics.Observation, 1)
	cfg := publicConfig(t, &stuck{entered: make(chan struct{}, 1)})
	cfg.Observe = func(o metrics.Observation) { seen <- o }
	addr := serve(t, New(cfg))
	conn := apitest.Dial(t, addr)
	apitest.Say(t, conn, "GET "+apitest.SignBytes(t, "/640x480/v.1/posts/cat.jpg.webp")+" HTTP/1.1\r\nHost: a\r\n\r\n")
	<-cfg.Cache.(*stuck).entered
	conn.Close()
	if o := observed(t, seen); o.Status != problem.StatusClientGone || o.Format != "webp" {
		t.Errorf("%+v", o)
	}
}
