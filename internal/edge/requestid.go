package edge

import (
	"math/rand/v2"
	"net/http"
)

// maxRequestID bounds what a caller may name its request, in bytes.
const maxRequestID = 64

// requestID returns what joins the logs of everybody that a request passes: the one that
// a proxy or client before us gave it if that is 1-64 of A-Z a-z 0-9 . _ -, which needs
// no escaping anywhere, else 64 random bits in hexadecimal. It is no secret and proves
// nothing: a client can send what it likes.
func requestID(r *http.Request) string {
	if given := r.Header["X-Request-Id"]; len(given) == 1 && plainID(given[0]) {
		return given[0]
	}
	const digits = "0123456789abcdef"
	var id [16]byte
	bits := rand.Uint64()
	for i := range id {
		id[i] = digits[bits&15]
		bits >>= 4
	}
	return string(id[:])
}

func plainID(id string) bool {
	if len(id) < 1 || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return true
}
