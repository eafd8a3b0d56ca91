package e2e

import (
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
)

// listen serves h on a free port of this machine until the test ends, and returns its URL.
func listen(t testing.TB, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "http://" + l.Addr().String()
}

// lastPort is the port that freePort returned last.
var lastPort atomic.Int32

// freePort returns an address of this machine that nothing listens on at the moment, and
// that it never returned before. The kernel gives ports below 32768 to no process that does not
// ask for them, so no other test gets it by chance before it is used.
func freePort(t testing.TB) string {
	t.Helper()
	const first, ports = 20_000, 12_000
	for range ports {
		n := int(lastPort.Add(1))
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+(os.Getpid()*97+n)%ports))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue // taken
		}
		l.Close()
		return addr
	}
	t.Fatal("no port is free")
	return ""
}
