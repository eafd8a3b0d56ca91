package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync/atomic"
)

// Token is the secret of bearer authentication. It stores and compares only digests, so the time of
// a comparison reveals nothing about the secret. It is safe for concurrent use. A nil Token is
// unset.
type Token struct {
	sum atomic.Pointer[[sha256.Size]byte] // nil: unset
}

// NewToken returns the token with that text; "" is an unset token, which nothing matches.
func NewToken(text string) *Token {
	t := new(Token)
	t.Replace(text)
	return t
}

// Replace changes the token to one with that text.
func (t *Token) Replace(text string) {
	if text == "" {
		t.sum.Store(nil)
		return
	}
	sum := sha256.Sum256([]byte(text))
	t.sum.Store(&sum)
}

// Set reports whether there is a token.
func (t *Token) Set() bool { return t != nil && t.sum.Load() != nil }

// Matches reports whether given is the token.
func (t *Token) Matches(given string) bool {
	if t == nil {
		return false
	}
	sum, want := sha256.Sum256([]byte(given)), t.sum.Load()
	return want != nil && subtle.ConstantTimeCompare(sum[:], want[:]) == 1
}

// Bears reports whether r has the token, as Authorization: Bearer.
func (t *Token) Bears(r *http.Request) bool {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(lines[0], " ")
	return strings.EqualFold(scheme, "Bearer") && t.Matches(strings.TrimLeft(given, " "))
}
