package admin

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// foreignHost returns the name in r's Host, and reports whether it is one that a page of
// another site could have made a browser on this machine use.
//
// The danger is DNS rebinding: a page of evil.example has its name point to 127.0.0.1, and
// is then of the same origin as this listener; neither Origin nor Sec-Fetch-Site gives it
// away. Its name does. Names that cannot be registered pass: addresses, localhost and what
// is below it, and names without a dot (a container's, say).
//
// Only where the listener is reached over the loopback interface, or Dev is set, are others
// refused: elsewhere it is called by whatever name a cluster gives it, and cannot be changed
// without the token, which no browser adds by itself.
func (p *api) foreignHost(r *http.Request) (host string, foreign bool) {
	host = r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	name := strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	switch {
	case !strings.Contains(name, "."), strings.HasSuffix(name, ".localhost"):
		return host, false
	case slices.Contains(p.Hosts, name):
		return host, false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return host, false
	}
	return host, p.Dev || loopback(r)
}

// loopback reports whether r came in over the loopback interface.
func loopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
