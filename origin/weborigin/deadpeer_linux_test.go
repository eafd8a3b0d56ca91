package weborigin_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/novasocial/imagetier/origin"
	"github.com/novasocial/imagetier/origin/weborigin"
)

// An idle connection whose packets are lost, as behind a NAT that has dropped its entry, does not
// take the whole deadline of a fetch.
func TestSource_Open_DeadIdleConnection(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	conns := make(chan net.Conn, 4)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("bytes"))
	}))
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateIdle {
			conns <- c
		}
	}
	server.Start()
	defer server.Close()
	src, err := weborigin.New(weborigin.Config{Base: server.URL, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	fetch := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := origin.ReadAll(ctx, src, "a", origin.Cond{}, 1<<10)
		return err
	}
	if err := fetch(); err != nil {
		t.Fatal(err)
	}
	raw, err := (<-conns).(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K} // all packets that arrive
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: 1, Filter: &drop})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := fetch(); err != nil {
		t.Errorf("after the connection died: %v", err)
	}
}
