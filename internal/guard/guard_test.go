package guard

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// requestAt returns a request with that Host that arrived at that local address.
func requestAt(t *testing.T, host, local string) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	addr := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
	return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, addr))
}

// Clients of a listener in a cluster use host names that the tier does not know; those of a
// loopback listener do not.
func TestGuard_Check_Host(t *testing.T) {
	for _, c := range []struct {
		host, local string
		dev, want   bool
	}{
		{"evil.example:8081", "127.0.0.1:8081", false, true},
		{"evil.example.", "[::1]:8081", false, true},
		{"EVIL.example", "[::ffff:127.0.0.1]:8081", false, true},
		{"evil.example", "10.0.0.7:8081", false, false},
		{"evil.example", "10.0.0.7:8081", true, true},
		{"10.0.0.7.evil.example", "10.0.0.7:8081", true, true},
		{"127.0.0.1:8081", "127.0.0.1:8081", true, false},
		{"[::1]:8081", "[::1]:8081", true, false},
		{"localhost:8081", "127.0.0.1:8081", true, false},
		{"LOCALHOST.:8081", "127.0.0.1:8081", true, false},
		{"tier.localhost.", "127.0.0.1:8081", true, false},
		{"tier.localhost", "127.0.0.1:8081", true, false},
		{"imagetier", "127.0.0.1:8081", true, false},
		{"", "127.0.0.1:8081", true, false},
	} {
		g := &Guard{Dev: c.dev}
		if got := g.Check(requestAt(t, c.host, c.local)) == ErrHost; got != c.want {
			t.Errorf("Host %q at %s, dev %v: foreign is %v", c.host, c.local, c.dev, got)
		}
	}
}

// Each reason of Handler to refuse a request, and requests that pass.
func TestGuard_Handler_Refusals(t *testing.T) {
	const token = "0123456789abcdef"
	withToken := &Guard{Token: NewToken(token), Signed: []string{"/v1/events"}}
	for _, c := range []struct {
		name, method, path string
		guard              *Guard
		header             http.Header
		want               int
	}{
		{"read", "GET", "/metrics", withToken, nil, 200},
		{"change", "POST", "/v1/purge", withToken, http.Header{"Authorization": {"bearer  " + token}}, 200},
		{"no token", "POST", "/v1/purge", withToken, nil, 401},
		{"wrong token", "DELETE", "/", withToken, http.Header{"Authorization": {"Bearer " + token + "0"}}, 401},
		{"wrong scheme", "POST", "/", withToken, http.Header{"Authorization": {"Basic " + token}}, 401},
		{"two tokens", "POST", "/", withToken,
			http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, 401},
		{"signed", "POST", "/v1/events", withToken, nil, 200},
		{"unset", "POST", "/v1/purge", &Guard{}, http.Header{"Authorization": {"Bearer "}}, 403},
		{"unset, dev", "POST", "/v1/purge", &Guard{Dev: true}, nil, 200},
		{"set, dev", "POST", "/v1/purge", &Guard{Dev: true, Token: NewToken(token)}, nil, 401},
		{"cross-site", "POST", "/v1/events", withToken, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"rebinding", "GET", "/metrics", withToken, http.Header{"Host": {"evil.example"}}, 421},
	} {
		r := requestAt(t, "localhost", "127.0.0.1:8081")
		r.Method, r.URL.Path = c.method, c.path
		if c.header != nil {
			r.Header = c.header
		}
		if host := c.header.Get("Host"); host != "" {
			r.Host = host
		}
		w := httptest.NewRecorder()
		c.guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: %d, want %d", c.name, w.Code, c.want)
		}
	}
}

func TestToken_Replace(t *testing.T) {
	token := NewToken("old")
	token.Replace("new")
	if !token.Set() || token.Matches("old") || !token.Matches("new") {
		t.Error("the new token does not replace the old one")
	}
	token.Replace("")
	if token.Set() || token.Matches("") || token.Matches("new") {
		t.Error("a token that was removed matches")
	}
	if token = nil; token.Set() || token.Matches("") {
		t.Error("a nil token matches")
	}
}
