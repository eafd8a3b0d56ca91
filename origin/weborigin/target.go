package weborigin

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/novasocial/imagetier/origin"
)

// target is a name split into path and query. It is sent in exactly the spelling of the
// name: another spelling may be another resource or break a signature.
type target struct {
	path, query string
	hasQuery    bool // there is a "?", even if query is empty
}

// parseTarget parses a name. It refuses names that are not a path and query of RFC 3986
// ("[", "]" and "|" are allowed too, since browsers do not encode them), and names that
// some server on the way could take for a path outside of the base: with ".", ".." or
// empty segments or a NUL, in any spelling (percent-encoded, between encoded slashes or
// backslashes, before a ";").
func parseTarget(name string) (target, error) {
	var t target
	t.path, t.query, t.hasQuery = strings.Cut(name, "?")
	if err := checkSpelling(t.path, ""); err != nil {
		return target{}, err
	}
	if err := checkSpelling(t.query, "?"); err != nil {
		return target{}, err
	}
	if err := origin.CheckName(t.path); err != nil {
		return target{}, err
	}
	// Each server on the way may decode once more.
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

// CheckName returns an error that wraps origin.ErrName if name cannot be requested.
func (*Source) CheckName(name string) error {
	_, err := parseTarget(name)
	return err
}

func checkDecoded(path string) error {
	if strings.IndexByte(path, 0) >= 0 {
		return fmt.Errorf("%w: contains a NUL", origin.ErrName)
	}
	for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
		segment, _, _ = strings.Cut(segment, ";") // path parameters: "..;x" is ".." to some
		if segment == "." || segment == ".." {
			return fmt.Errorf("%w: segment %q", origin.ErrName, segment)
		}
	}
	return nil
}

// checkSpelling refuses characters that are not allowed in a path (RFC 3986, 3.3). extra
// is "?" for a query (3.4).
func checkSpelling(s, extra string) error {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '%':
			if i+2 >= len(s) || !hex(s[i+1]) || !hex(s[i+2]) {
				return fmt.Errorf("%w: %% without two hex digits", origin.ErrName)
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

// under returns the URL of the target under base, whose path ends in "/". Opaque keeps
// net/url from encoding the path again.
func (t target) under(base *url.URL) *url.URL {
	u := *base
	raw := base.EscapedPath() + t.path
	u.Path, _ = url.PathUnescape(raw) // for relative redirects
	u.RawPath = raw
	u.Opaque = raw
	u.RawQuery, u.ForceQuery = t.query, t.hasQuery && t.query == ""
	return &u
}
