package origin

import (
	"fmt"
	"strings"
)

// ValidETag reports whether etag is an entity tag (RFC 9110, 8.8.3): quoted, with W/
// before a weak one, and nothing inside that a header could not hold.
func ValidETag(etag string) bool {
	etag = strings.TrimPrefix(etag, "W/")
	return len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' && opaque(etag[1:len(etag)-1])
}

// opaque reports whether s is *etagc: %x21 / %x23-7E / obs-text.
func opaque(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// SameETag compares two entity tags weakly (RFC 9110, 8.8.3.2), as If-None-Match does.
// It is false if a is not a valid tag, or empty.
func SameETag(a, b string) bool {
	return ValidETag(a) && strings.TrimPrefix(a, "W/") == strings.TrimPrefix(b, "W/")
}

// CanMatch reports whether Match could be an entity tag at all. If not, a source
// returns ErrChanged without a request.
func (c Cond) CanMatch() bool { return opaque(c.Match) }

// CheckETag returns an error that wraps ErrChanged if Match is set and etag, as sent in
// the answer, does not match it (strong comparison, RFC 9110, 8.8.3.2). Every source
// calls it, since origins may ignore If-Match.
func (c Cond) CheckETag(etag string) error {
	switch {
	case c.Match == "" || c.CanMatch() && etag == `"`+c.Match+`"`:
		return nil
	case etag == "":
		return fmt.Errorf("%w: the answer has no entity tag", ErrChanged)
	case strings.HasPrefix(etag, "W/"):
		return fmt.Errorf("%w: the answer's entity tag is weak", ErrChanged)
	}
	return fmt.Errorf("%w: the answer's entity tag is %.100s", ErrChanged, etag)
}
