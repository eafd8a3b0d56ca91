package weborigin

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/novasocial/imagetier/origin"
)

// target is a name as a request says it: below the base's path, in the very spelling of
// the name, because another spelling may be another resource, or a broken signature.
type target struct {
	path, query string
	asked       bool // there is a "?"
}

// parseTarget refuses names that are no path-and-query of RFC 3986 (to which "[", "]" and
// "|" are added, which browsers leave as they are), and those that could be a path outside
// of the base for some server on the way: with "." and ".." segments, empty ones and NUL,
// however they are spelled (percent-encoded, between encoded or back slashes, before a ";").
func parseTarget(name string) (target, error) {
	var t target
	t.path, t.query, t.asked = strings.Cut(name, "?")
	if err := checkSpelling(t.path, ""); err != nil {
		return target{}, err
	}
	if err := checkSpelling(t.query, "?"); err != nil {
		return target{}, err
	}
	if err := origin.CheckName(t.path); err != nil {
		return target{}, err
	}
	// Some server on the way may decode what another has decoded before.
	path := t.path
	for range 4 {
		if err := checkDecoded(path); err != nil {
			return target{}, err
		}
		decoded, err := url.PathUnescape(path)
		if err != nil || decoded == path {
			break
		}
		path = decoded
	}
	return t, nil
}

func checkDecoded(path string) error {
	if strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("%w: it has a NUL", origin.ErrName)
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";") // path parameters: "..;x" is ".." to some
		if segment == "." || segment == ".." {
			return fmt.Errorf("%w: it has a segment %s", origin.ErrName, segment)
		}
	}
	return nil
}

// checkSpelling refuses what may not stand in a path (RFC 3986, 3.3), or with extra "?"
// in a query (3.4).
func checkSpelling(s, extra string) error {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '%':
			if i+2 >= len(s) || !hex(s[i+1]) || !hex(s[i+2]) {
				return fmt.Errorf("%w: a %% without two hex digits", origin.ErrName)
			}
			i += 2
		case strings.IndexByte("-._~!$&'()*+,;=:@/[]|"+extra, c) >= 0:
		default:
			return fmt.Errorf("%w: %q must be percent-encoded", origin.ErrName, c)
		}
	}
	return nil
}

func hex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// below returns the URL of the target under base, whose path ends in "/". Opaque is what
// keeps net/url from spelling it anew.
func (t target) below(base *url.URL) *url.URL {
	u := *base
	raw := base.EscapedPath() + t.path
	u.Path, _ = url.PathUnescape(raw) // for redirects that are relative to it
	u.RawPath = raw
	u.Opaque = raw
	u.RawQuery, u.ForceQuery = t.query, t.asked && t.query == ""
	return &u
}
