package admin

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/novasocial/imagetier/internal/httpapi/apitest"
	"github.com/novasocial/imagetier/internal/httpserver"
)

// requestAt is a request by that name that came in at that local address.
func requestAt(t *testing.T, host, local string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
}

// serve serves h until the test ends, and returns the address.
func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	s, err := httpserver.New(httpserver.Config{Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	return apitest.Serve(t, s.Run)
}
