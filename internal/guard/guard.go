// Package guard decides which requests a private listener accepts, for both programs.
//
// Reading needs no token: the network decides who can reach the listener. Changes need the
// admin token. Since a web page that an operator visits can reach the listener too, requests
// from pages of other sites are refused, and so are host names that a foreign DNS server
// could have pointed here (host.go).
package guard

import (
	"errors"
	"net/http"
	"slices"
)

// Why a request is refused.
var (
	ErrHost       = errors.New("unknown host name")
	ErrCrossSite  = errors.New("request from a page of another site")
	ErrToken      = errors.New("missing or wrong token")
	ErrTokenUnset = errors.New("no token is configured")
)

// Guard guards one listener. It may not be copied after its first use.
type Guard struct {
	Token *Token // needed by all requests but GET and HEAD; unset: they are refused, unless Dev
	Dev   bool   // no token is needed if none is configured; unknown hosts are refused everywhere
	// Signed are paths whose requests need no token: their handlers check another secret.
	Signed []string

	origin http.CrossOriginProtection
}

// Check returns nil if r may pass, or else one of the errors of this package.
func (g *Guard) Check(r *http.Request) error {
	if g.foreignHost(r) {
		return ErrHost
	}
	if err := g.origin.Check(r); err != nil {
		return ErrCrossSite
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead || slices.Contains(g.Signed, r.URL.Path):
		return nil
	case !g.Token.Set() && g.Dev:
		return nil
	case !g.Token.Set():
		return ErrTokenUnset
	case !g.Token.Bears(r):
		return ErrToken
	}
	return nil
}

// Handler answers what Check refuses with a line of text, and passes the rest to next.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusForbidden
		err := g.Check(r)
		switch err {
		case nil:
			next.ServeHTTP(w, r)
			return
		case ErrHost:
			status = http.StatusMisdirectedRequest
		case ErrToken:
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Error(w, err.Error(), status)
	})
}
