package guard

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// foreignHost reports whether a page of another site could have caused a browser on this machine
// to use the name in r's Host.
//
// The danger is DNS rebinding: the owner of evil.example points that name to 127.0.0.1, so that its
// page has the same origin as this listener. Origin and Sec-Fetch-Site do not reveal that, but Host
// does. Names that cannot be registered are accepted: addresses, localhost and its subdomains, and
// names without a dot (such as a container's).
//
// Other names are refused only for requests over the loopback interface, and with Dev: in a cluster
// the listener has arbitrary names, and changes need the token, which no browser adds by itself.
func (g *Guard) foreignHost(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	name := strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if !strings.Contains(name, ".") || strings.HasSuffix(name, ".localhost") {
		return false
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	return g.Dev || loopback(r)
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
