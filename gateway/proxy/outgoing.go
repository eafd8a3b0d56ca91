package proxy

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
)

// outgoing converts the client's request to the request to the service: the same, except for
// headers that would cause an answer that cannot be rewritten, and headers that only trusted
// proxies may set.
func (p *Proxy) outgoing(pr *httputil.ProxyRequest) {
	pr.SetURL(p.cfg.Upstream)
	pr.Out.Host = pr.In.Host                 // the service sees the name that its clients use
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery // and the query as they spell it
	if p.cfg.UpstreamHost != "" {
		pr.Out.Host = p.cfg.UpstreamHost
	}
	h := pr.Out.Header
	// Ranges and dates are those of the service's answer. A rewritten one has another length, and
	// changes with keys and profiles too, so only entity tags can tell whether it has changed.
	h.Del("Range")
	h.Del("If-Range")
	h.Del("If-Modified-Since")
	narrowEncodings(h)
	if pr.Out.Body != nil && pr.In.GetBody != nil {
		// ReverseProxy hides that the body is in memory. The transport sends such a body and its headers in one write.
		pr.Out.Body, _ = pr.In.GetBody()
	}
	x := exchangeOf(pr.In.Context())
	x.tags = p.originalTags(h, x)
	p.forwarded(pr)
	if x.repeatable && h["Idempotency-Key"] == nil && h["X-Idempotency-Key"] == nil {
		// http.Transport then sends the request again if a kept connection turns out to be closed.
		// A key without a value is not sent.
		h["X-Idempotency-Key"] = []string{}
	}
}

// forwarded sets the headers with the client's address, host and scheme. Those of the request are
// only kept if a trusted proxy sent it, because any client can set them.
func (p *Proxy) forwarded(pr *httputil.ProxyRequest) {
	h := pr.Out.Header
	if !p.trusted(pr.In.RemoteAddr) {
		for name := range h {
			if strings.HasPrefix(name, "X-Forwarded-") {
				delete(h, name)
			}
		}
		h.Del("X-Real-Ip")
		pr.SetXForwarded()
		return
	}
	for _, name := range []string{"X-Forwarded-For", "Forwarded"} {
		if given := pr.In.Header[name]; given != nil {
			h[name] = given
		}
	}
	pr.SetXForwarded() // appends the proxy's address to X-Forwarded-For
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto"} {
		if given := pr.In.Header[name]; given != nil {
			h[name] = given
		}
	}
}

// trusted reports whether a request came from one of the trusted proxies.
func (p *Proxy) trusted(remote string) bool {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	addr := at.Addr().Unmap().WithZone("")
	for _, prefix := range p.cfg.TrustedProxies {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// isWebSocket reports whether headers switch to WebSocket. Other protocols, such as h2c, would
// carry answers that are not rewritten.
func isWebSocket(h http.Header) bool { return strings.EqualFold(h.Get("Upgrade"), "websocket") }

// withoutUpgrade returns a request without an upgrade to a protocol other than WebSocket. A server
// may ignore an upgrade (RFC 9110, 7.8).
func withoutUpgrade(r *http.Request) *http.Request {
	if r.Header["Upgrade"] == nil || isWebSocket(r.Header) {
		return r
	}
	r.Header = r.Header.Clone()
	r.Header.Del("Upgrade")
	r.Header.Del("Http2-Settings")
	return r
}
