package imageurl

import (
	"encoding/base64"
	"strings"
)

// Names and tokens are written in a path unchanged if no proxy can rewrite them, and
// otherwise as ~ and base64url. Each has one spelling, so that a Ref has one path.

// unreserved says which bytes are unreserved characters (RFC 3986, 2.3).
var unreserved = func() (set [256]bool) {
	for c := range set {
		set[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			strings.IndexByte("-._~", byte(c)) >= 0
	}
	return set
}()

// plainName reports whether name is written in a path unchanged.
func plainName(name string) bool {
	if name == "" || name[0] == '~' {
		return false
	}
	segment := 0 // start of the segment
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '/' {
			if !unreserved[name[i]] {
				return false
			}
			continue
		}
		switch name[segment:i] {
		case "", ".", "..":
			return false
		}
		segment = i + 1
	}
	return true
}

// plainToken reports whether token is written in a path unchanged.
func plainToken(token string) bool {
	if token == "" || token[0] == '~' {
		return false
	}
	for i := range len(token) {
		if !unreserved[token[i]] {
			return false
		}
	}
	return true
}

// parseName parses a name as it is spelled in a path.
func parseName(spelled string) (string, error) {
	if strings.HasPrefix(spelled, "~") {
		name, err := decode("name", spelled, MaxName)
		if err != nil {
			return "", err
		}
		if plainName(name) {
			return "", syntaxError("name %s is spelled %s", quote(spelled), quote(name))
		}
		return name, nil
	}
	if len(spelled) < 1 || len(spelled) > MaxName {
		return "", syntaxError("the name has %d bytes, want 1-%d", len(spelled), MaxName)
	}
	if !plainName(spelled) {
		return "", syntaxError("name %s must be encoded: write ~ and base64url of the whole name", quote(spelled))
	}
	return spelled, nil
}

// appendEncoded appends ~ and s in base64url without padding.
func appendEncoded(b []byte, s string) []byte {
	return base64.RawURLEncoding.AppendEncode(append(b, '~'), []byte(s))
}

// decode decodes the result of appendEncoded. base64 has several spellings of one value
// (trailing bits, line breaks); it accepts only the canonical one.
func decode(part, spelled string, limit int) (string, error) {
	if len(spelled) > 1+base64.RawURLEncoding.EncodedLen(limit) {
		return "", syntaxError("the %s has more than %d bytes", part, limit)
	}
	value, err := base64.RawURLEncoding.DecodeString(spelled[1:])
	if err != nil || string(appendEncoded(nil, string(value))) != spelled {
		return "", syntaxError("%s %s: after ~ want base64url without padding", part, quote(spelled))
	}
	if len(value) == 0 {
		return "", syntaxError("the %s has 0 bytes, want 1-%d", part, limit)
	}
	return string(value), nil
}
