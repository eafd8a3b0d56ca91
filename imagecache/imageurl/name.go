package imageurl

import (
	"encoding/base64"
	"strings"
)

// Names and tokens stand in a path as they are where no proxy can re-spell them, and
// otherwise as ~ and base64url. Each has one spelling, so that one Ref has one path.

// unreserved says which bytes are unreserved characters (RFC 3986, 2.3).
var unreserved = func() (set [256]bool) {
	for c := range set {
		set[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", byte(c)) >= 0
	}
	return set
}()

// plainName reports whether name stands in a path as it is.
func plainName(name string) bool {
	if name == "" || name[0] == '~' {
		return false
	}
	segment := 0 // where the segment began
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

// plainToken reports whether token stands in a path as it is.
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

// parseName reads a name as a path spells it.
func parseName(spelled string) (string, error) {
	if strings.HasPrefix(spelled, "~") {
		name, err := decode("name", spelled, MaxName)
		if err != nil {
			return "", err
		}
		if plainName(name) {
			return "", syntax("name %s is spelled %s", quote(spelled), quote(name))
		}
		return name, nil
	}
	if len(spelled) < 1 || len(spelled) > MaxName {
		return "", syntax("the name has %d bytes, not 1-%d", len(spelled), MaxName)
	}
	if !plainName(spelled) {
		return "", syntax("name %s: characters other than letters, digits and - . _ ~ / and empty, . and .. segments are spelled as ~ and base64url of the whole name", quote(spelled))
	}
	return spelled, nil
}

// appendEncoded appends ~ and s in base64url without padding.
func appendEncoded(b []byte, s string) []byte {
	return base64.RawURLEncoding.AppendEncode(append(b, '~'), []byte(s))
}

// decode reads what appendEncoded writes, and nothing else: of the several spellings that
// base64 has for one value (trailing bits, line breaks) it takes one.
func decode(part, spelled string, most int) (string, error) {
	if len(spelled) > 1+base64.RawURLEncoding.EncodedLen(most) {
		return "", syntax("the %s has more than %d bytes", part, most)
	}
	value, err := base64.RawURLEncoding.DecodeString(spelled[1:])
	if err != nil || string(appendEncoded(nil, string(value))) != spelled {
		return "", syntax("%s %s: what follows ~ is not base64url without padding", part, quote(spelled))
	}
	if len(value) == 0 {
		return "", syntax("the %s has 0 bytes, not 1-%d", part, most)
	}
	return string(value), nil
}
