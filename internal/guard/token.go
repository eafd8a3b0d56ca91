package guard

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// Token is a secret that requests bear. Only its digest is kept, and digests are compared:
// neither the time that it takes nor where it ends tells anything about the token.
type Token struct {
	sum [sha256.Size]byte
	set bool
}

// NewToken returns the token with that text; "" is an unset token, which nothing matches.
func NewToken(text string) Token {
	return Token{sha256.Sum256([]byte(text)), text != ""}
}

// Set reports whether there is a token.
func (t Token) Set() bool { return t.set }

// Matches reports whether given is the token.
func (t Token) Matches(given string) bool {
	sum := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1 && t.set
}

// Bears reports whether r has the token, as Authorization: Bearer.
func (t Token) Bears(r *http.Request) bool {
	lines := r.Header["Authorization"]
	if len(lines) != 1 {
		return false
	}
	scheme, given, _ := strings.Cut(lines[0], " ")
	return strings.EqualFold(scheme, "Bearer") && t.Matches(strings.TrimLeft(given, " "))
}
